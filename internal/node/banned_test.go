// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/witness"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

// TestBannedPeer: all users of peers share one book. A peer that one of them found out is forgotten by all, and dropped when it
// joins again.
func TestBannedPeer(t *testing.T) {
	t.Parallel()
	book := peer.NewBook(peer.BookConfig{})
	n := &Node{
		book:     book,
		fetcher:  fetch.New(fetch.Config{Book: book}),
		witness:  witness.New(witness.Config{Book: book}),
		backfill: backfill.New(backfill.Config{Book: book, Recent: func() (backfill.Target, bool) { return backfill.Target{}, false }}),
	}
	p := p2p.NewPeer(p2p.Link{ID: "p", Version: 71}, p2p.PeerConfig{})
	n.fetcher.Join(p)
	n.witness.Join(p)
	n.backfill.Join(swarmPeer{p})
	if n.fetcher.OldBlockPeers(0) != 1 {
		t.Fatal("the peer has not joined")
	}
	book.Blame(p.ID(), peer.BlameInvalid, "a subtree with another hash")
	if n.fetcher.OldBlockPeers(0) != 0 {
		t.Error("a banned peer is asked for blocks")
	}
	n.join(p)
	select {
	case <-p.Done():
	default:
		t.Error("a banned peer stays connected")
	}
	if n.fetcher.OldBlockPeers(0) != 0 {
		t.Error("a banned peer is asked for blocks after it has joined again")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	block := types.NewBlockWithHeader(&types.Header{Number: common.Big1})
	if hinted, err := n.witness.Collect(ctx, block, common.Hash{}, nil); hinted || err != nil {
		t.Errorf("a hint of a banned peer: %v, %v", hinted, err)
	}
}
