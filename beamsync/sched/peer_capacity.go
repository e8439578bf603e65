// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"
)

const (
	// A geth peer serves one request after another, in 20-40 ms each; measured, 8-16 in
	// flight hide a round trip of 100 ms completely. More than that waits at the peer instead
	// of here: this saves a trip if the peer is faster than expected, and costs nothing if it
	// is not, as long as no want of a higher class arrives.
	minWindow   = 8
	startWindow = 16
	maxWindow   = 64
	maxQueueing = 500 * time.Millisecond // work that may wait at a peer, beyond what keeps it busy

	// Measured, the 1024 lookups of a geth server never cut about 430 deduplicated paths, and
	// requests of 1024 paths were slower and cut.
	startBudget = 430
	minBudget   = 32
	maxBudget   = 512

	// A server of GetNodeData returns at most 1024 blobs, with one lookup each.
	hashBudget = 1024
)

// capacity is how much a peer may be sent.
type capacity struct {
	windowLimit int        // requests in flight that it has shown to serve in time; minWindow..maxWindow
	budget      [kinds]int // cost of one request; minBudget..mostBudget()
}

func (p *peer) mostBudget() int {
	if p.byHash {
		return hashBudget
	}
	return maxBudget
}

// resizeBudget adapts the budget to a reply that was cut, or that answered all of a large
// request.
func (p *peer) resizeBudget(k Kind, cost int, cut bool) {
	switch b := &p.budget[k]; {
	case cut:
		*b = max(min(*b, cost)*3/4, minBudget)
	case cost > *b*3/4:
		*b = min(*b+16, p.mostBudget())
	}
}

// pipe is how many requests keep the peer busy during one round trip, within bounds.
func (p *peer) pipe() int {
	if p.service <= 0 {
		return minWindow
	}
	return min(max(int(p.minRTT/p.service)+2, minWindow), p.windowLimit)
}

// window is how many requests may be in flight: the pipe and what the peer serves within
// maxQueueing.
func (p *peer) window() int {
	if p.service <= 0 {
		return p.windowLimit
	}
	return min(p.pipe()+int(maxQueueing/p.service), p.windowLimit)
}

// hasCapacity says whether a request of that class may be added. Classes below urgent are
// limited to the pipe and leave slots of it free, so that the pipe is short when an urgent
// want arrives.
func (p *peer) hasCapacity(c Class) bool {
	limit := p.pipe()
	switch c {
	case Urgent:
		limit = p.window()
	case RPC:
		limit--
	case Predictive:
		limit -= 2
	case Background:
		if p.isBusyFor(RPC) {
			return false
		}
		limit /= 2
	}
	return len(p.inFlight) < limit
}

// isBusyFor says whether a request of that class or a higher one is in flight to the peer.
func (p *peer) isBusyFor(c Class) bool {
	return slices.ContainsFunc(p.inFlight, func(r *request) bool { return r.class() >= c })
}
