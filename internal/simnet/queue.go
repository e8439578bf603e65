// SPDX-License-Identifier: LGPL-3.0-or-later

package simnet

import (
	"sync"
	"time"
)

// Link describes a path, the same for both directions.
type Link struct {
	Delay     time.Duration // one way; a round trip is twice as long
	Bandwidth int64         // bytes per second each way; 0 means unlimited
	Upload    *Upload       // what limits the bytes from a proxy's target; nil: nothing
}

// Upload is a bandwidth that several connections share, of several proxies perhaps: what one of them
// sends, the others wait for.
type Upload struct {
	bandwidth int64 // bytes per second

	mu   sync.Mutex
	free time.Time // when all that was sent so far is on the wire
}

// NewUpload returns a bandwidth in bytes per second.
func NewUpload(bandwidth int64) *Upload { return &Upload{bandwidth: bandwidth} }

// take returns when n bytes are on the wire that are sent now.
func (u *Upload) take(now time.Time, n int) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.free.Before(now) {
		u.free = now
	}
	u.free = u.free.Add(time.Duration(float64(n) / float64(u.bandwidth) * float64(time.Second)))
	return u.free
}

// pacer stamps what goes into one direction of a link.
type pacer struct {
	link Link
	free time.Time // when the sending side has put everything so far on the wire
	last time.Time // the newest stamp; stamps never go back
}

// due returns when n bytes that are sent now, held up by extra on the way, arrive.
func (p *pacer) due(now time.Time, n int, extra time.Duration) time.Time {
	if p.free.Before(now) {
		p.free = now
	}
	if p.link.Bandwidth > 0 {
		p.free = p.free.Add(time.Duration(float64(n) / float64(p.link.Bandwidth) * float64(time.Second)))
	}
	if u := p.link.Upload; u != nil {
		if free := u.take(now, n); free.After(p.free) {
			p.free = free
		}
	}
	if due := p.free.Add(p.link.Delay + extra); due.After(p.last) {
		p.last = due
	}
	return p.last
}

// queue delays items: they come out in order, none before its due time.
type queue[T any] struct {
	mu      sync.Mutex
	items   []timed[T]
	stalled bool          // nothing comes out
	ended   bool          // nothing more goes in; what is under way still arrives
	closed  bool          // nothing goes in or comes out any more
	changed chan struct{} // closed, and forgotten, when any of the above changes; nil if nobody waits
}

type timed[T any] struct {
	item T
	due  time.Time
}

// push puts an item under way. It reports false when the queue takes nothing any more.
func (l *queue[T]) push(item T, due time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.closed {
		return false
	}
	l.items = append(l.items, timed[T]{item, due})
	l.wakeLocked()
	return true
}

// pop waits for the next item to be due and takes it. It reports false when the queue is
// closed, or ended and empty.
func (l *queue[T]) pop() (T, bool) {
	for {
		item, wait, changed, state := l.tryPop()
		switch state {
		case popReady:
			return item, true
		case popOver:
			return item, false
		case popIdle:
			<-changed
		case popEarly:
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-changed:
				timer.Stop()
			}
		}
	}
}

type popState int

const (
	popReady popState = iota // here it is
	popEarly                 // the next item is due after a wait
	popIdle                  // nothing is under way, or the queue is stalled
	popOver                  // nothing will ever come
)

func (l *queue[T]) tryPop() (item T, wait time.Duration, changed <-chan struct{}, state popState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.ended && len(l.items) == 0 {
		return item, 0, nil, popOver
	}
	state = popIdle
	if !l.stalled && len(l.items) > 0 {
		next := l.items[0]
		if wait = time.Until(next.due); wait <= 0 {
			l.items[0] = timed[T]{} // release what it holds
			l.items = l.items[1:]
			return next.item, 0, nil, popReady
		}
		state = popEarly
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return item, wait, l.changed, state
}

// stall holds back everything, on and off again. Stamps stay as they are: what became
// due meanwhile comes out at once.
func (l *queue[T]) stall(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = on
	l.wakeLocked()
}

func (l *queue[T]) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wakeLocked()
}

func (l *queue[T]) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.items = nil
	l.wakeLocked()
}

func (l *queue[T]) wakeLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}
