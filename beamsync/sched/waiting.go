// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"math"
	"slices"
	"time"
)

// Waiting says what the oldest want of a class or a higher one waits for.
type Waiting struct {
	ID        WantID
	Age       time.Duration
	Queued    int // wants of these classes that are in no request
	InFlight  int // wants of these classes that are in one
	Peers     int // connected peers that serve the kind of the want
	BackedOff int // those of them that back off under the root of the want
	TimingOut int // those of them that have not replied since a request timed out
}

// Reason describes it for a log.
func (w Waiting) Reason() string {
	switch {
	case w.Peers == 0:
		return "no peers that serve state"
	case w.BackedOff == w.Peers && w.TimingOut == w.Peers:
		return "all peers time out"
	case w.BackedOff == w.Peers:
		return "all peers answered empty under this state root"
	case w.TimingOut > 0:
		return "peers time out"
	case w.Queued > 0 && w.InFlight == 0:
		return "peers that were asked do not have it"
	}
	return "peers are slow"
}

// unservedAfter is how old a want is that counts as unserved after one empty answer of each peer: a peer may be a block
// behind, and has it a moment later.
const unservedAfter = 500 * time.Millisecond

// Unserved lists the queued wants of a class that no peer can serve now: no connected peer serves their kind, or each has
// answered empty, or failed, under their root since it served something there. For a new want that must be so twice.
func (s *Scheduler) Unserved(now time.Time, class Class) (ids []WantID) {
	for _, q := range s.queues[class] {
		times := s.refusals(q)
		for _, w := range q.wants {
			if times > 1 || times > 0 && now.Sub(w.added) >= unservedAfter {
				ids = append(ids, w.ID)
			}
		}
	}
	return ids
}

// refusals is how often in a row each peer, at least, failed to serve the root of a queue.
func (s *Scheduler) refusals(q *queue) int {
	least := math.MaxInt
	for _, p := range s.peers {
		if p.disconnected || p.unsupported[q.kind] {
			continue
		}
		at := slices.IndexFunc(p.backoffs, func(b backoff) bool { return b.root == q.root })
		if at < 0 {
			return 0
		}
		least = min(least, p.backoffs[at].count)
	}
	return least
}

// Waiting describes the oldest want of that class or a higher one; false if there is none.
func (s *Scheduler) Waiting(now time.Time, class Class) (Waiting, bool) {
	var (
		oldest *want
		v      Waiting
	)
	for _, w := range s.wants {
		if w.Class < class {
			continue
		}
		if w.queue != nil {
			v.Queued++
		} else {
			v.InFlight++
		}
		if oldest == nil || w.added.Before(oldest.added) || w.added.Equal(oldest.added) && w.ID < oldest.ID {
			oldest = w
		}
	}
	if oldest == nil {
		return v, false
	}
	v.ID, v.Age = oldest.ID, now.Sub(oldest.added)
	for _, p := range s.peers {
		if p.disconnected || p.unsupported[oldest.Kind] {
			continue
		}
		v.Peers++
		if p.backedOffUntil(oldest.Root).After(now) {
			v.BackedOff++
		}
		if p.state == stateTimingOut {
			v.TimingOut++
		}
	}
	return v, true
}
