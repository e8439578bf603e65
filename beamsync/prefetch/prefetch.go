package prefetch

import (
	"cmp"
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Speculator runs parts of a block on what is held, and notes in the guess what is not;
// evm.Executor implements it.
type Speculator interface {
	Senders(block *types.Block) []common.Address
	LikelySlots(to common.Address, input []byte) []common.Hash // slots, of a contract whose code is not known
	SpeculateGroup(ctx context.Context, spec evm.Speculation, group []int)
	SpeculateBlock(ctx context.Context, spec evm.Speculation)
	SpeculateRoot(block *types.Block, parent *types.Header, guess *trie.PartialState)
}

// Ancestors finds headers for BLOCKHASH: Header wherever they are, Held without blocking.
type Ancestors interface {
	evm.Headers
	Held(hash common.Hash) *types.Header
}

// Hinter fetches guesses; [fetch.Session] implements it. It calls news, if that is not nil, whenever
// something of them is here or will not come.
type Hinter interface {
	Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, news func()) error
}

// Collector gets what a block will read, in as few sequential round trips as it can, before
// the block is executed:
//
//  1. what its transactions name: senders, recipients, access lists, coinbase, withdrawals, the
//     system contracts;
//  2. at the same time what running its transactions asks for, sender by sender, and again as soon as
//     something of that sender's wishes is here, until nothing new comes up;
//  3. when most of that is done, what running it as a whole asks for, its new root included.
//
// If the block comes with the access list that its header commits to, that is fetched instead, and
// nothing is run.
//
// A run that misses something goes on with what a block before saw there, or with something thought
// up, see [evm.Manner]: what comes after is mostly the same. With a contract of which nothing is
// known go the slots that others of its kind read ([evm.Executor.LikelySlots]).
//
// Everything it does is a hint. What it misses the execution faults in; what it fetches in vain
// costs bytes; no outcome depends on it.
type Prefetcher struct {
	spec  Speculator
	store trie.Store
}

// NewCollector returns a collector that looks for state in store first.
func New(spec Speculator, store trie.Store) *Prefetcher {
	return &Prefetcher{spec: spec, store: store}
}

// Collect fetches what the block is expected to read of its parent's state. It returns early when
// ctx ends or a fetch fails.
func (c *Prefetcher) Collect(ctx context.Context, block *types.Block, parent *types.Header, headers Ancestors, session Hinter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := newCollection(c, block, parent, headers, session)
	collect := run.speculate
	if evm.HasAccessList(block) {
		collect = run.fetchListed
	}
	err := collect(ctx)
	cancel() // what nobody waits for any longer
	return cmp.Or(err, run.sends.Wait())
}
