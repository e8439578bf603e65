// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"
)

// Chain is the slot clock of a network.
type Chain struct {
	Builder   *Builder
	Followers []*Follower
	Slot      time.Duration // from block to block; 0: as fast as they can be built
	Blocks    int           // how many to build; 0: until the context ends
	Until     func() bool   // beyond Blocks, more are built until this holds; may be nil
	// Transactions makes those of the next block. It is called ahead of the slot.
	Transactions func(number uint64, baseFee *big.Int) []*types.Transaction
	// Built is told of each block when it is published; may be nil.
	Built func(*Payload)
}

// Run has blocks built and followed until ctx ends, or until Blocks were built and every
// follower has heard about each of them.
func (c *Chain) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range c.Followers {
		group.Go(func() error { return f.Run(ctx) })
	}
	group.Go(func() error {
		defer func() {
			for _, f := range c.Followers {
				f.End()
			}
		}()
		if err := c.build(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	})
	return group.Wait()
}

func (c *Chain) build(ctx context.Context) error {
	next := time.Now()
	for n := 0; c.Blocks == 0 || n < c.Blocks || c.Until != nil && !c.Until(); n++ {
		txs := c.Transactions(c.Builder.Head().Number.Uint64()+1, c.Builder.BaseFee())
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		p, err := c.Builder.Build(ctx, uint64(time.Now().Unix()), txs)
		if err != nil {
			return fmt.Errorf("slot %d: %w", n, err)
		}
		if c.Built != nil {
			c.Built(p)
		}
		for _, f := range c.Followers {
			f.Publish(p)
		}
		if next = next.Add(c.Slot); next.Before(time.Now()) {
			next = time.Now() // slots are not made up for
		}
	}
	return nil
}
