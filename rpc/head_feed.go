package rpc

import (
	"context"
	"sync"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	headBuffer       = 16  // events between the chain and the feed
	subscriberBuffer = 128 // events that a subscriber may be behind
)

// headFeed distributes the chain's head events to subscribers. The chain waits for its reader, and a
// subscriber may be a slow connection. So the feed never waits: it drops a subscriber that is more than
// subscriberBuffer events behind.
type headFeed struct {
	mu struct {
		sync.Mutex
		subscribers map[chan chain.HeadEvent]struct{} // nil once run has returned
	}
}

func newHeadFeed() *headFeed {
	f := new(headFeed)
	f.mu.subscribers = make(map[chan chain.HeadEvent]struct{})
	return f
}

// run distributes events until ctx ends, then drops all subscribers.
func (f *headFeed) run(ctx context.Context, heads Heads) error {
	defer f.close()
	events := make(chan chain.HeadEvent, headBuffer)
	sub := heads.SubscribeHead(events)
	defer sub.Unsubscribe()
	for {
		select {
		case ev := <-events:
			f.broadcast(ev)
		case err := <-sub.Err():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *headFeed) broadcast(ev chain.HeadEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for events := range f.mu.subscribers {
		select {
		case events <- ev:
		default:
			delete(f.mu.subscribers, events)
			close(events)
		}
	}
}

func (f *headFeed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for events := range f.mu.subscribers {
		close(events)
	}
	f.mu.subscribers = nil
}

// subscribe returns a channel of events. It is closed when the subscriber is dropped. The caller must
// call unsubscribe.
func (f *headFeed) subscribe() (_ <-chan chain.HeadEvent, unsubscribe func()) {
	events := make(chan chain.HeadEvent, subscriberBuffer)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.subscribers == nil {
		close(events)
		return events, func() {}
	}
	f.mu.subscribers[events] = struct{}{}
	return events, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.mu.subscribers, events)
	}
}
