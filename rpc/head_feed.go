package rpc

import (
	"context"
	"sync"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	headBuffer = 16  // events between the chain and the fan-out
	feedBuffer = 128 // events that a slow subscriber may be behind
)

// headFan passes head events on to subscribers. The chain waits for its readers, and a
// subscriber may be a slow connection: so this reader never waits, and a subscriber that
// falls feedBuffer events behind is dropped.
type headFan struct {
	mu struct {
		sync.Mutex
		feeds map[chan chain.HeadEvent]struct{} // nil once run has returned
	}
}

func newHeadFan() *headFan {
	f := new(headFan)
	f.mu.feeds = make(map[chan chain.HeadEvent]struct{})
	return f
}

// run reads events until ctx ends, then ends all feeds.
func (f *headFan) run(ctx context.Context, heads Heads) error {
	defer f.close()
	events := make(chan chain.HeadEvent, headBuffer)
	sub := heads.SubscribeHead(events)
	defer sub.Unsubscribe()
	for {
		select {
		case ev := <-events:
			f.send(ev)
		case err := <-sub.Err():
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *headFan) send(ev chain.HeadEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for feed := range f.mu.feeds {
		select {
		case feed <- ev:
		default:
			delete(f.mu.feeds, feed)
			close(feed)
		}
	}
}

func (f *headFan) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for feed := range f.mu.feeds {
		close(feed)
	}
	f.mu.feeds = nil
}

// subscribe returns a feed; it is closed when the subscriber is too slow or the server
// ends. stop must be called.
func (f *headFan) subscribe() (feed <-chan chain.HeadEvent, stop func()) {
	ch := make(chan chain.HeadEvent, feedBuffer)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.feeds == nil {
		close(ch)
		return ch, func() {}
	}
	f.mu.feeds[ch] = struct{}{}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.mu.feeds, ch)
	}
}
