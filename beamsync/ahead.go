package beamsync

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"
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
