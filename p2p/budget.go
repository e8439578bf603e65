// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// maxReplyBytes is how many bytes the replies to all requests in flight may have, over all peers. Requests that can wait use
// at most half of it.
const maxReplyBytes = 256 << 20

// ErrBusy is the error of requests that found no room in the [Budget] in time. It says nothing about the peer.
var ErrBusy = errors.New("too many bytes requested from peers")

// Budget limits the memory of replies, over all peers: each request reserves the size of its largest reply until it has ended.
// A request holds one reservation and waits for no second one, so waiting ends. It is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	limit   int
	used    int
	waiting []*reservation // the first one is next, urgent ones before all others
}

// reservation is a request that waits for room.
type reservation struct {
	size   int
	urgent bool
	ready  chan struct{} // closed when it has its bytes
}

// NewBudget returns a budget of so many bytes.
func NewBudget(limit int) *Budget { return &Budget{limit: limit} }

// reserve waits for room until ctx ends (ErrBusy). Requests that are not urgent may use half of the budget.
func (b *Budget) reserve(ctx context.Context, size int, urgent bool) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	r := &reservation{size: size, urgent: urgent, ready: make(chan struct{})}
	at := len(b.waiting)
	if urgent {
		if first := slices.IndexFunc(b.waiting, func(o *reservation) bool { return !o.urgent }); first >= 0 {
			at = first
		}
	}
	b.waiting = slices.Insert(b.waiting, at, r)
	b.admitLocked()
	b.mu.Unlock()
	select {
	case <-r.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, r); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.admitLocked()
		return ErrBusy
	}
	return nil // it got its bytes meanwhile
}

// release gives the bytes of a request back.
func (b *Budget) release(size int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= size
	b.admitLocked()
}

// admitLocked lets requests go on in their order, as far as there is room. One request always fits.
func (b *Budget) admitLocked() {
	for len(b.waiting) > 0 {
		r, limit := b.waiting[0], b.limit
		if !r.urgent {
			limit /= 2
		}
		if b.used > 0 && b.used+r.size > limit {
			return
		}
		b.used += r.size
		b.waiting = b.waiting[1:]
		close(r.ready)
	}
}
