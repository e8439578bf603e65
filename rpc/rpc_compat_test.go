// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

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
	// These need a whole node: see TestRPCCompat of package node, which runs all.
	elsewhere := []string{"eth_sendRawTransaction", "testing_buildBlockV1", "txpool_content", "txpool_contentFrom", "txpool_status", "eth_capabilities", "net_version"}
	// Where the suite and go-ethereum v1.17.10 differ, the suite counts: it counts the logs of reverted frames in the
	// index of a log, and lets an account with the last nonce send without validation.
	differ := []string{"eth_simulateV1/ethSimulate-overflow-nonce.io", "eth_simulateV1/ethSimulate-use-as-many-features-as-possible.io"}
	total := 0
	for _, folder := range folders {
		if !folder.IsDir() || slices.Contains(elsewhere, folder.Name()) {
			continue
		}
		exchanges, err := realdata.Exchanges(filepath.Join(dir, folder.Name()))
		if err != nil {
			t.Fatal(err)
		}
		total += len(exchanges)
		for _, e := range exchanges {
			if err := e.Check(t.Context(), ours); err != nil {
				t.Error(err)
			}
			if tag := string(mustJSON(e.Params)); strings.Contains(tag, "safe") || strings.Contains(tag, "finalized") {
				continue // go-ethereum has others here
			}
			request := rpcCall{e.Method, e.Params}
			if want, got := response(geth, request), response(ours, request); (got != want) != slices.Contains(differ, e.File) {
				t.Errorf("%s\n got %s\nwant %s", e.File, got, want)
			}
		}
	}
	if total < 170 {
		t.Errorf("only %d exchanges", total)
	}
}
