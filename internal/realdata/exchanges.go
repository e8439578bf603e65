// SPDX-License-Identifier: LGPL-3.0-or-later

package realdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Exchange is a recorded JSON-RPC request of execution-apis' suite with its response.
type Exchange struct {
	File   string // of its method's folder
	Method string
	Params []any // json.RawMessage each
	Result any
	Error  *struct{ Code int }

	ShapeOnly bool // the response need not be the same
}

// Exchanges reads the exchanges of a method, from its folder of rpc-compat, in the order of the suite.
func Exchanges(dir string) (list []Exchange, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.io"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		read, err := parseExchanges(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, e := range read {
			e.File = filepath.Base(dir) + "/" + filepath.Base(file)
			list = append(list, e)
		}
	}
	return list, nil
}

// parseExchanges reads the lines of a file: ">> " is a request, "<< " its response, "// " a remark.
func parseExchanges(text string) (list []Exchange, err error) {
	var e Exchange
	for line := range strings.Lines(text) {
		if remark, ok := strings.CutPrefix(line, "// "); ok && strings.HasPrefix(remark, "speconly:") {
			e.ShapeOnly = true
		}
		if request, ok := strings.CutPrefix(line, ">> "); ok {
			var decoded struct {
				Method string
				Params []json.RawMessage
			}
			if err := json.Unmarshal([]byte(request), &decoded); err != nil {
				return nil, err
			}
			e.Method, e.Params = decoded.Method, nil
			for _, param := range decoded.Params {
				e.Params = append(e.Params, param)
			}
		}
		if response, ok := strings.CutPrefix(line, "<< "); ok {
			e.Result, e.Error = nil, nil
			if err := json.Unmarshal([]byte(response), &e); err != nil {
				return nil, err
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// UnmarshalJSON reads a response.
func (e *Exchange) UnmarshalJSON(response []byte) error {
	var decoded struct {
		Result any
		Error  *struct{ Code int }
	}
	if err := json.Unmarshal(response, &decoded); err != nil {
		return err
	}
	e.Result, e.Error = decoded.Result, decoded.Error
	return nil
}

// Check sends the request and compares as the suite does: values are equal as JSON, of an error the code counts, and where only the shape
// counts, results are of the same kind.
func (e *Exchange) Check(ctx context.Context, client *gethrpc.Client) error {
	var result any
	err := client.CallContext(ctx, &result, e.Method, e.Params...)
	var coded gethrpc.Error
	switch {
	case errors.As(err, &coded):
		if e.Error == nil || coded.ErrorCode() != e.Error.Code {
			return fmt.Errorf("%s: error %d %w, want %v", e.File, coded.ErrorCode(), err, e.Error)
		}
	case err != nil:
		return fmt.Errorf("%s: %w", e.File, err)
	case e.Error != nil:
		return fmt.Errorf("%s: no error, want code %d", e.File, e.Error.Code)
	case e.ShapeOnly:
		if got, want := reflect.TypeOf(result), reflect.TypeOf(e.Result); got != want {
			return fmt.Errorf("%s: result is %v, want %v", e.File, got, want)
		}
	case !reflect.DeepEqual(result, e.Result):
		got, _ := json.Marshal(result)
		want, _ := json.Marshal(e.Result)
		return fmt.Errorf("%s: result differs\n got %s\nwant %s", e.File, got, want)
	}
	return nil
}
