// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ErrDetached says that blocks of history do not join the lower end of the canonical chain: the chain
// has changed since they were requested.
var ErrDetached = errors.New("history does not join the canonical chain")

// maxSegments bounds the detached segments; beyond it the lowest one is dropped, and its blocks are
// fetched again.
const maxSegments = 64

// maxIndexed bounds the stored blocks outside of segments that one update adds to the canonical chain:
// each is read for its transactions, while writers wait.
const maxIndexed = 64

// Segment is a detached segment: what a pivot left of an earlier canonical chain. It has headers from Tail to
// Top, linked by hash; bodies, receipts and transaction lookups from Oldest to Top, none if Oldest is
// above Top. The index of its numbers is still that of the earlier chain. Whether its blocks are
// ancestors of the head is known when the canonical chain, growing downward, reaches one of them.
type Segment struct {
	Tail, Oldest, Top uint64
}

// Complete says whether a block's body and receipts are stored.
func (c *Chain) Complete(hash common.Hash) bool {
	number, ok := c.store.Number(hash)
	return ok && c.store.Parts(hash, number).Has(HasBody|HasReceipts)
}

// AddHistory stores blocks from below the first executed one, newest first: bodies and receipts of
// canonical headers, from the parent of the [Chain.Oldest] block downward without a hole. The caller has
// verified them against the roots in their headers. The same atomic update adds transaction lookups
// and moves Oldest down, also over complete blocks that are stored below already (by earlier runs, or
// before a pivot). Without blocks it does only that.
//
// The error is [ErrDetached] if the chain has changed meanwhile; then nothing is stored.
func (c *Chain) AddHistory(blocks []*types.Block, receipts []types.Receipts) error {
	if len(blocks) != len(receipts) {
		return fmt.Errorf("add history: %d blocks with receipts of %d", len(blocks), len(receipts))
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	old := c.snapshot.Load()
	next := *old
	update := new(Update)
	for i, block := range blocks {
		number := block.NumberU64()
		if number+1 != next.Oldest || number < old.Tail || c.canonical(old, number) != block.Hash() {
			return fmt.Errorf("add history block %d %s: %w: oldest %d, tail %d", number, block.Hash().Hex(), ErrDetached, next.Oldest, old.Tail)
		}
		if have, want := len(receipts[i]), len(block.Transactions()); have != want {
			return fmt.Errorf("add history block %d: %d receipts for %d transactions", number, have, want)
		}
		update.History = append(update.History, Execution{Block: block, Receipts: receipts[i]})
		if txs := block.Transactions(); len(txs) > 0 {
			update.Index = append(update.Index, Transactions{Number: number, Hashes: hashesOf(txs)})
		}
		next.Oldest = number
	}
	c.lowerOldest(&next, update)
	if next.Oldest == old.Oldest {
		return nil
	}
	next.settleSegments(old, update)
	update.Markers = &next.Markers
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("keep history down to block %d: %w", next.Oldest, err)
	}
	c.snapshot.Store(&next)
	return nil
}

// Forget moves Oldest up to a number, for a caller that then deletes the bodies and receipts of the blocks below it, but for genesis.
// Their headers stay. The number is at most the head's; one below Oldest is an error.
func (c *Chain) Forget(number uint64) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	old := c.snapshot.Load()
	if number < old.Oldest || number > old.head.Number.Uint64() {
		return fmt.Errorf("forget blocks below %d: the oldest one is %d, the head %d", number, old.Oldest, old.head.Number)
	}
	next := *old
	next.Oldest, next.segments = number, slices.Clone(old.segments)
	for i, segment := range next.segments {
		next.segments[i].Oldest = max(segment.Oldest, min(number, segment.Top+1))
	}
	update := new(Update)
	next.settleSegments(old, update)
	update.Markers = &next.Markers
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("forget blocks below %d: %w", number, err)
	}
	c.snapshot.Store(&next)
	return nil
}

func hashesOf(txs types.Transactions) []common.Hash {
	hashes := make([]common.Hash, len(txs))
	for i, tx := range txs {
		hashes[i] = tx.Hash()
	}
	return hashes
}

// lowerOldest moves Oldest down over complete blocks below it, no further than the tail: over a segment
// at once, over other blocks one by one. Canonical entries of the update count.
func (c *Chain) lowerOldest(next *snapshot, update *Update) {
	for range maxIndexed {
		number := next.Oldest - 1
		if next.Oldest <= next.Tail {
			return
		}
		if oldest, ok := next.segmentOldest(number); ok {
			next.Oldest = max(oldest, next.Tail)
			continue
		}
		hash, fresh := update.Canonical[number]
		if !fresh {
			hash = c.canonical(next, number)
		}
		header := c.Header(hash)
		if header == nil || !c.complete(header) {
			return
		}
		if hashes := c.transactions(header); len(hashes) > 0 { // it may have been stored without being canonical
			update.Index = append(update.Index, Transactions{Number: number, Hashes: hashes})
		}
		next.Oldest = number
	}
}

// segmentTail returns the lowest header of the segment that has a header at number.
func (v *snapshot) segmentTail(number uint64) (tail uint64, ok bool) {
	for _, segment := range v.segments {
		if segment.Tail <= number && number <= segment.Top {
			return segment.Tail, true
		}
	}
	return 0, false
}

// segmentOldest returns the lowest complete block of the segment that has a complete block at number.
func (v *snapshot) segmentOldest(number uint64) (oldest uint64, ok bool) {
	for _, segment := range v.segments {
		if segment.Oldest <= number && number <= segment.Top {
			return segment.Oldest, true
		}
	}
	return 0, false
}

// detach makes a segment of the old canonical chain below number, when a new head does not join it.
func (v *snapshot) detach(old *snapshot, number uint64) {
	segment := Segment{Tail: old.Tail, Oldest: old.Oldest, Top: min(old.head.Number.Uint64(), number-1)}
	if segment.Top > 0 { // genesis is always stored
		v.segments = append(slices.Clone(v.segments), segment)
	}
}

// trimSegments removes number and all above it from all segments: the index changes there.
func (v *snapshot) trimSegments(number uint64) {
	if len(v.segments) == 0 {
		return
	}
	trimmed := make([]Segment, 0, len(v.segments))
	for _, segment := range v.segments {
		if segment.Top >= number {
			if number <= segment.Tail {
				continue
			}
			segment.Top = number - 1
		}
		trimmed = append(trimmed, segment)
	}
	v.segments = trimmed
}

// settleSegments drops segments that add nothing below the tail and oldest block, and those beyond the bound. Those above the
// head remain: an archive was imported before there was a head. A change goes into the update.
func (v *snapshot) settleSegments(old *snapshot, update *Update) {
	segments := make([]Segment, 0, len(v.segments))
	for _, segment := range v.segments {
		headers := segment.Tail < v.Tail && segment.Tail <= segment.Top
		blocks := segment.Oldest < v.Oldest && segment.Oldest <= segment.Top
		above := segment.Tail > v.head.Number.Uint64()
		if headers || blocks || above {
			segments = append(segments, segment)
		}
	}
	slices.SortFunc(segments, func(a, b Segment) int {
		if a.Top > b.Top {
			return -1
		}
		return 1
	})
	v.segments = segments[:min(len(segments), maxSegments)]
	if !slices.Equal(v.segments, old.segments) {
		update.Segments = &v.segments
	}
}
