// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// A geth server gives up on a request after 5 s. A reply that has not arrived by then
	// and two round trips more will not arrive.
	baseDeadline = 5 * time.Second
	maxDeadline  = 10 * time.Second
)

// request is one exchange in flight.
type request struct {
	id       RequestID
	peer     *peer // has the request in its inFlight
	kind     Kind
	root     common.Hash
	wants    []*want // those that are still open; each has the request in its requests
	cost     int
	hedge    bool          // its wants were in flight to another peer when it was sent
	highest  Class         // at least the class of each of its wants, also of those that are no longer open
	sent     time.Time     // not after now
	queued   time.Duration // expected wait at the peer behind earlier requests
	deadline time.Time     // after now
}

// class is the class of its most important want, the lowest one if no want is open.
func (r *request) class() Class {
	if len(r.wants) == 0 {
		return Background
	}
	return r.highest
}

func (r *request) drop(w *want) {
	if i := slices.Index(r.wants, w); i >= 0 {
		r.wants = slices.Delete(r.wants, i, i+1)
	}
}

func (s *Scheduler) request(id RequestID) *request {
	i, ok := slices.BinarySearchFunc(s.inFlight, id, func(r *request, id RequestID) int {
		return int(int64(r.id) - int64(id))
	})
	if !ok {
		return nil
	}
	return s.inFlight[i]
}

// send puts wants, which are in no queue, in flight to a peer that has capacity.
func (s *Scheduler) send(p *peer, wants []*want, cost int, hedge bool) *request {
	s.lastID++
	r := &request{
		id:    s.lastID,
		peer:  p,
		kind:  wants[0].Kind,
		root:  wants[0].Root,
		wants: wants,
		cost:  cost,
		hedge: hedge,
		sent:  s.now,

		queued: p.serviceTime(len(p.inFlight)),
	}
	r.deadline = s.now.Add(min(baseDeadline+2*p.latency(s.bestRTT())+r.queued, maxDeadline))
	ids := make([]WantID, len(wants))
	for i, w := range wants {
		ids[i] = w.ID
		r.highest = max(r.highest, w.Class)
		w.requests = append(w.requests, r)
	}
	s.inFlight = append(s.inFlight, r)
	p.inFlight = append(p.inFlight, r)
	s.wakeBy(r.deadline)
	s.do(Send{Request: r.id, Peer: p.id, Kind: r.kind, Root: r.root, Wants: ids, Hedge: hedge})
	return r
}

// end takes a request out of flight and returns its open wants.
func (s *Scheduler) end(r *request) []*want {
	same := func(o *request) bool { return o == r }
	s.inFlight = slices.DeleteFunc(s.inFlight, same)
	r.peer.inFlight = slices.DeleteFunc(r.peer.inFlight, same)
	unmet := r.wants
	for _, w := range unmet {
		w.requests = slices.DeleteFunc(w.requests, same)
	}
	r.wants = nil
	return unmet
}

// requeue puts wants in front of their queues, except those that are in another request.
func (s *Scheduler) requeue(wants []*want) {
	s.enqueue(true, slices.DeleteFunc(wants, func(w *want) bool { return len(w.requests) > 0 })...)
}
