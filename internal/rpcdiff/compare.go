// SPDX-License-Identifier: LGPL-3.0-or-later

package rpcdiff

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Difference is a call that the two nodes answer differently.
type Difference struct {
	Call
	Got, Want string
}

// shown is how many bytes of a response are shown, from a little before the first that differs.
const shown = 300

// String shows where the responses differ.
func (d Difference) String() string {
	at := 0
	for at < len(d.Got) && at < len(d.Want) && d.Got[at] == d.Want[at] {
		at++
	}
	from := max(0, at-shown/3)
	part := func(response string) string { return response[from:min(len(response), from+shown)] }
	return fmt.Sprintf("%s: %d bytes, want %d; from byte %d on\n got %s\nwant %s", d.Call, len(d.Got), len(d.Want), from, part(d.Got), part(d.Want))
}

// Report is the outcome of a [Run].
type Report struct {
	Calls       int
	Errors      int            // calls to which the reference answers with an error
	Methods     map[string]int // calls of each
	Allowed     map[string]int // differences by the reason for which they are allowed
	Differences []Difference   // the others
}

// Run sends calls to both nodes until count are compared, or ctx ends.
func Run(ctx context.Context, subject, reference *gethrpc.Client, g *Generator, count int) (*Report, error) {
	report := &Report{Methods: make(map[string]int), Allowed: make(map[string]int)}
	for ; report.Calls < count; report.Calls++ {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		c := g.Next()
		d := Difference{c, Response(ctx, subject, c), Response(ctx, reference, c)}
		report.Methods[c.Method]++
		if isError(d.Want) {
			report.Errors++
		}
		if d.Got == d.Want {
			continue
		}
		if reason := Allowed(d); reason != "" {
			report.Allowed[reason]++
		} else {
			report.Differences = append(report.Differences, d)
		}
	}
	return report, nil
}

// Response is the result of a call, or its error with code and data.
func Response(ctx context.Context, client *gethrpc.Client, c Call) string {
	var raw json.RawMessage
	err := client.CallContext(ctx, &raw, c.Method, c.Params...)
	if err == nil {
		return string(raw)
	}
	var coded gethrpc.Error
	var data gethrpc.DataError
	code, more := 0, any(nil)
	if errors.As(err, &coded) {
		code = coded.ErrorCode()
	}
	if errors.As(err, &data) {
		more = data.ErrorData()
	}
	return fmt.Sprintf("%s%d %v: %s", errorPrefix, code, more, err)
}
