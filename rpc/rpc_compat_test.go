// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

// recordedChain imports genesis.json and chain.rlp of a directory with go-ethereum, and keeps all states.
func recordedChain(t testing.TB, dir string) *fixtureChain {
	t.Helper()
	encoded, err := os.ReadFile(filepath.Join(dir, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	genesis := new(core.Genesis)
	if err := json.Unmarshal(encoded, genesis); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, "chain.rlp"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := &fixtureChain{config: genesis.Config, genesis: genesis, db: rawdb.NewMemoryDatabase()}
	config := core.DefaultConfig().WithArchive(true).WithStateScheme(rawdb.HashScheme)
	bc, err := core.NewBlockChain(w.db, genesis, beacon.New(ethash.NewFaker()), config)
	if err != nil {
		t.Fatal(err)
	}
	defer bc.Stop()
	w.blocks, w.receipts = []*types.Block{bc.Genesis()}, []types.Receipts{nil}
	for stream := rlp.NewStream(file, 0); ; {
		block := new(types.Block)
		if err := stream.Decode(block); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := bc.InsertChain(types.Blocks{block}); err != nil {
			t.Fatal(err)
		}
		w.blocks = append(w.blocks, block)
		w.receipts = append(w.receipts, bc.GetReceiptsByHash(block.Hash()))
	}
	return w
}

// exchange is a recorded request with its response.
type exchange struct {
	file     string
	request  rpcCall
	response struct {
		Result any
		Error  *struct{ Code int }
	}
	shapeOnly bool // the response need not be the same
}

// readExchanges reads the files of a method.
func readExchanges(t *testing.T, dir string) (list []exchange) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.io"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e := exchange{file: filepath.Base(dir) + "/" + filepath.Base(file)}
		for line := range strings.Lines(string(text)) {
			if remark, ok := strings.CutPrefix(line, "// "); ok && strings.HasPrefix(remark, "speconly:") {
				e.shapeOnly = true
			}
			if request, ok := strings.CutPrefix(line, ">> "); ok {
				var decoded struct {
					Method string
					Params []json.RawMessage
				}
				if err := json.Unmarshal([]byte(request), &decoded); err != nil {
					t.Fatal(file, err)
				}
				e.request = rpcCall{method: decoded.Method}
				for _, param := range decoded.Params {
					e.request.params = append(e.request.params, param)
				}
			}
			if response, ok := strings.CutPrefix(line, "<< "); ok {
				e.response.Result, e.response.Error = nil, nil
				if err := json.Unmarshal([]byte(response), &e.response); err != nil {
					t.Fatal(file, err)
				}
				list = append(list, e)
			}
		}
	}
	return list
}

// check compares a response as the suite does: values are equal as JSON, of an error the code counts.
func (e *exchange) check(t *testing.T, client *gethrpc.Client) {
	t.Helper()
	var result any
	err := client.Call(&result, e.request.method, e.request.params...)
	var coded gethrpc.Error
	switch want := e.response.Error; {
	case errors.As(err, &coded):
		if want == nil || coded.ErrorCode() != want.Code {
			t.Errorf("%s: error %d %v, want %v", e.file, coded.ErrorCode(), err, want)
		}
	case err != nil || want != nil:
		t.Errorf("%s: error %v, want %v", e.file, err, want)
	case !e.shapeOnly && !reflect.DeepEqual(result, e.response.Result):
		t.Errorf("%s: result differs\n got %s\nwant %s", e.file, mustJSON(result), mustJSON(e.response.Result))
	}
}

// TestRPCCompat runs recorded exchanges of execution-apis' suite. What a client answers to them is compared by the rules
// of the suite, and with go-ethereum's response byte for byte.
func TestRPCCompat(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "rpc-compat")
	w := recordedChain(t, dir)
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log = nil })
	head := len(w.blocks) - 1
	n.chain.w, n.chain.head, n.chain.final, n.states.db, n.states.window = w, head, head, w.db, 0
	ours, geth := n.client(t), startGethOn(t, w)

	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// These need a transaction pool, a builder, the client's own network, or a node that prunes.
	elsewhere := []string{"eth_sendRawTransaction", "testing_buildBlockV1", "txpool_content", "txpool_contentFrom", "txpool_status", "eth_capabilities", "net_version"}
	// Where the suite and go-ethereum v1.17.10 differ, the suite counts: it counts the logs of reverted frames in the
	// index of a log, and lets an account with the last nonce send without validation.
	differ := []string{"eth_simulateV1/ethSimulate-overflow-nonce.io", "eth_simulateV1/ethSimulate-use-as-many-features-as-possible.io"}
	total := 0
	for _, folder := range folders {
		if !folder.IsDir() || slices.Contains(elsewhere, folder.Name()) {
			continue
		}
		exchanges := readExchanges(t, filepath.Join(dir, folder.Name()))
		total += len(exchanges)
		for _, e := range exchanges {
			e.check(t, ours)
			if tag := string(mustJSON(e.request.params)); strings.Contains(tag, "safe") || strings.Contains(tag, "finalized") {
				continue // go-ethereum has others here
			}
			if want, got := response(geth, e.request), response(ours, e.request); (got != want) != slices.Contains(differ, e.file) {
				t.Errorf("%s\n got %s\nwant %s", e.file, got, want)
			}
		}
	}
	if total < 170 {
		t.Errorf("only %d exchanges", total)
	}
}
