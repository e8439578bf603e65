// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/semaphore"
)

const (
	// queryGrace is how long a state query or a search for logs may compute without a turn: most are done by then.
	queryGrace = 10 * time.Millisecond
	// maxPause is how long a call pauses for imports, at most: a node that catches up imports all the time.
	maxPause = 2 * time.Second
	// busyPoll is how often a paused call looks whether the import has ended.
	busyPoll = 2 * time.Millisecond
	// arrivalTime is from the arrival of an Engine API request to the import of its block, at most.
	arrivalTime = 50 * time.Millisecond
)

// processors gives turns to calls that compute for long. Fewer calls have one at once than there are processors: if all
// were in use, Go would notice a request of the consensus client some 10 ms late. While a block is imported nobody has one.
type processors struct {
	slots    *semaphore.Weighted
	busy     func() bool  // a block is being imported; nil: never
	arrivals atomic.Int32 // Engine API requests of the last arrivalTime
}

func newProcessors(busy func() bool) *processors {
	return &processors{slots: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)-1))), busy: busy}
}

// announce passes requests on, and pauses calls from their arrival on: they will have a block.
func (p *processors) announce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.arrivals.Add(1)
		time.AfterFunc(arrivalTime, func() { p.arrivals.Add(-1) })
		next.ServeHTTP(w, r)
	})
}

func (p *processors) isBusy() bool {
	return p.arrivals.Load() > 0 || p.busy != nil && p.busy()
}

// pause waits until no block is imported, ctx ends or the patience is used up. It returns what is left of it.
func (p *processors) pause(ctx context.Context, patience time.Duration) time.Duration {
	for began, full := time.Now(), patience; p.isBusy() && patience > 0; patience = full - time.Since(began) {
		select {
		case <-time.After(busyPoll):
		case <-ctx.Done():
			return patience
		}
	}
	return max(patience, 0)
}

// whenIdle runs work that speculates, not while a block is imported: then it ends the work, and runs it again after that. Once
// its patience is used up it does not care.
func (p *processors) whenIdle(ctx context.Context, work func(context.Context)) {
	for patience := maxPause; ; {
		patience = p.pause(ctx, patience)
		attempt, cancel := context.WithCancel(ctx)
		var watch sync.WaitGroup
		if patience > 0 {
			watch.Go(func() { p.awaitBusy(attempt); cancel() })
		}
		work(attempt)
		interrupted := attempt.Err() != nil
		cancel()
		watch.Wait()
		if !interrupted || ctx.Err() != nil {
			return
		}
	}
}

// awaitBusy returns when a block is imported, or ctx ends.
func (p *processors) awaitBusy(ctx context.Context) {
	ticker := time.NewTicker(10 * busyPoll)
	defer ticker.Stop()
	for !p.isBusy() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// turn is the right of one call to compute. The call asks for it again and again by yield; nil yields nothing.
type turn struct {
	of       *processors
	ctx      context.Context //nolint:containedctx // of one call; reads of state.Reader take none
	running  atomic.Bool     // it has a slot
	patience atomic.Int64    // nanoseconds that it may still pause

	mu       sync.Mutex // held across no wait
	grace    time.Duration
	since    time.Time // of the computing that grace is compared with; what it fetched is not part of it
	fetching int       // fetches that go on
}

// begin returns the turn of a call that ends with ctx. The call has no slot before it has computed for the grace. A timeout
// (zero: none) bounds its pauses too.
func (p *processors) begin(ctx context.Context, grace, timeout time.Duration) *turn {
	t := &turn{of: p, ctx: ctx, grace: grace, since: time.Now()}
	patience := maxPause
	if timeout > 0 {
		patience = min(patience, timeout/2)
	}
	t.patience.Store(int64(patience))
	return t
}

// yield returns when the call may compute on, or its context has ended.
func (t *turn) yield() {
	if t == nil || !t.due() {
		return
	}
	t.release()
	if patience := t.patience.Load(); patience > 0 {
		t.patience.Store(int64(t.of.pause(t.ctx, time.Duration(patience))))
	}
	if t.of.slots.Acquire(t.ctx, 1) == nil && !t.running.CompareAndSwap(false, true) {
		t.of.slots.Release(1) // another goroutine of the call has it
	}
}

// due says whether the call has to pause or to wait for a slot.
func (t *turn) due() bool {
	if t.running.Load() {
		return t.of.isBusy() && t.patience.Load() > 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fetching == 0 && time.Since(t.since) >= t.grace {
		t.grace = 0
		return true
	}
	return false
}

// suspend gives up the slot while the call waits for peers.
func (t *turn) suspend() {
	if t == nil {
		return
	}
	t.mu.Lock()
	if t.fetching++; t.fetching == 1 {
		t.grace -= time.Since(t.since)
	}
	t.mu.Unlock()
	t.release()
}

// resume ends suspend. The next yield waits for a slot again.
func (t *turn) resume() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fetching--; t.fetching == 0 {
		t.since = time.Now()
	}
}

func (t *turn) release() {
	if t.running.CompareAndSwap(true, false) {
		t.of.slots.Release(1)
	}
}

// sharedState is a state whose reads yield.
type sharedState struct {
	StateDatabase
	turn *turn
}

// Reader implements state.Database.
func (s sharedState) Reader(root common.Hash) (state.Reader, error) {
	reader, err := s.StateDatabase.Reader(root)
	return sharedReader{reader, s.turn}, err
}

type sharedReader struct {
	state.Reader
	turn *turn
}

// Account implements state.Reader.
func (s sharedReader) Account(addr common.Address) (*types.StateAccount, error) {
	s.turn.yield()
	return s.Reader.Account(addr)
}

// Storage implements state.Reader.
func (s sharedReader) Storage(addr common.Address, slot common.Hash) (common.Hash, error) {
	s.turn.yield()
	return s.Reader.Storage(addr, slot)
}

// Code implements state.Reader.
func (s sharedReader) Code(addr common.Address, hash common.Hash) []byte {
	s.turn.yield()
	return s.Reader.Code(addr, hash)
}
