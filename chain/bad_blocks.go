// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"
)

const (
	maxBadBlocks = 10 // as in go-ethereum (core/rawdb, badBlockToKeep)
	maxBadBytes  = 32 << 20
)

// badBlocks are rejected blocks with their bodies, for whoever looks into why they were rejected. In memory, bounded,
// forgotten on restart. Its zero value is empty.
type badBlocks struct {
	mu     sync.Mutex
	blocks []*types.Block // highest first
}

func (b *badBlocks) add(block *types.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.ContainsFunc(b.blocks, func(kept *types.Block) bool { return kept.Hash() == block.Hash() }) {
		return
	}
	kept := append(slices.Clone(b.blocks), block)
	slices.SortStableFunc(kept, func(x, y *types.Block) int { return cmp.Compare(y.NumberU64(), x.NumberU64()) })
	bytes := uint64(0)
	for at, block := range kept {
		if bytes += block.Size(); at == maxBadBlocks || bytes > maxBadBytes {
			kept = kept[:at]
			break
		}
	}
	b.blocks = kept
}

// RejectBlock is Reject for a block whose body is known: it also keeps the block for BadBlocks.
func (c *Chain) RejectBlock(block *types.Block, reason error) {
	c.Reject(block.Header(), reason)
	c.bad.add(block)
}

// BadBlocks returns the highest blocks that were rejected since the start and were not found valid later, highest first.
func (c *Chain) BadBlocks() []*types.Block {
	c.bad.mu.Lock()
	kept := c.bad.blocks // never modified
	c.bad.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(kept), func(block *types.Block) bool { return c.Status(block.Hash()) == Executed })
}
