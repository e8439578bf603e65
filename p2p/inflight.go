// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"math/rand/v2"
	"sync"
	"time"
)

// maxLate is how many cancelled requests of a peer are remembered, so that their late
// responses do not count as unrequested.
const maxLate = 4096

// pendingRequest is a request in flight.
type pendingRequest struct {
	expect message
	limit  int // bytes of the response
	sent   time.Time
	reply  chan []byte // capacity 1, written at most once: deliver never blocks
}

// pendingRequests are the requests in flight to one peer. An id is in open, in late or in
// neither, and gets at most one response.
type pendingRequests struct {
	mu      sync.Mutex
	open    map[uint64]*pendingRequest
	late    map[uint64]*pendingRequest // cancelled, their response may still come
	order   []uint64                   // ids in late, oldest first; at most maxLate
	latency time.Duration              // moving average over responses, zero before the first
}

// add registers a request under a random id, which the peer cannot guess.
func (f *pendingRequests) add(expect message, limit int) (uint64, *pendingRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open, f.late = make(map[uint64]*pendingRequest), make(map[uint64]*pendingRequest)
	}
	for {
		id := rand.Uint64()
		if f.open[id] == nil && f.late[id] == nil {
			fl := &pendingRequest{expect: expect, limit: limit, sent: time.Now(), reply: make(chan []byte, 1)}
			f.open[id] = fl
			return id, fl
		}
	}
}

// forget removes a request that could not be sent.
func (f *pendingRequests) forget(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, id)
}

// abandon marks a sent request whose caller no longer waits.
func (f *pendingRequests) abandon(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.open[id]
	if fl == nil {
		return // already answered
	}
	delete(f.open, id)
	f.late[id] = fl
	if f.order = append(f.order, id); len(f.order) > maxLate {
		delete(f.late, f.order[0])
		f.order = f.order[1:]
	}
}

// expected returns the limit of a response's size; ok is false if the response belongs to no request. late says that nobody
// waits for it.
func (f *pendingRequests) expected(id uint64, msg message) (limit int, late, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.open[id]
	if fl == nil {
		fl, late = f.late[id], true
	}
	if fl == nil || fl.expect != msg {
		return 0, false, false
	}
	return fl.limit, late, true
}

// deliver passes a response to the waiting caller, or drops it if the caller gave up. It
// returns false if the response belongs to no request.
func (f *pendingRequests) deliver(id uint64, msg message, payload []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.open[id]; fl != nil && fl.expect == msg {
		delete(f.open, id)
		f.measureLocked(time.Since(fl.sent))
		fl.reply <- payload
		return true
	}
	if fl := f.late[id]; fl != nil && fl.expect == msg {
		delete(f.late, id)
		f.measureLocked(time.Since(fl.sent))
		return true
	}
	return false
}

// measureLocked moves the average by an eighth towards the newest sample, as TCP does.
func (f *pendingRequests) measureLocked(took time.Duration) {
	if f.latency == 0 {
		f.latency = took
		return
	}
	f.latency += (took - f.latency) / 8
}

func (f *pendingRequests) measured() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latency
}
