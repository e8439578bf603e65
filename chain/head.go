package chain

import (
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
)

const (
	// maxEventBlocks bounds for how many blocks of each branch an event carries logs.
	maxEventBlocks = 128
	// maxExtension bounds over how many held headers the tail moves down in one update.
	maxExtension = 1024
)

// Reorg is one change of the canonical chain.
type Reorg struct {
	Ancestor *types.Header   // newest block common to both; nil if a gap hides it
	Old      []*types.Header // canonical no more, oldest first
	New      []*types.Header // newly canonical, oldest first; the last is the head, if any
}

// Depth is the number of blocks that left the canonical chain.
func (r Reorg) Depth() int { return len(r.Old) }

// HeadEvent says that the canonical head changed.
type HeadEvent struct {
	Block   *types.Block
	Reorg   Reorg
	Logs    []*types.Log // of the newly canonical blocks (the newest 128), oldest first
	Removed []*types.Log // of the blocks that left (the newest 128), oldest first, Removed set
}

// SubscribeHead sends every change of head, in order. SetHead waits for each subscriber
// to take the event, so ch needs a buffer and a reader that does not dawdle; a subscriber
// may read the chain, but must not call SetHead before it has taken the event.
func (c *Chain) SubscribeHead(ch chan<- HeadEvent) event.Subscription {
	return c.feed.Subscribe(ch)
}

// SetHead makes an executed block the canonical head, durably: the index is rewritten from
// there down to the fork point, or to where the held headers end (then the chain has a new
// tail), and what stood above is removed. Whether a move back to an ancestor is wanted is
// the caller's decision. The errors are [ErrUnknownBlock] and [ErrNotExecuted], wrapped,
// and those of the store.
func (c *Chain) SetHead(head common.Hash) (Reorg, error) {
	c.heads.Lock()
	defer c.heads.Unlock()

	reorg, err := c.setHead(head)
	if err != nil {
		return Reorg{}, err
	}
	if len(reorg.Old)+len(reorg.New) > 0 {
		c.feed.Send(HeadEvent{
			Block:   c.Block(head),
			Reorg:   reorg,
			Logs:    c.logs(reorg.New, false),
			Removed: c.logs(reorg.Old, true),
		})
	}
	return reorg, nil
}

func (c *Chain) setHead(hash common.Hash) (Reorg, error) {
	c.writing.Lock()
	defer c.writing.Unlock()

	head := c.Header(hash)
	if head == nil {
		return Reorg{}, fmt.Errorf("set head %s: %w", hash.Hex(), ErrUnknownBlock)
	}
	if status := c.Status(hash); status != Executed {
		return Reorg{}, fmt.Errorf("set head %d %s (%s): %w", head.Number, hash.Hex(), status, ErrNotExecuted)
	}
	old := c.view.Load()
	if old.Head == hash {
		return Reorg{Ancestor: head}, nil
	}
	reorg := c.fork(old, head)
	next := &view{Markers: old.Markers, head: head, spans: old.spans}
	next.Head = hash
	c.lowerBounds(next, reorg)

	update := &Update{Canonical: make(map[uint64]common.Hash), Markers: &next.Markers}
	if next.Tail > old.Tail || next.Oldest > old.Oldest {
		next.leave(old, reorg.lowest())
	}
	for _, span := range old.spans { // of which the new head may be in the middle, or below
		for number := max(span.Tail, head.Number.Uint64()+1); number <= span.Top; number++ {
			update.Canonical[number] = common.Hash{}
		}
	}
	next.trimSpans(reorg.lowest())
	next.settleSpans(old, update)
	for _, header := range reorg.Old {
		update.Canonical[header.Number.Uint64()] = common.Hash{}
		update.Unindex = append(update.Unindex, c.transactions(header)...)
	}
	for _, header := range reorg.New {
		update.Canonical[header.Number.Uint64()] = header.Hash()
		if hashes := c.transactions(header); len(hashes) > 0 {
			update.Index = append(update.Index, Transactions{Number: header.Number.Uint64(), Hashes: hashes})
		}
	}
	if err := c.store.Apply(update); err != nil {
		return Reorg{}, fmt.Errorf("set head %d %s: %w", head.Number, hash.Hex(), err)
	}
	c.view.Store(next)
	return reorg, nil
}

// transactions lists what a block holds, nothing if only its header is known.
func (c *Chain) transactions(header *types.Header) (hashes []common.Hash) {
	if header.TxHash == types.EmptyTxsHash {
		return nil
	}
	block := c.Block(header.Hash())
	if block == nil {
		return nil
	}
	return hashesOf(block.Transactions())
}

// fork finds the way from the canonical chain to a new head.
func (c *Chain) fork(old *view, head *types.Header) (reorg Reorg) {
	for at := head; ; {
		if c.canonical(old, at.Number.Uint64()) == at.Hash() {
			reorg.Ancestor = at
			break
		}
		reorg.New = append(reorg.New, at)
		if at = c.Header(at.ParentHash); at == nil {
			break
		}
	}
	slices.Reverse(reorg.New)

	for number := max(reorg.lowest(), old.Tail, 1); number <= old.head.Number.Uint64(); number++ {
		if header := c.Header(c.canonical(old, number)); header != nil {
			reorg.Old = append(reorg.Old, header)
		}
	}
	return reorg
}

