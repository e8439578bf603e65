// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"context"
	"runtime"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxRounds bounds the rounds of a group and of the whole block; what is still missing then is
	// a fault in the execution. Real mainnet blocks with an empty store took up to 40.
	maxRounds = 96

	// earlyRunShare says when the whole block is run at the same time as the groups: when one group in so many
	// is not done. Waiting for the last group cost 1-9 round trips on real blocks; running the
	// block together with all groups from the beginning gained nothing more, at three times the work.
	earlyRunShare = 5

	// maxEarlyRuns bounds these runs: each takes a core for as long as executing the block does,
	// and blocks have up to hundreds of groups.
	maxEarlyRuns = 2
)

// blockPrefetch is the prefetch of one block.
type blockPrefetch struct {
	speculator Speculator
	store      trie.Store
	block      *types.Block
	parent     *types.Header
	headers    Ancestors
	hinter     Hinter
	senders    []common.Address
	lookups    *trie.LookupCache // in the parent's state
	progress   *evm.Progress
	cores      chan struct{} // holds a token for each run that executes

	mu        sync.Mutex
	requested map[common.Hash]*batch // nothing is sent twice
	open      *batch                 // not sent yet; nil: none
	sends     errgroup.Group         // one goroutine for each batch
}

func newBlockPrefetch(p *Prefetcher, block *types.Block, parent *types.Header, headers Ancestors, hinter Hinter) *blockPrefetch {
	return &blockPrefetch{
		speculator: p.speculator, store: p.store,
		block: block, parent: parent, headers: headers, hinter: hinter,
		senders:   p.speculator.Senders(block),
		lookups:   trie.NewLookupCache(parent.Root, p.store),
		progress:  evm.NewProgress(),
		cores:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		requested: make(map[common.Hash]*batch),
	}
}

// speculate requests the static keys, and runs the groups and the block until they miss nothing
// that can be fetched.
func (b *blockPrefetch) speculate(ctx context.Context) error {
	b.request(ctx, b.staticKeys())
	groups := b.groups()
	running, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{}, len(groups))
	for _, group := range groups {
		running.Go(func() error {
			defer func() { done <- struct{}{} }()
			return b.rounds(ctx, true, func(spec evm.Speculation) bool { return b.speculator.SpeculateGroup(ctx, spec, group) })
		})
	}
	running.Go(func() error { return b.blockRounds(ctx, len(groups), done) })
	return running.Wait()
}

// blockRounds runs the whole block, up to maxEarlyRuns times before the last group is done and then until
// nothing is missing.
func (b *blockPrefetch) blockRounds(ctx context.Context, groups int, done <-chan struct{}) error {
	run := func(spec evm.Speculation) bool { return b.speculator.SpeculateBlock(ctx, spec) }
	for left, early := groups, 0; ; {
		if left == 0 || left*earlyRunShare <= groups && early < maxEarlyRuns {
			early++
			if err := b.rounds(ctx, left == 0, run); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-done:
			left -= 1 + drain(done)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drain receives what is buffered in a channel and returns how much that was.
func drain(ch <-chan struct{}) (n int) {
	for {
		select {
		case <-ch:
			n++
		default:
			return n
		}
	}
}

// rounds runs something, requests what it missed, and runs it again when some of that is in the
// store. It runs in both modes if they differ. If it is not eager it saves computing: it runs in the first mode only, and again when
// all that can be fetched is there.
func (b *blockPrefetch) rounds(ctx context.Context, eager bool, run func(evm.Speculation) (usedMode bool)) error {
	arrived, modes := make(chan struct{}, 1), []evm.Mode{evm.ModePlaceholder, evm.ModeZero}
	if !eager {
		modes = modes[:1]
	}
	for range maxRounds {
		var missed missing
		for _, mode := range modes {
			b.cores <- struct{}{}
			spec := b.speculation(mode, &missed)
			usedMode := run(spec)
			<-b.cores
			missed.add(spec.State)
			if !spec.State.Missed() || !usedMode {
				break
			}
		}
		if some, err := b.await(ctx, missed, b.request(ctx, missed), arrived, eager); err != nil || !some {
			return err
		}
	}
	return nil
}

// speculation prepares one run on what is in the store now.
func (b *blockPrefetch) speculation(mode evm.Mode, missed *missing) evm.Speculation {
	return evm.Speculation{
		Block: b.block, Parent: b.parent, State: b.lookups.State(), Mode: mode, Progress: b.progress,
		LocalHeader: func(hash common.Hash, number uint64) *types.Header {
			header := b.headers.LocalHeader(hash)
			if header == nil && missed.header == nil {
				missed.header = &headerID{hash, number}
			}
			return header
		},
	}
}

// groups splits the transactions by sender, in order: those of one sender depend on each other,
// others rarely do.
func (b *blockPrefetch) groups() [][]int {
	var (
		index  = make(map[common.Address]int)
		groups [][]int
	)
	for i, from := range b.senders {
		n, seen := index[from]
		if !seen {
			n = len(groups)
			index[from] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], i)
	}
	return groups
}
