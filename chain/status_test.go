// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

var errBad = errors.New("bad state root")

func TestRejection(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main[:8], w.mainR[:8])
	bad := w.side[1]
	if err := c.AddHeaders(headersOf(w.side)); err != nil {
		t.Fatal(err)
	}
	if latest, err := c.Rejection(bad.Hash()); err != nil || latest != nil {
		t.Fatalf("nothing was rejected yet: %x, %v", latest, err)
	}
	// Only the header of its parent is stored: it may be valid, so main 7 is not the latest valid block.
	if latest := c.LatestValid(bad.ParentHash()); latest != nil {
		t.Fatalf("latest valid %x, but nothing is known of the parent", *latest)
	}
	commit(t, c, w.side[:1], w.sideR[:1])
	latest := c.LatestValid(bad.ParentHash())
	if latest == nil || *latest != bad.ParentHash() {
		t.Fatalf("latest valid %x", latest)
	}
	c.Reject(bad.Header(), errBad)
	if c.Status(bad.Hash()) != chain.Rejected {
		t.Fatalf("status %v", c.Status(bad.Hash()))
	}
	for i, block := range w.side { // the others were not looked up yet
		if c.Rejects(block.Hash()) != (i == 1) {
			t.Errorf("side %d: %v", i, i != 1)
		}
	}
	for i, want := range []bool{false, true, true, true, true, true} {
		got, err := c.Rejection(w.side[i].Hash())
		if (err != nil) != want || want && (*got != *latest || !errors.Is(err, errBad)) {
			t.Fatalf("side %d: %x, %v", i, got, err)
		}
		if i > 1 && (!errors.Is(err, chain.ErrRejectedAncestor) || c.Status(w.side[i].Hash()) == chain.Rejected) {
			t.Fatalf("side %d: %v, status %v", i, err, c.Status(w.side[i].Hash()))
		}
	}
	for _, block := range w.main[:9] {
		if _, err := c.Rejection(block.Hash()); err != nil {
			t.Fatalf("main %d: %v", block.Number(), err)
		}
	}
	// Blocks that are not stored are found by their parent: here a child and its child.
	child, grandchild := common.Hash{1}, common.Hash{2}
	c.RejectChild(child, w.side[5].Hash())
	c.RejectChild(grandchild, child)
	if got, err := c.Rejection(grandchild); !errors.Is(err, chain.ErrRejectedAncestor) || *got != *latest {
		t.Fatalf("grandchild: %x, %v", got, err)
	}
	c.RejectChild(common.Hash{3}, w.main[3].Hash())
	if _, err := c.Rejection(common.Hash{3}); err != nil {
		t.Fatalf("a child of a good block: %v", err)
	}
	// An executed block stays so, and executing a block clears it.
	c.Reject(w.main[3].Header(), errBad)
	if c.Status(w.main[3].Hash()) != chain.Executed {
		t.Fatal("an executed block was rejected")
	}
	commit(t, c, w.side[:2], w.sideR[:2])
	for _, hash := range []common.Hash{w.side[4].Hash(), child, grandchild} {
		if _, err := c.Rejection(hash); err != nil || c.Status(bad.Hash()) != chain.Executed {
			t.Fatalf("after execution: %v", err)
		}
	}
}

// TestRejectionExpires: a entry is not for ever, should it have been wrong.
func TestRejectionExpires(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	c.Reject(w.main[0].Header(), errBad)
	asked := 0
	for ; asked < 1000; asked++ {
		if _, err := c.Rejection(w.main[0].Hash()); err == nil {
			break
		}
	}
	if asked != 127 || c.Status(w.main[0].Hash()) != chain.Unknown {
		t.Fatalf("forgotten after %d answers, status %v", asked, c.Status(w.main[0].Hash()))
	}
}

// TestLastingRejection: however often a descendant is asked about, it stays what it is until the bad block turns out good.
func TestLastingRejection(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	bad, child := w.main[0], common.Hash{1}
	c.Reject(bad.Header(), errBad)
	c.RejectChild(child, bad.Hash())
	for range 1000 {
		if _, err := c.LastingRejection(child); !errors.Is(err, errBad) {
			t.Fatalf("a child: %v", err)
		}
	}
	asked := 0
	for ; asked < 1000; asked++ {
		if _, err := c.LastingRejection(bad.Hash()); err == nil {
			break
		}
	}
	if asked != 127 || c.Status(bad.Hash()) != chain.Unknown {
		t.Fatalf("judged anew after %d answers, status %v", asked, c.Status(bad.Hash()))
	}
	if _, err := c.LastingRejection(child); !errors.Is(err, errBad) {
		t.Fatalf("a child of what is not judged anew yet: %v", err)
	}
	commit(t, c, w.main[:1], w.mainR[:1])
	if _, err := c.LastingRejection(child); err != nil {
		t.Fatalf("a child of what is good: %v", err)
	}
}

func TestRejectionsAreBounded(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	var hashes []common.Hash
	for i := range int64(2000) {
		block := types.NewBlockWithHeader(&types.Header{Number: big.NewInt(5), Difficulty: new(big.Int), GasUsed: uint64(i)})
		c.Reject(block.Header(), errBad)
		hashes = append(hashes, block.Hash())
	}
	remembered := 0
	for _, hash := range hashes {
		if c.Status(hash) == chain.Rejected {
			remembered++
		}
	}
	if remembered != 512 {
		t.Fatalf("%d rejections remembered", remembered)
	}
}

func TestLatestValid(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	if hash := c.LatestValid(common.Hash{9}); hash != nil {
		t.Fatalf("of an unknown parent: %x", hash)
	}
	if hash := c.LatestValid(c.Genesis().Hash()); hash == nil || *hash != c.Genesis().Hash() {
		t.Fatalf("of genesis: %x", hash)
	}
	// The Engine API wants zero where the parent is a proof-of-work block.
	pow := *w.genesis
	pow.Difficulty = big.NewInt(131072)
	c, _ = open(t, &pow)
	if hash := c.LatestValid(c.Genesis().Hash()); hash == nil || *hash != (common.Hash{}) {
		t.Fatalf("of a proof-of-work genesis: %x", hash)
	}
	// Of a bad parent it is that of the parent.
	c, _ = open(t, w.genesis)
	commit(t, c, w.main[:1], w.mainR[:1])
	c.Reject(w.main[1].Header(), errBad)
	if hash := c.LatestValid(w.main[1].Hash()); hash == nil || *hash != w.main[0].Hash() {
		t.Fatalf("of a bad parent: %x", hash)
	}
}
