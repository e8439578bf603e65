package importer

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
)

// maxAhead bounds the blocks that are collected at once while they wait for their parents: each costs
// a core for a while, and the executing block comes first.
const maxAhead = 3

// collectAhead collects what a block will read while its parent is in work, and returns a function
// that ends that. The parent's header names the state root that the block will stand on, and peers
// that are ahead of us serve it, so most of what the parent leaves alone is here when its turn
// comes. What the executing block waits for goes before it. All of it is hints: if the parent turns
// out invalid, nothing is lost but bytes.
func (i *Importer) collectAhead(ctx context.Context, block *types.Block, parent *types.Header) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case i.ahead <- struct{}{}: // those that wait for it get it in the order in which they came
		case <-ctx.Done():
			return
		}
		defer func() { <-i.ahead }()
		if _, err := i.collect(ctx, block, parent, i.cfg.Ahead()); err != nil && ctx.Err() == nil {
			i.cfg.Log.Debug("Collecting ahead ended early", "number", block.NumberU64(), "err", err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// collect gets what a block will read of its parent's state, before it is executed. A block without
// the access list that its header commits to begins as one that has none, and goes on with the list
// as soon as that is here; it is returned with it.
func (i *Importer) collect(ctx context.Context, block *types.Block, parent *types.Header, session prefetch.Hinter) (*types.Block, error) {
	if block.BlockAccessListHash() == nil || block.AccessList() != nil {
		return block, i.collector.Collect(ctx, block, parent, ancestors{i}, session)
	}
	var (
		arrival    = i.lists.of(block.Header())
		ended      = make(chan error, 1)
		going, end = context.WithCancel(ctx)
	)
	defer end()
	go func() { ended <- i.collector.Collect(going, block, parent, ancestors{i}, session) }()
	select {
	case err := <-ended:
		return block, err
	case <-arrival.done:
	}
	listed := arrival.attach(block)
	if listed == nil {
		return block, <-ended
	}
	end()
	<-ended //nolint:errcheck // it was told to end
	return listed, i.collector.Collect(ctx, listed, parent, ancestors{i}, session)
}
