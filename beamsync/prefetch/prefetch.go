// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"cmp"
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Speculator runs a block, or parts of it, on the local part of its parent's state and records
// what is missing; evm.Executor implements it.
type Speculator interface {
	Senders(block *types.Block) []common.Address
	LikelySlots(to common.Address, input []byte) []common.Hash // slots that a call probably reads
	SpeculateGroup(ctx context.Context, spec evm.Speculation, group []int) (usedMode bool)
	SpeculateBlock(ctx context.Context, spec evm.Speculation) (usedMode bool)
	SpeculateRoot(block *types.Block, parent *types.Header, state *trie.PartialState)
}

// Ancestors finds headers for BLOCKHASH: Header locally or from peers, LocalHeader without
// blocking.
type Ancestors interface {
	evm.Headers
	LocalHeader(hash common.Hash) *types.Header // nil: not in the local store
}

// Hinter fetches trie nodes and codes that might be needed; [fetch.Session] implements it. It
// calls arrived, unless that is nil, whenever some of them are in the local store or are given
// up. It returns when that is so for all of them.
type Hinter interface {
	Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, arrived func()) error
}

// Prefetcher fetches what blocks are going to read. It keeps nothing between blocks and may
// work on several at the same time.
type Prefetcher struct {
	speculator Speculator
	store      trie.Store
}

// New returns a prefetcher that looks for state in store first. What the hinters of
// [Prefetcher.Prefetch] fetch must get into that store.
func New(speculator Speculator, store trie.Store) *Prefetcher {
	return &Prefetcher{speculator: speculator, store: store}
}

// Prefetch fetches what the block is expected to read of its parent's state. It uses the
// block's access list if there is one, and speculation otherwise. It returns early, with an
// error, when ctx ends or a fetch fails. Both tell nothing about the block.
func (p *Prefetcher) Prefetch(ctx context.Context, block *types.Block, parent *types.Header, headers Ancestors, hinter Hinter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := newBlockPrefetch(p, block, parent, headers, hinter)
	prefetch := b.speculate
	if evm.HasAccessList(block) {
		prefetch = b.fetchListed
	}
	err := prefetch(ctx)
	cancel() // the batches that are in flight: no run waits for them any more
	return cmp.Or(err, b.sends.Wait())
}
