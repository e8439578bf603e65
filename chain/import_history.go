// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ImportHistory stores a run of old blocks that did not come from above, lowest first, and linked by hash: of an archive. The caller
// has verified bodies and receipts against the headers. The blocks become part of a detached segment, so nothing of them is served
// before the canonical chain reaches the highest of them by its hash: that is the proof that they belong to it. [Chain.JoinHistory]
// joins what it can reach now.
//
// Blocks that the canonical chain has are skipped, and so are those above the head of a chain that has more than genesis. The error
// is [ErrNotCanonical] for a block of whose number the canonical chain has another header.
func (c *Chain) ImportHistory(blocks []*types.Block, receipts []types.Receipts) error {
	if len(blocks) != len(receipts) {
		return fmt.Errorf("import history: %d blocks with receipts of %d", len(blocks), len(receipts))
	}
	if err := c.checkRun(blocks); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	old := c.snapshot.Load()
	update := &Update{Canonical: make(map[uint64]common.Hash)}
	head := old.head.Number.Uint64()
	var first, last uint64
	for i, block := range blocks {
		number, hash := block.NumberU64(), block.Hash()
		if head > 0 && number > head {
			break
		}
		if known := c.canonical(old, number); known != (common.Hash{}) {
			if known != hash {
				return fmt.Errorf("block %d is %x, the canonical chain has %x: %w", number, hash, known, ErrNotCanonical)
			}
			if number == 0 || number >= old.Oldest {
				continue
			}
		}
		if len(update.History) == 0 {
			first = number
		}
		last = number
		update.History = append(update.History, Execution{Block: block, Receipts: receipts[i]})
		update.Canonical[number] = hash
		if hashes := hashesOf(block.Transactions()); len(hashes) > 0 {
			update.Index = append(update.Index, Transactions{Number: number, Hashes: hashes})
		}
	}
	if len(update.History) == 0 {
		return nil
	}
	next := &snapshot{Markers: old.Markers, head: old.head}
	next.segments = c.withRun(old.segments, Segment{first, first, last}, update.History[0].Block.ParentHash())
	next.settleSegments(old, update)
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("keep blocks %d to %d: %w", first, last, err)
	}
	c.snapshot.Store(next)
	return nil
}

// checkRun checks that blocks are linked, and their headers by the rules.
func (c *Chain) checkRun(blocks []*types.Block) error {
	for i, block := range blocks {
		header := block.Header()
		if err := c.checkRoot(header); err != nil {
			return err
		}
		if header.Number.Sign() == 0 {
			continue
		}
		var parent *types.Header
		if i > 0 {
			parent = blocks[i-1].Header()
		} else {
			parent = c.Header(header.ParentHash)
		}
		check := func() error { return checkShape(c.config, header) }
		if parent != nil {
			check = func() error { return VerifyHeader(c.config, header, parent) }
		}
		if err := check(); err != nil {
			return fmt.Errorf("header %d (%x): %w", header.Number, header.Hash(), err)
		}
	}
	return nil
}

// withRun returns the segments with a run of blocks, which continues a segment that ends with its parent. What others have of its
// numbers is cut off: their index changes.
func (c *Chain) withRun(segments []Segment, run Segment, parent common.Hash) []Segment {
	var others []Segment
	for _, s := range segments {
		if s.Oldest <= s.Top && s.Top+1 == run.Tail && c.store.CanonicalHash(s.Top) == parent {
			run.Tail, run.Oldest = s.Tail, s.Oldest
			continue
		}
		if s.Top < run.Tail || s.Tail > run.Top {
			others = append(others, s)
			continue
		}
		if s.Tail < run.Tail {
			others = append(others, Segment{s.Tail, s.Oldest, run.Tail - 1})
		}
		if s.Top > run.Top {
			others = append(others, Segment{run.Top + 1, max(s.Oldest, run.Top+1), s.Top})
		}
	}
	return append(others, run)
}

// HasHistory says whether all blocks from first to last are stored with bodies and receipts in one chain that ends with a hash: the canonical
// one, or a detached segment.
func (c *Chain) HasHistory(first, last uint64, hash common.Hash) bool {
	v := c.snapshot.Load()
	if first == 0 {
		first = 1
	}
	if number := v.head.Number.Uint64(); v.Oldest <= first && last <= number {
		return c.canonical(v, last) == hash
	}
	for _, s := range v.segments {
		if s.Oldest <= first && last <= s.Top {
			return c.store.CanonicalHash(last) == hash
		}
	}
	return false
}

// HistoryHash returns the hash of the block with a number in the canonical chain or in a detached segment, zero if neither has it.
func (c *Chain) HistoryHash(number uint64) common.Hash {
	v := c.snapshot.Load()
	if hash := c.canonical(v, number); hash != (common.Hash{}) {
		return hash
	}
	if _, ok := v.segmentTail(number); ok {
		return c.store.CanonicalHash(number)
	}
	return common.Hash{}
}

// JoinHistory moves tail and oldest down over what is stored below them and belongs to the canonical chain.
func (c *Chain) JoinHistory() error {
	for {
		before := c.snapshot.Load()
		if err := c.joinHeaders(); err != nil {
			return err
		}
		if err := c.AddHistory(nil, nil); err != nil {
			return err
		}
		if c.snapshot.Load().Markers == before.Markers {
			return nil
		}
	}
}

func (c *Chain) joinHeaders() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	update := new(Update)
	next := c.extendTail(update)
	if next == c.snapshot.Load() {
		return nil
	}
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("join headers down to block %d: %w", next.Tail, err)
	}
	c.snapshot.Store(next)
	return nil
}
