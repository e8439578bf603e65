// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

func importHistory(t *testing.T, c *chain.Chain, blocks []*types.Block, receipts []types.Receipts) {
	t.Helper()
	if err := c.ImportHistory(blocks, receipts); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	if err := c.JoinHistory(); err != nil {
		t.Fatal(err)
	}
	check(t, c)
}

// TestImportHistoryFirst: an archive is imported before there is a head, in two runs; nothing of it is served until the chain has grown down
// to its newest block, and then all of it.
func TestImportHistoryFirst(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	importHistory(t, c, append([]*types.Block{w.genesis.ToBlock()}, w.main[:2]...), append([]types.Receipts{nil}, w.mainR[:2]...))
	importHistory(t, c, w.main[2:6], w.mainR[2:6])
	bounds(t, c, 0, 0)
	for _, first := range []uint64{0, 1, 3} {
		if !c.HasHistory(first, 6, w.main[5].Hash()) || c.HasHistory(first, 7, w.main[6].Hash()) || c.HasHistory(first, 6, w.main[4].Hash()) {
			t.Errorf("history from %d on", first)
		}
	}
	if c.HistoryHash(6) != w.main[5].Hash() || c.BlockByNumber(3) != nil {
		t.Error("imported blocks are canonical, or not known")
	}
	if tx := w.main[2].Transactions()[0].Hash(); func() bool { found, _, _, _ := c.Transaction(tx); return found != nil }() {
		t.Error("a transaction of a block that is not canonical was found")
	}

	c = load(t, d, w.genesis)
	commit(t, c, w.main[9:], w.mainR[9:])
	setHead(t, c, w.main[11])
	bounds(t, c, 10, 10)
	if err := c.AddHeaders(headersOf(w.main[6:9])); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	bounds(t, c, 0, 10) // headers join at once
	addHistory(t, c, w.main[6:9], w.mainR[6:9])
	bounds(t, c, 0, 0)
	for i := range 12 {
		same(t, c, w.main[i], w.mainR[i])
	}
}

// TestImportHistoryLater: an archive is imported below a chain that is there, joins it or the part of it that has headers only.
func TestImportHistoryLater(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main[9:], w.mainR[9:])
	setHead(t, c, w.main[11])
	if err := c.AddHeaders(headersOf(w.main[6:9])); err != nil {
		t.Fatal(err)
	}
	bounds(t, c, 7, 10)
	importHistory(t, c, w.main[2:8], w.mainR[2:8]) // 3 to 8, of which 7 and 8 have headers
	bounds(t, c, 3, 10)
	addHistory(t, c, w.main[8:9], w.mainR[8:9])
	bounds(t, c, 3, 3)
	importHistory(t, c, w.main, w.mainR) // all of it: what is there is skipped
	bounds(t, c, 0, 0)
	for i := range 12 {
		same(t, c, w.main[i], w.mainR[i])
	}
}

// TestImportHistoryOfAnotherChain: blocks that are not ancestors of the head are refused where that is known, and never served.
func TestImportHistoryOfAnotherChain(t *testing.T) {
	w := newTwoBranches()
	foreign := append(append([]*types.Block{}, w.main[:8]...), w.side...)
	foreignR := append(append([]types.Receipts{}, w.mainR[:8]...), w.sideR...)
	c, _ := open(t, w.genesis)
	importHistory(t, c, foreign[:11], foreignR[:11]) // 9 to 11 are of the side branch
	commit(t, c, w.main[11:], w.mainR[11:])
	setHead(t, c, w.main[11])
	if err := c.AddHeaders(headersOf(w.main[9:11])); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	bounds(t, c, 10, 12)
	if err := c.AddHeaders(headersOf(w.main[8:9])); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	bounds(t, c, 0, 12) // what both chains have
	if c.CanonicalHash(9) != w.main[8].Hash() || c.CanonicalHash(10) != w.main[9].Hash() {
		t.Error("a block of the other chain is canonical")
	}
	if err := c.ImportHistory(w.side[:2], w.sideR[:2]); !errors.Is(err, chain.ErrNotCanonical) {
		t.Errorf("side branch: %v", err)
	}
	for name, run := range map[string][]*types.Block{"hole": {w.main[2], w.main[4]}, "downward": {w.main[4], w.main[3]}} {
		if err := c.ImportHistory(run, make([]types.Receipts, 2)); err == nil {
			t.Errorf("%s: imported", name)
		}
	}
	other := newTwoBranches()
	if err := c.ImportHistory(other.main[:1], nil); err == nil {
		t.Error("blocks without receipts were imported")
	}
}

// TestImportHistoryCutsSegments: an archive takes the numbers over from what a pivot left of them.
func TestImportHistoryCutsSegments(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main[2:7], w.mainR[2:7])
	setHead(t, c, w.main[6]) // 3 to 7
	commit(t, c, w.main[11:], w.mainR[11:])
	setHead(t, c, w.main[11]) // leaves 3 to 7
	importHistory(t, c, w.main[3:5], w.mainR[3:5])
	importHistory(t, c, w.main[:3], w.mainR[:3])
	bounds(t, c, 12, 12)
	if err := c.AddHeaders(headersOf(w.main[7:11])); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	bounds(t, c, 0, 12)
	addHistory(t, c, w.main[7:11], w.mainR[7:11])
	bounds(t, c, 0, 0)
}
