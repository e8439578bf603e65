package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ErrDetached says that history does not end where the canonical chain's own begins: the
// chain has moved since it was asked for.
var ErrDetached = errors.New("history does not join the canonical chain")

// maxSpans bounds the spans that are remembered; beyond it the lowest is forgotten, and
// what it holds is fetched anew.
const maxSpans = 64

// maxIndexed bounds how many blocks that are held singly, in no span, are taken over in one
// update: each is read for its transactions, while writers wait.
const maxIndexed = 64

// Span is what a pivot left behind of an earlier canonical chain: headers from Tail to Top,
// linked by hash; bodies, receipts and transaction lookups from Oldest to Top, none if Oldest
// is above Top. The index of its numbers still is that chain's. Whether that chain is ours
// shows when the canonical chain, growing downward, arrives at one of its blocks.
type Span struct {
	Tail, Oldest, Top uint64
}

// Complete says whether a block's body and receipts are held.
func (c *Chain) Complete(hash common.Hash) bool {
	number, ok := c.store.Number(hash)
	return ok && c.store.Holds(hash, number).Has(HasBody|HasReceipts)
}

// AddHistory keeps blocks from before the first one that was executed, newest first: bodies
// and receipts of canonical headers, from the parent of the [Chain.Oldest] block downward
// without a hole. The caller has checked them against the roots in their headers. With the
// same atomic update transactions can be looked up and Oldest moves down, also over what
// is held already below (of earlier runs, or before a pivot). Without blocks it does only that.
//
// The error is [ErrDetached] if the chain has moved meanwhile, and nothing is kept.
func (c *Chain) AddHistory(blocks []*types.Block, receipts []types.Receipts) error {
	if len(blocks) != len(receipts) {
		return fmt.Errorf("add history: %d blocks with receipts of %d", len(blocks), len(receipts))
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	old := c.view.Load()
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
	next.settleSpans(old, update)
	update.Markers = &next.Markers
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("keep history down to block %d: %w", next.Oldest, err)
	}
	c.view.Store(&next)
	return nil
}

func hashesOf(txs types.Transactions) []common.Hash {
	hashes := make([]common.Hash, len(txs))
	for i, tx := range txs {
		hashes[i] = tx.Hash()
	}
	return hashes
}

// lowerOldest moves Oldest down over what is held already below it, no further than the
// tail: a whole span at once, single blocks one by one. Canonical entries that come with the
// update count.
func (c *Chain) lowerOldest(next *view, update *Update) {
	for range maxIndexed {
		number := next.Oldest - 1
		if next.Oldest <= next.Tail {
			return
		}
		if oldest, ok := next.spanBlocks(number); ok {
			next.Oldest = max(oldest, next.Tail)
			continue
		}
		hash, fresh := update.Canonical[number]
		if !fresh {
			hash = c.canonical(next, number)
		}
		header := c.Header(hash)
		if header == nil || !c.held(header) {
			return
		}
		if hashes := c.transactions(header); len(hashes) > 0 { // it may have been held without being canonical
			update.Index = append(update.Index, Transactions{Number: number, Hashes: hashes})
		}
		next.Oldest = number
	}
}

// spanHeaders finds how far down a span has headers from number on.
func (v *view) spanHeaders(number uint64) (tail uint64, ok bool) {
	for _, span := range v.spans {
		if span.Tail <= number && number <= span.Top {
			return span.Tail, true
		}
	}
	return 0, false
}

// spanBlocks finds how far down a span has complete blocks from number on.
func (v *view) spanBlocks(number uint64) (oldest uint64, ok bool) {
	for _, span := range v.spans {
		if span.Oldest <= number && number <= span.Top {
			return span.Oldest, true
		}
	}
	return 0, false
}

// leave remembers what a new head at some distance leaves of the chain so far: all of it
// below number.
func (v *view) leave(old *view, number uint64) {
	span := Span{Tail: old.Tail, Oldest: old.Oldest, Top: min(old.head.Number.Uint64(), number-1)}
	if span.Top > 0 { // genesis is held anyway
		v.spans = append(slices.Clone(v.spans), span)
	}
}

// trimSpans takes the numbers from number on from all spans: the index says something else
// there from now on.
func (v *view) trimSpans(number uint64) {
	if len(v.spans) == 0 {
		return
	}
	trimmed := make([]Span, 0, len(v.spans))
	for _, span := range v.spans {
		if span.Top >= number {
			if number <= span.Tail {
				continue
			}
			span.Top = number - 1
		}
		trimmed = append(trimmed, span)
	}
	v.spans = trimmed
}

// settleSpans drops spans that have nothing to give any more, and those beyond the bound. A
// change goes into the update.
func (v *view) settleSpans(old *view, update *Update) {
	spans := make([]Span, 0, len(v.spans))
	for _, span := range v.spans {
		headers := span.Tail < v.Tail && span.Tail <= span.Top
		blocks := span.Oldest < v.Oldest && span.Oldest <= span.Top
		if headers || blocks {
			spans = append(spans, span)
		}
	}
	slices.SortFunc(spans, func(a, b Span) int {
		if a.Top > b.Top {
			return -1
		}
		return 1
	})
	v.spans = spans[:min(len(spans), maxSpans)]
	if !slices.Equal(v.spans, old.spans) {
		update.Spans = &v.spans
	}
}
