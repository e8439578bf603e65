// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

func TestReorgForgetsOldBranch(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main, w.mainR)
	commit(t, c, w.side, w.sideR)
	setHead(t, c, w.side[5]) // block 14
	reorg := setHead(t, c, w.main[9])
	if reorg.Depth() != 6 || len(reorg.New) != 2 {
		t.Fatalf("depth %d, %d new", reorg.Depth(), len(reorg.New))
	}
	for number := uint64(11); number <= 14; number++ {
		if c.CanonicalHash(number) != (common.Hash{}) || c.HeaderByNumber(number) != nil || c.BlockByNumber(number) != nil {
			t.Fatalf("block %d is still canonical", number)
		}
	}
	for _, block := range w.side {
		if tx, _, _, _ := c.Transaction(block.Transactions()[0].Hash()); tx != nil {
			t.Fatalf("transaction of side block %d is still found", block.Number())
		}
		if c.Status(block.Hash()) != chain.Executed || c.Block(block.Hash()) == nil {
			t.Fatalf("side block %d was lost", block.Number())
		}
	}
	// Back to an ancestor: nothing new, two blocks leave.
	if reorg := setHead(t, c, w.main[7]); reorg.Depth() != 2 || len(reorg.New) != 0 || reorg.Ancestor.Hash() != w.main[7].Hash() {
		t.Fatalf("rewind: %+v", reorg)
	}
	// To where it is: nothing happens.
	if reorg := setHead(t, c, w.main[7]); reorg.Depth() != 0 || len(reorg.New) != 0 {
		t.Fatalf("no move: %+v", reorg)
	}
}

func TestHeadMustBeExecuted(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	if _, err := c.SetHead(w.main[0].Hash()); !errors.Is(err, chain.ErrUnknownBlock) {
		t.Fatalf("unknown: %v", err)
	}
	if err := c.AddBlock(w.main[0]); err != nil {
		t.Fatal(err)
	}
	if c.Status(w.main[0].Hash()) != chain.Known {
		t.Fatalf("status %v", c.Status(w.main[0].Hash()))
	}
	if _, err := c.SetHead(w.main[0].Hash()); !errors.Is(err, chain.ErrNotExecuted) {
		t.Fatalf("known: %v", err)
	}
	if err := c.Commit(w.main[0], w.mainR[0][:1]); err == nil {
		t.Fatal("a block was committed with a receipt missing")
	}
	if c.CurrentHeader().Number.Sign() != 0 {
		t.Fatal("head moved")
	}
}

func TestMarkersOfOtherBranch(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main, w.mainR)
	commit(t, c, w.side, w.sideR)
	setHead(t, c, w.main[11])
	if err := c.SetMarkers(w.side[0].Hash(), common.Hash{}); !errors.Is(err, chain.ErrNotCanonical) {
		t.Fatalf("safe block of the side branch: %v", err)
	}
	if err := c.SetMarkers(common.Hash{}, w.side[5].Hash()); !errors.Is(err, chain.ErrNotCanonical) {
		t.Fatalf("finalized block above the head: %v", err)
	}
	if err := c.SetMarkers(common.Hash{}, common.Hash{0xee}); !errors.Is(err, chain.ErrNotCanonical) {
		t.Fatalf("finalized block that is not stored, though the whole canonical chain is: %v", err)
	}
	if c.Safe() != nil || c.Finalized() != nil {
		t.Fatal("a refused marker was kept")
	}
}

func TestBelowFinalized(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main, w.mainR)
	commit(t, c, w.side, w.sideR)
	setHead(t, c, w.main[11])
	want := func(block *types.Block, want bool) {
		t.Helper()
		if got := c.IsBelowFinalized(block.Header()); got != want {
			t.Errorf("block %d %x: %v", block.NumberU64(), block.Hash(), got)
		}
	}
	want(w.main[0], false)
	if err := c.SetMarkers(common.Hash{}, w.main[10].Hash()); err != nil {
		t.Fatal(err)
	}
	want(w.main[9], true)
	want(w.main[10], false)
	want(w.side[0], false)
	setHead(t, c, w.side[0]) // its parent is main[7]
	want(w.side[0], false)
	want(w.main[7], true)
	want(w.main[0], true)
	want(c.Genesis(), true)
}

func TestHeadEvents(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main, w.mainR)
	commit(t, c, w.side, w.sideR)
	events := make(chan chain.HeadEvent, 8)
	sub := c.SubscribeHead(events)
	defer sub.Unsubscribe()

	setHead(t, c, w.main[11])
	if ev := <-events; ev.Block.Hash() != w.main[11].Hash() || len(ev.Logs) != 24 || len(ev.Removed) != 0 {
		t.Fatalf("forward: block %d, %d logs, %d removed", ev.Block.Number(), len(ev.Logs), len(ev.Removed))
	}
	setHead(t, c, w.side[5])
	ev := <-events
	if ev.Reorg.Depth() != 4 || len(ev.Logs) != 12 || len(ev.Removed) != 8 {
		t.Fatalf("reorg: depth %d, %d logs, %d removed", ev.Reorg.Depth(), len(ev.Logs), len(ev.Removed))
	}
	for i, log := range ev.Removed {
		want := w.mainR[8+i/2][i%2].Logs[0]
		if !log.Removed || log.BlockHash != want.BlockHash || log.TxHash != want.TxHash || log.Index != want.Index {
			t.Fatalf("removed log %d: %+v, want %+v", i, log, want)
		}
	}
	have, _ := json.Marshal(ev.Logs[0])
	want, _ := json.Marshal(w.sideR[0][0].Logs[0])
	if string(have) != string(want) {
		t.Fatalf("log %s, want %s", have, want)
	}
	setHead(t, c, w.side[5])
	if len(events) != 0 {
		t.Fatal("an event without a change")
	}
}
