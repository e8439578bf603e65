// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	headBuffer = 16 // events between the chain and the feed

	// A reader may be this far behind. The number of events covers filterExpiry with a block every second.
	maxFeedEvents = 512
	maxFeedBytes  = 64 << 20

	// Estimates of what an event holds, in bytes, without the data of its logs.
	headerBytes = 1024
	logBytes    = 256
)

var (
	errReaderBehind = errors.New("the reader is too far behind the head")
	errFeedClosed   = errors.New("the feed of head events is closed")
)

// headEvent is a change of the canonical head, as subscribers see it.
type headEvent struct {
	headers []*types.Header // of blocks that became canonical, at most maxHeads
	logs    []*types.Log    // of blocks that left, with removed set, then of blocks that became canonical
}

func newHeadEvent(ev chain.HeadEvent) headEvent {
	return headEvent{headers: newHeaders(ev), logs: slices.Concat(ev.Removed, ev.Logs)}
}

// bytes estimates the memory that the event keeps from being freed.
func (ev headEvent) bytes() int {
	size := len(ev.headers) * headerBytes
	for _, log := range ev.logs {
		size += logBytes + len(log.Data)
	}
	return size
}

// headFeed is one queue of head events for all readers. The chain waits for the feed, and a reader may be a slow
// connection, so the feed waits for no reader: an event is freed once all have read it, or once it is older
// than maxFeedEvents or maxFeedBytes allow. A reader that has not read it by then gets errReaderBehind.
type headFeed struct {
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
	headEvent
	size   int
	unread int // readers that have not read it; an event has no more of them than the next one
}

func newHeadFeed() *headFeed {
	f := new(headFeed)
	f.mu.changed = make(chan struct{})
	return f
}

// run queues events until ctx ends, then closes the feed.
func (f *headFeed) run(ctx context.Context, heads Heads) error {
	defer f.close()
	events := make(chan chain.HeadEvent, headBuffer)
	sub := heads.SubscribeHead(events)
	defer sub.Unsubscribe()
	for {
		select {
		case ev := <-events:
			f.add(newHeadEvent(ev))
		case err := <-sub.Err():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// add queues an event and wakes the readers.
func (f *headFeed) add(ev headEvent) {
	size := ev.bytes()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.events = append(f.mu.events, queuedEvent{ev, size, f.mu.readers})
	f.mu.bytes += size
	for len(f.mu.events) > maxFeedEvents || f.mu.bytes > maxFeedBytes && len(f.mu.events) > 1 {
		f.dropFirstLocked()
	}
	f.freeLocked()
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
}

// freeLocked drops the events that all readers have read.
func (f *headFeed) freeLocked() {
	for len(f.mu.events) > 0 && f.mu.events[0].unread == 0 {
		f.dropFirstLocked()
	}
}

func (f *headFeed) dropFirstLocked() {
	f.mu.bytes -= f.mu.events[0].size
	f.mu.events[0] = queuedEvent{} // the array stays
	f.mu.events = f.mu.events[1:]
	f.mu.first++
}

func (f *headFeed) endLocked() uint64 { return f.mu.first + uint64(len(f.mu.events)) }

func (f *headFeed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.closed {
		f.mu.closed = true
		close(f.mu.changed)
	}
}

// end is the number of the next event.
func (f *headFeed) end() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.endLocked()
}

// headReader reads the events since it was opened. One goroutine at a time may use it.
type headReader struct {
	feed *headFeed
	next uint64 // number of the next event
}

// open returns a reader of all later events. The caller must close it.
func (f *headFeed) open() *headReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.readers++
	return &headReader{f, f.endLocked()}
}

// read returns the next event and its number. If there is none yet, ev is nil and changed is closed once there
// is one. The errors are errReaderBehind and errFeedClosed.
func (r *headReader) read() (ev *headEvent, number uint64, changed <-chan struct{}, err error) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.next < f.mu.first:
		return nil, 0, nil, errReaderBehind
	case r.next < f.endLocked():
		queued := &f.mu.events[r.next-f.mu.first]
		event := queued.headEvent
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
func (r *headReader) close() {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for number := max(r.next, f.mu.first); number < f.endLocked(); number++ {
		f.mu.events[number-f.mu.first].unread--
	}
	f.mu.readers--
	f.freeLocked()
}

// newHeaders are the headers of the blocks that became canonical, the newest maxHeads of them.
func newHeaders(ev chain.HeadEvent) []*types.Header {
	headers := ev.Reorg.New
	if len(headers) == 0 { // the head moved back to an ancestor
		headers = []*types.Header{ev.Block.Header()}
	}
	return slices.Clone(headers[max(0, len(headers)-maxHeads):])
}
