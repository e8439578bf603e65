// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	headBuffer = 16 // events between the chain or the pool and a feed

	// A reader of head events may be this far behind. The number of events covers filterExpiry with a block every second.
	maxFeedEvents = 512
	maxFeedBytes  = 64 << 20

	// A reader of pending transactions may be this far behind. On mainnet some twenty come each second, so that a
	// filter may be polled every five minutes.
	maxPendingEvents = 1 << 15
	maxPendingBytes  = 16 << 20

	// A reader of states of the sync, or of events of peers, may be this far behind.
	maxValueEvents = 1 << 12
	maxValueBytes  = 4 << 20

	// Estimates of what an event holds, in bytes, without the data of its logs and transactions.
	headerBytes = 1024
	logBytes    = 256
	txBytes     = 512
	valueBytes  = 256
)

var (
	errReaderBehind = errors.New("the reader is too far behind")
	errFeedClosed   = errors.New("the feed of events is closed")
)

// feedEvent is a change of the canonical head, or transactions that became pending, as subscribers see it.
type feedEvent struct {
	headers []*types.Header // of blocks that became canonical, at most maxHeads
	logs    []*types.Log    // of blocks that left, with removed set, then of blocks that became canonical
	txs     []*types.Transaction
	value   any // announced as it is: a state of the sync, or an event of a peer
}

// newHeadEvent leaves out the blocks that were not executed here: after a pivot, blocks of which only
// headers are known become canonical with the head.
func newHeadEvent(ev chain.HeadEvent, status func(common.Hash) chain.Status) feedEvent {
	return feedEvent{headers: newHeaders(ev, status), logs: slices.Concat(ev.Removed, ev.Logs)}
}

// bytes estimates the memory that the event keeps from being freed.
func (ev feedEvent) bytes() int {
	size := len(ev.headers) * headerBytes
	for _, log := range ev.logs {
		size += logBytes + len(log.Data)
	}
	for _, tx := range ev.txs {
		size += txBytes + int(tx.Size())
	}
	if ev.value != nil {
		size += valueBytes
	}
	return size
}

// eventFeed is one queue of events for all readers. The chain and the pool wait for their feed, and a reader may be a
// slow connection, so the feed waits for no reader: an event is freed once all have read it, or once it is older
// than the limits allow. A reader that has not read it by then gets errReaderBehind.
type eventFeed struct {
	maxEvents, maxBytes int

	mu struct {
		sync.Mutex
		events  []queuedEvent
		first   uint64        // number of events[0]
		bytes   int           // of all events
		readers int           // open readers
		changed chan struct{} // closed by the next event, and by close
		closed  bool          // run has returned
	}
}

type queuedEvent struct {
	feedEvent
	size   int
	unread int // readers that have not read it; an event has no more of them than the next one
}

func newEventFeed(maxEvents, maxBytes int) *eventFeed {
	f := &eventFeed{maxEvents: maxEvents, maxBytes: maxBytes}
	f.mu.changed = make(chan struct{})
	return f
}

// runHeads queues head events until ctx ends, then closes the feed.
func (f *eventFeed) runHeads(ctx context.Context, heads Heads, status func(common.Hash) chain.Status) error {
	return runFeed(ctx, f, heads.SubscribeHead, func(ev chain.HeadEvent) feedEvent { return newHeadEvent(ev, status) })
}

// runPending queues the transactions that become pending until ctx ends, then closes the feed.
func (f *eventFeed) runPending(ctx context.Context, pool Pool) error {
	return runFeed(ctx, f, pool.SubscribePending, func(txs []*types.Transaction) feedEvent { return feedEvent{txs: txs} })
}

func runFeed[E any](ctx context.Context, f *eventFeed, subscribe func(chan<- E) event.Subscription, convert func(E) feedEvent) error {
	defer f.close()
	events := make(chan E, headBuffer)
	sub := subscribe(events)
	defer sub.Unsubscribe()
	for {
		select {
		case ev := <-events:
			f.add(convert(ev))
		case err := <-sub.Err():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// add queues an event and wakes the readers.
func (f *eventFeed) add(ev feedEvent) {
	size := ev.bytes()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.events = append(f.mu.events, queuedEvent{ev, size, f.mu.readers})
	f.mu.bytes += size
	for len(f.mu.events) > f.maxEvents || f.mu.bytes > f.maxBytes && len(f.mu.events) > 1 {
		f.dropFirstLocked()
	}
	f.freeLocked()
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
}

// freeLocked drops the events that all readers have read.
func (f *eventFeed) freeLocked() {
	for len(f.mu.events) > 0 && f.mu.events[0].unread == 0 {
		f.dropFirstLocked()
	}
}

func (f *eventFeed) dropFirstLocked() {
	f.mu.bytes -= f.mu.events[0].size
	f.mu.events[0] = queuedEvent{} // the array stays
	f.mu.events = f.mu.events[1:]
	f.mu.first++
}

func (f *eventFeed) endLocked() uint64 { return f.mu.first + uint64(len(f.mu.events)) }

func (f *eventFeed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.closed {
		f.mu.closed = true
		close(f.mu.changed)
	}
}

// end is the number of the next event.
func (f *eventFeed) end() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.endLocked()
}

// eventReader reads the events since it was opened. One goroutine at a time may use it.
type eventReader struct {
	feed *eventFeed
	next uint64 // number of the next event
}

// open returns a reader of all later events. The caller must close it.
func (f *eventFeed) open() *eventReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.readers++
	return &eventReader{f, f.endLocked()}
}

// read returns the next event and its number. If there is none yet, ev is nil and changed is closed once there
// is one. The errors are errReaderBehind and errFeedClosed.
func (r *eventReader) read() (ev *feedEvent, number uint64, changed <-chan struct{}, err error) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.next < f.mu.first:
		return nil, 0, nil, errReaderBehind
	case r.next < f.endLocked():
		queued := &f.mu.events[r.next-f.mu.first]
		event := queued.feedEvent
		queued.unread--
		r.next++
		f.freeLocked()
		return &event, r.next - 1, nil, nil
	case f.mu.closed:
		return nil, 0, nil, errFeedClosed
	}
	return nil, 0, f.mu.changed, nil
}

// close gives up the events that the reader has not read.
func (r *eventReader) close() {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for number := max(r.next, f.mu.first); number < f.endLocked(); number++ {
		f.mu.events[number-f.mu.first].unread--
	}
	f.mu.readers--
	f.freeLocked()
}

// newHeaders are the headers of the executed blocks that became canonical, of the newest maxHeads.
func newHeaders(ev chain.HeadEvent, status func(common.Hash) chain.Status) []*types.Header {
	headers := ev.Reorg.New
	if len(headers) == 0 { // the head moved back to an ancestor
		headers = []*types.Header{ev.Block.Header()}
	}
	headers = slices.Clone(headers[max(0, len(headers)-maxHeads):])
	return slices.DeleteFunc(headers, func(header *types.Header) bool { return status(header.Hash()) != chain.Executed })
}