// lowest is the number from which on the canonical chain is another one.
func (r Reorg) lowest() uint64 {
	if r.Ancestor != nil {
		return r.Ancestor.Number.Uint64() + 1
	}
	return r.New[0].Number.Uint64()
}

// lowerBounds sets tail and oldest of a new view, which still has the old view's.
func (c *Chain) lowerBounds(next *view, reorg Reorg) {
	ancestor := reorg.Ancestor
	if ancestor == nil {
		next.Tail = reorg.New[0].Number.Uint64()
	} else {
		next.Tail = min(next.Tail, ancestor.Number.Uint64()) // genesis is canonical beyond any gap
	}
	oldest := next.Oldest
	next.Oldest = next.head.Number.Uint64() // executed, so held
	for i := len(reorg.New) - 1; i >= 0; i-- {
		if !c.held(reorg.New[i]) {
			return // skipped by a pivot
		}
		next.Oldest = reorg.New[i].Number.Uint64()
	}
	switch {
	case ancestor == nil:
	case ancestor.Number.Uint64() >= oldest:
		next.Oldest = oldest
	case c.held(ancestor):
		next.Oldest = ancestor.Number.Uint64()
	}
}

func (c *Chain) held(header *types.Header) bool {
	return c.store.Holds(header.Hash(), header.Number.Uint64()).Has(HasBody | HasReceipts)
}

// extendTail moves the canonical tail down over the headers that are held or come with
// the update, and adds what that needs to the update; where it arrives at a span, over all
// of that. Oldest follows over complete blocks. It returns the view afterwards.
func (c *Chain) extendTail(update *Update) *view {
	old := c.view.Load()
	if old.Tail == 0 {
		return old
	}
	fresh := make(map[common.Hash]*types.Header, len(update.Headers))
	for _, header := range update.Headers {
		fresh[header.Hash()] = header
	}
	next := &view{Markers: old.Markers, head: old.head, spans: old.spans}
	update.Canonical = make(map[uint64]common.Hash)
	at := c.Header(c.canonical(old, old.Tail))
	for range maxExtension {
		if at == nil || next.Tail == 0 {
			break
		}
		parent := fresh[at.ParentHash]
		if parent == nil {
			parent = c.Header(at.ParentHash)
		}
		if parent == nil {
			break
		}
		number := parent.Number.Uint64()
		if tail, ok := next.spanHeaders(number); ok && c.store.CanonicalHash(number) == parent.Hash() {
			next.Tail = tail
			at = c.Header(c.canonical(next, tail))
			continue
		}
		update.Canonical[number] = parent.Hash()
		next.trimSpans(number)
		next.Tail = number
		at = parent
	}
	if next.Tail == old.Tail {
		return old
	}
	c.lowerOldest(next, update)
	next.settleSpans(old, update)
	update.Markers = &next.Markers
	return next
}

// SetMarkers moves the safe and finalized markers, durably. A zero hash leaves a marker as
// it is. A block whose header is not held is taken at the consensus client's word while headers
// below the tail are missing (a node that beamed in does not have them yet); one that is not canonical is refused with
// [ErrNotCanonical].
func (c *Chain) SetMarkers(safe, finalized common.Hash) error {
	c.writing.Lock()
	defer c.writing.Unlock()

	old := c.view.Load()
	next := &view{Markers: old.Markers, head: old.head, spans: old.spans}
	for _, marker := range []struct {
		name string
		hash common.Hash
		set  *common.Hash
	}{{"safe", safe, &next.Safe}, {"finalized", finalized, &next.Finalized}} {
		if marker.hash == (common.Hash{}) {
			continue
		}
		header := c.Header(marker.hash)
		switch {
		case header == nil && old.Tail == 0: // all of the canonical chain is held
			return fmt.Errorf("%s block %s: %w", marker.name, marker.hash.Hex(), ErrNotCanonical)
		case header != nil && c.conflicts(old, header):
			return fmt.Errorf("%s block %d %s: %w", marker.name, header.Number, marker.hash.Hex(), ErrNotCanonical)
		}
		*marker.set = marker.hash
	}
	if next.Markers == old.Markers {
		return nil
	}
	if err := c.store.Apply(&Update{Markers: &next.Markers}); err != nil {
		return fmt.Errorf("set safe and finalized: %w", err)
	}
	c.view.Store(next)
	return nil
}

// conflicts says whether a header is certainly not canonical: below the tail, nothing is.
func (c *Chain) conflicts(v *view, header *types.Header) bool {
	number := header.Number.Uint64()
	if number != 0 && number < v.Tail {
		return false
	}
	return c.canonical(v, number) != header.Hash()
}

// logs collects the logs of blocks, of the newest if there are many.
func (c *Chain) logs(headers []*types.Header, removed bool) (logs []*types.Log) {
	headers = headers[max(0, len(headers)-maxEventBlocks):]
	for _, header := range headers {
		for _, receipt := range c.Receipts(header.Hash()) {
			for _, log := range receipt.Logs {
				if removed {
					gone := *log
					gone.Removed = true
					log = &gone
				}
				logs = append(logs, log)
			}
		}
	}
	return logs
}
