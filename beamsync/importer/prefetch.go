// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
)

// maxAhead bounds the blocks that are prefetched at once while they wait for their parents: each takes
// a core for a while, and the executing block comes first.
const maxAhead = 3

// prefetch gets what a block reads, just before its execution. It returns the block with its access list if that
// was found.
func (i *Importer) prefetch(ctx context.Context, job *importJob, base *basis, session StateSession) *types.Block {
	begin := time.Now()
	job.enter(stagePrefetching)
	stop := i.requestHints(ctx, job.block, base.parent.Root)
	defer stop()
	block, err := i.prefetchReads(ctx, job.block, base.parent, session)
	if err != nil && ctx.Err() == nil {
		i.cfg.Log.Debug("Prefetch ended early", "number", job.number(), "err", err)
	}
	i.metrics.phases.WithLabelValues(phasePrefetch).Observe(time.Since(begin).Seconds())
	return block
}

// requestHints asks other Sunbeam nodes what the block reads, until the returned function is called.
func (i *Importer) requestHints(ctx context.Context, block *types.Block, parentRoot common.Hash) (stop func()) {
	if i.cfg.Hints == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.cfg.Hints(ctx, block, parentRoot)
	}()
	return func() { cancel(); <-done }
}

// prefetchAhead prefetches what a block reads while it waits for its parent's job, until the returned function is
// called. The parent's header names the state root that the block is executed on, and peers that are ahead serve that
// state: most of what the parent does not change is local when the block's turn comes. Fetches of the executing block
// come first. All of this is hints: if the parent is invalid, only bytes are lost.
func (i *Importer) prefetchAhead(ctx context.Context, block *types.Block, parent *types.Header) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case i.ahead <- struct{}{}: // in the order of arrival
		case <-ctx.Done():
			return
		}
		defer func() { <-i.ahead }()
		if _, err := i.prefetchReads(ctx, block, parent, i.cfg.Ahead()); err != nil && ctx.Err() == nil {
			i.cfg.Log.Debug("Prefetch ahead ended early", "number", block.NumberU64(), "err", err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// prefetchReads gets what a block reads of its parent's state. A block without the access list that its header
// commits to starts without it, and starts again with the list when that arrives. The block is returned with the list.
func (i *Importer) prefetchReads(ctx context.Context, block *types.Block, parent *types.Header, session prefetch.Hinter) (*types.Block, error) {
	if block.BlockAccessListHash() == nil || block.AccessList() != nil {
		return block, i.prefetcher.Prefetch(ctx, block, parent, ancestors{i}, session)
	}
	var (
		arrival         = i.lists.of(block.Header())
		ended           = make(chan error, 1)
		unlisted, abort = context.WithCancel(ctx)
	)
	defer abort()
	go func() { ended <- i.prefetcher.Prefetch(unlisted, block, parent, ancestors{i}, session) }()
	select {
	case err := <-ended:
		return block, err
	case <-arrival.done:
	}
	listed := arrival.attach(block)
	if listed == nil {
		return block, <-ended
	}
	abort()
	<-ended //nolint:errcheck // it was aborted
	return listed, i.prefetcher.Prefetch(ctx, listed, parent, ancestors{i}, session)
}
