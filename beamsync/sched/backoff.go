// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 8 * time.Second
	maxBackoffs  = 64 // remembered for each peer; peers serve the roots of 128 blocks
)

// backoff keeps a peer from being sent requests under one root until a time.
type backoff struct {
	root  common.Hash
	since time.Time
	until time.Time // after since
	count int       // failures in a row, at least 1
}

// avoidance keeps a want from a peer until a time. It names the peer by id, so that it
// outlasts a reconnect.
type avoidance struct {
	peer  string
	until time.Time
}

// backoffFor is the length of the n-th back-off in a row, n from 1. It doubles each time.
func backoffFor(n int) time.Duration {
	return min(firstBackoff<<min(n-1, 10), maxBackoff)
}

// backedOffUntil is when the peer may be sent requests under the root again; zero or past:
// now.
func (p *peer) backedOffUntil(root common.Hash) time.Time {
	for i := range p.backoffs {
		if p.backoffs[i].root == root {
			return p.backoffs[i].until
		}
	}
	return time.Time{}
}

// backOff starts or lengthens the back-off under a root, once for all requests that were in
// flight together: those sent before the back-off do not count. It says whether this one
// counts.
func (p *peer) backOff(now time.Time, root common.Hash, sent time.Time) bool {
	for i := range p.backoffs {
		b := &p.backoffs[i]
		if b.root != root {
			continue
		}
		if sent.Before(b.since) {
			return false
		}
		b.count++
		b.since, b.until = now, now.Add(backoffFor(b.count))
		return true
	}
	if len(p.backoffs) == maxBackoffs {
		p.backoffs = slices.Delete(p.backoffs, 0, 1)
	}
	p.backoffs = append(p.backoffs, backoff{root: root, since: now, until: now.Add(backoffFor(1)), count: 1})
	return true
}

func (p *peer) endBackoff(root common.Hash) {
	p.backoffs = slices.DeleteFunc(p.backoffs, func(b backoff) bool { return b.root == root })
}

// avoidedUntil is when the want may be sent to the peer again; zero or past: now.
func (w *want) avoidedUntil(peer string) time.Time {
	for i := range w.avoid {
		if w.avoid[i].peer == peer {
			return w.avoid[i].until
		}
	}
	return time.Time{}
}

// avoidPeer keeps the want from a peer that did not satisfy it, the longer the more requests
// did not.
func (w *want) avoidPeer(now time.Time, peer string) {
	until := now.Add(backoffFor(w.unanswered))
	w.avoid = slices.DeleteFunc(w.avoid, func(a avoidance) bool { return a.peer == peer || !a.until.After(now) })
	w.avoid = append(w.avoid, avoidance{peer: peer, until: until})
}
