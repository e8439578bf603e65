// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// newestBlocks is how many blocks are read and replayed first: 60 % of what a block touches was touched in them.
	newestBlocks = 8
	// replayBlocks is how many blocks from the base down are replayed: 70 % of what a block touches was touched in them. Each
	// takes some seconds and about a second of processor time, so that more of them would not pay.
	replayBlocks = 32
	// replayWindow is how far below the head peers surely have the state that a replay begins on; they have 128 states.
	replayWindow = 110
	// maxAttempts bounds the replays of a block that blocks interrupt. Each goes on with what the one before fetched.
	maxAttempts = 4
)

// unreplayed returns the header of the next block of which it is not known which slots it reads; nil: there is none. Blocks that
// were executed here are left out: what they read is here.
func (w *Warmup) unreplayed(blocks uint64, head *types.Header) *types.Header {
	for ; w.replay > w.next && w.replay > 0; w.skip() {
		header := w.cfg.Chain.HeaderByNumber(w.replay)
		if header == nil || w.cfg.Chain.Status(header.Hash()) == chain.Executed {
			continue
		}
		if !w.inWindow(w.replay, blocks) {
			return nil
		}
		if header.BlockAccessListHash != nil {
			return header
		}
		if !w.inWindow(w.replay, replayBlocks) || head.Number.Uint64()-w.replay > replayWindow {
			return nil
		}
		if w.attempts < maxAttempts {
			return header
		}
		w.count(usedFailed)
	}
	return nil
}

// skip goes on to the block below.
func (w *Warmup) skip() { w.replay, w.attempts = w.replay-1, 0 }

// repeat fetches what a block touches, as the head's state has it.
func (w *Warmup) repeat(ctx context.Context, head, header *types.Header) error {
	w.attempts++
	var (
		touched *trie.Touched
		how     = usedReplayed
		err     error
	)
	if header.BlockAccessListHash != nil {
		touched, how = w.listOf(ctx, header), usedListed
	} else {
		touched, err = w.execute(ctx, header)
	}
	if err == nil && touched != nil {
		err = w.want(ctx, touched, head.Root)
	}
	if ctx.Err() != nil || errors.Is(err, errSpent) {
		return err
	}
	if err != nil || touched == nil {
		w.cfg.Log.Debug("Recent block tells nothing", "number", header.Number, "err", err)
		how = usedFailed
	}
	w.count(how)
	w.skip()
	return nil
}

func (w *Warmup) count(how string) {
	w.metrics.blocks.WithLabelValues(how).Inc()
	switch how {
	case usedReplayed:
		w.done.replayed++
	case usedListed:
		w.done.listed++
	case usedFailed:
		w.done.failed++
	}
}

// listOf returns what the access list of a block names, nil if no peer has it.
func (w *Warmup) listOf(ctx context.Context, header *types.Header) *trie.Touched {
	lists, err := w.cfg.AccessLists(ctx, []*types.Header{header})
	var list bal.BlockAccessList
	if err != nil || len(lists) != 1 || len(lists[0]) == 0 || rlp.DecodeBytes(lists[0], &list) != nil {
		return nil
	}
	return listed(list)
}

// execute executes a block on its parent's state and returns what it touched. The nodes that it makes are kept: most of them
// are part of the head's state.
func (w *Warmup) execute(ctx context.Context, header *types.Header) (*trie.Touched, error) {
	block, parent := w.cfg.Chain.Block(header.Hash()), w.cfg.Chain.HeaderByNumber(header.Number.Uint64()-1)
	if block == nil || parent == nil || parent.Hash() != header.ParentHash {
		return nil, errors.New("the block or its parent's header is not stored")
	}
	if err := w.cfg.Prefetcher.Prefetch(ctx, block, parent, w.cfg.Headers, w.cfg.Session); err != nil {
		return nil, err
	}
	state := trie.Open(ctx, parent.Root, w.cfg.Store, w.cfg.Session)
	result := w.cfg.Executor.Execute(ctx, evm.Job{Block: block, Parent: parent, State: state, Headers: w.cfg.Headers, Repeated: true})
	if result.Outcome != evm.Valid {
		return nil, result.Err
	}
	return state.Touched(), w.cfg.Store.PutNodes(result.Nodes)
}
