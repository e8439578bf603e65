// SPDX-License-Identifier: LGPL-3.0-or-later

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
	// maxExtension bounds the stored headers over which the tail moves down in one update.
	maxExtension = 1024
)

// Reorg is one change of the canonical chain.
type Reorg struct {
	Ancestor *types.Header   // newest common block; nil if it is in a gap
	Old      []*types.Header // no longer canonical, oldest first
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

// SubscribeHead sends every change of head, in order. SetHead waits until each
// subscriber has received the event, so ch needs a buffer and a fast reader. A subscriber may read the
// chain, but must not call SetHead before it has received the event.
func (c *Chain) SubscribeHead(ch chan<- HeadEvent) event.Subscription {
	return c.feed.Subscribe(ch)
}

// SetHead makes an executed block the canonical head, durably: the index is rewritten from
// there down to the fork point, or to where the stored headers end (then the chain has a
// new tail), and entries above the head are removed. A move back to an ancestor is allowed; the caller
// decides. The errors are [ErrUnknownBlock] and [ErrNotExecuted], wrapped,
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
	if c.Block(hash) == nil { // it is found to be damaged just now
		return Reorg{}, fmt.Errorf("set head %d %s: %w", head.Number, hash.Hex(), ErrUnknownBlock)
	}
	old := c.snapshot.Load()
	if old.Head == hash {
		return Reorg{Ancestor: head}, nil
	}
	reorg := c.fork(old, head)
	next := &snapshot{Markers: old.Markers, head: head, segments: old.segments}
	next.Head = hash
	c.lowerBounds(next, reorg)

	update := &Update{Canonical: make(map[uint64]common.Hash), Markers: &next.Markers}
	if next.Tail > old.Tail || next.Oldest > old.Oldest {
		next.detach(old, reorg.lowest())
	}
	for _, segment := range old.segments { // the new head may be inside or below one
		for number := max(segment.Tail, head.Number.Uint64()+1); number <= segment.Top; number++ {
			update.Canonical[number] = common.Hash{}
		}
	}
	next.trimSegments(reorg.lowest())
	next.settleSegments(old, update)
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
	c.snapshot.Store(next)
	return reorg, nil
}

// transactions returns the transaction hashes of a block, none if its body is not stored.
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

// fork returns the reorg from the canonical chain to a new head.
func (c *Chain) fork(old *snapshot, head *types.Header) (reorg Reorg) {
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

// lowest returns the first number at which the canonical chain changes.
func (r Reorg) lowest() uint64 {
	if r.Ancestor != nil {
		return r.Ancestor.Number.Uint64() + 1
	}
	return r.New[0].Number.Uint64()
}

// lowerBounds sets tail and oldest of a new snapshot, which has those of the old one.
func (c *Chain) lowerBounds(next *snapshot, reorg Reorg) {
	ancestor := reorg.Ancestor
	if ancestor == nil {
		next.Tail = reorg.New[0].Number.Uint64()
	} else {
		next.Tail = min(next.Tail, ancestor.Number.Uint64()) // genesis is canonical beyond any gap
	}
	oldest := next.Oldest
	next.Oldest = next.head.Number.Uint64() // executed, so complete
	for i := len(reorg.New) - 1; i >= 0; i-- {
		if !c.complete(reorg.New[i]) {
			return // skipped by a pivot
		}
		next.Oldest = reorg.New[i].Number.Uint64()
	}
	switch {
	case ancestor == nil:
	case ancestor.Number.Uint64() >= oldest:
		next.Oldest = oldest
	case c.complete(ancestor):
		next.Oldest = ancestor.Number.Uint64()
	}
}

func (c *Chain) complete(header *types.Header) bool {
	return c.store.Parts(header.Hash(), header.Number.Uint64()).Has(HasBody | HasReceipts)
}

// extendTail moves the canonical tail down over headers that are stored or in the update, and adds the
// changes to the update. Where it reaches a segment, it moves over all of it. Oldest follows over
// complete blocks. It returns the new snapshot.
func (c *Chain) extendTail(update *Update) *snapshot {
	old := c.snapshot.Load()
	if old.Tail == 0 {
		return old
	}
	fresh := make(map[common.Hash]*types.Header, len(update.Headers))
	for _, header := range update.Headers {
		fresh[header.Hash()] = header
	}
	next := &snapshot{Markers: old.Markers, head: old.head, segments: old.segments}
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
		if tail, ok := next.segmentTail(number); ok && c.store.CanonicalHash(number) == parent.Hash() {
			next.Tail = tail
			at = c.Header(c.canonical(next, tail))
			continue
		}
		update.Canonical[number] = parent.Hash()
		next.trimSegments(number)
		next.Tail = number
		at = parent
	}
	if next.Tail == old.Tail {
		return old
	}
	c.lowerOldest(next, update)
	next.settleSegments(old, update)
	update.Markers = &next.Markers
	return next
}

// SetMarkers moves the safe and finalized markers, durably. A zero hash leaves a marker as
// it is. A block whose header is not stored is accepted while headers below the tail are missing,
// as in a node that started by beam sync; one that is not canonical is refused with [ErrNotCanonical].
func (c *Chain) SetMarkers(safe, finalized common.Hash) error {
	c.writing.Lock()
	defer c.writing.Unlock()

	old := c.snapshot.Load()
	next := &snapshot{Markers: old.Markers, head: old.head, segments: old.segments}
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
		case header == nil && old.Tail == 0: // the whole canonical chain is stored
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
	c.snapshot.Store(next)
	return nil
}

// IsBelowFinalized says whether a stored block is an ancestor of the finalized one, which may be on another branch: after a reorg below it.
func (c *Chain) IsBelowFinalized(header *types.Header) bool {
	final, number := c.Finalized(), header.Number.Uint64()
	if final == nil || number >= final.Number.Uint64() || c.CanonicalHash(number) != header.Hash() {
		return false
	}
	for at := final; at != nil && at.Number.Uint64() >= number; at = c.Header(at.ParentHash) {
		if c.CanonicalHash(at.Number.Uint64()) == at.Hash() {
			return true
		}
	}
	return false
}

// conflicts says whether a header is certainly not canonical. Below the tail nothing is certain.
func (c *Chain) conflicts(v *snapshot, header *types.Header) bool {
	number := header.Number.Uint64()
	if number != 0 && number < v.Tail {
		return false
	}
	return c.canonical(v, number) != header.Hash()
}

// logs returns the logs of blocks, of the newest maxEventBlocks only.
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
