// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// maxUnproved is how many replies in a row may be wrong without a proof of it. See [trie.UnprovedRangeError]: of an honest
// peer that takes a new block at the right moment each time.
const maxUnproved = 8

// queueShare is the part of the least time of a request for which one may queue: a quarter.
const queueShare = 4

// rangePeers are the connected peers that requests of one kind may go to. It is safe for concurrent use.
type rangePeers struct {
	mu       sync.Mutex
	byID     map[string]*rangePeer
	book     *peer.Book
	kind     string // of the requests, in the book
	inFlight int
	change   chan struct{} // holds a token when a peer has joined
}

// rangePeer is a peer and what to expect of it. Its fields are guarded by the lock of rangePeers.
type rangePeer struct {
	RangePeer
	inFlight        int
	minTime         time.Duration // the least time from request to handled response, rising slowly; 0: unknown
	interval        time.Duration // average time between two handled responses while more requests were in flight; 0: unknown
	lastDone        time.Time     // when a response was handled last; zero if nothing else was in flight then
	emptyRoot       common.Hash   // the root for which its last answer was empty
	served          bool          // has ever delivered something
	failures        int           // in a row; a peer that has served and has none is proven, any other one a stranger
	unprovedReplies int           // in a row
}

// proven says whether needs may depend on the peer. A stranger is asked for a copy of what another peer is asked for.
func (p *rangePeer) proven() bool { return p.served && p.failures == 0 }

func newRangePeers(book *peer.Book, kind string) *rangePeers {
	return &rangePeers{book: book, kind: kind, byID: make(map[string]*rangePeer), change: make(chan struct{}, 1)}
}

func (r *rangePeers) join(p RangePeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[p.ID()] = &rangePeer{RangePeer: p}
	select {
	case r.change <- struct{}{}:
	default:
	}
}

func (r *rangePeers) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id] != nil
}

func (r *rangePeers) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, id)
}

// free returns the proven peer that can take a request with the fewest in flight, a stranger without any if no peer is
// proven, and nil if there is none. again is when the first back-off of a peer ends, zero if no peer backs off. While the
// backfill yields, windows are smaller.
func (r *rangePeers) free(now time.Time, yields bool) (best *rangePeer, again time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var stranger *rangePeer
	proven := false
	for _, p := range r.byID {
		if r.book.Banned(p.ID()) {
			continue
		}
		proven = proven || p.proven()
		if until := r.book.RetryAt(p.ID(), r.kind); now.Before(until) {
			again = earlier(again, until)
			continue
		}
		window := p.window()
		if yields {
			window = p.backgroundWindow()
		}
		switch {
		case p.inFlight >= window || p.inFlight >= fairWindow && r.inFlight >= maxRanges:
		case !p.proven():
			if stranger == nil || p.ID() < stranger.ID() {
				stranger = p
			}
		case best == nil || p.inFlight < best.inFlight || p.inFlight == best.inFlight && p.ID() < best.ID():
			best = p
		}
	}
	if !proven {
		best = stranger
	}
	return best, again
}

// strangers returns the peers that may be asked to show whether they serve anything, at most n. proven says that some peer does.
func (r *rangePeers) strangers(now time.Time, n int) (idle []*rangePeer, proven bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.byID {
		switch {
		case p.proven():
			proven = true
		case p.inFlight > 0:
			n--
		case !r.book.Banned(p.ID()) && !now.Before(r.book.RetryAt(p.ID(), r.kind)):
			idle = append(idle, p)
		}
	}
	slices.SortFunc(idle, func(a, b *rangePeer) int { return cmp.Compare(a.ID(), b.ID()) })
	return idle[:min(max(n, 0), len(idle))], proven
}

// window is the number of requests that keeps the peer and us busy. By Little's law these are as many as are handled
// in the time of one request without queueing, and one more. Without an allowance, a window that is too small would stay so: while
// requests take a little longer than the least time, which they always do, responses come as seldom as the window is
// small. More would only queue, with the requests of a block behind them, and be lost when the node stops.
func (p *rangePeer) window() int {
	switch {
	case !p.proven():
		return 1 // it may have nothing at all
	case p.interval == 0:
		return fairWindow
	}
	handled := int((p.minTime + p.minTime/queueShare) / max(p.interval, time.Millisecond))
	return min(1+max(handled, 1), rangeWindow)
}

// backgroundWindow is the window while a block is being executed. If a peer is far away, the block's requests are on the
// wire most of the time, and the peer may spend half of that time on the backfill. A near peer has no such time.
func (p *rangePeer) backgroundWindow() int {
	if p.minTime < minBackgroundRTT {
		return 0
	}
	return (p.window() - 2) / 2
}

// hasBackgroundWindow says whether a peer may be asked while a block is being executed.
func (r *rangePeers) hasBackgroundWindow(p *rangePeer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.backgroundWindow() > 0
}

// measure records the time from a request to its handled response; zero if a block delayed that.
func (p *rangePeer) measure(now time.Time, took time.Duration) {
	if took == 0 {
		p.lastDone = time.Time{}
		return
	}
	if p.minTime == 0 || took < p.minTime {
		p.minTime = took
	} else {
		p.minTime += p.minTime / 64
	}
	if interval := now.Sub(p.lastDone); p.lastDone.IsZero() {
	} else if p.interval == 0 {
		p.interval = interval
	} else {
		p.interval += (interval - p.interval) / 4
	}
	p.lastDone = now
	if p.inFlight == 0 {
		p.lastDone = time.Time{}
	}
}

// acquire begins a request to a peer. It returns how much to ask it for.
func (r *rangePeers) acquire(p *rangePeer, proven, stranger int) (most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.inFlight++
	r.inFlight++
	if p.proven() {
		return proven
	}
	return stranger
}

// release ends a request whose outcome says nothing about the peer.
func (r *rangePeers) release(p *rangePeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.inFlight--
	r.inFlight--
}

// finish ends a request that was sent then and took so long. A peer that failed, or whose answer was empty, backs off.
func (r *rangePeers) finish(p *rangePeer, root common.Hash, sent time.Time, took time.Duration, served, empty bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.inFlight--
	r.inFlight--
	if served {
		p.measure(time.Now(), took)
		p.served, p.failures, p.unprovedReplies, p.emptyRoot = true, 0, 0, common.Hash{}
		r.book.Served(p.ID(), r.kind)
		return
	}
	p.failures++
	if empty {
		p.emptyRoot = root
	}
	r.book.Refused(p.ID(), r.kind, sent) // no effect if it was reported as a time-out
}

// unproved counts a response that is wrong without being proved to be. Of an honest peer there are not many in a row.
func (r *rangePeers) unproved(p *rangePeer) {
	r.mu.Lock()
	p.unprovedReplies++
	exclude := p.unprovedReplies == maxUnproved
	if exclude {
		p.unprovedReplies = 0
	}
	r.mu.Unlock()
	if exclude {
		r.book.Exclude(p.ID(), r.kind)
		r.book.Blame(p.ID(), peer.BlameUseless, fmt.Sprintf("%d wrong storage tries in a row", maxUnproved))
	}
}

// doubt makes a stranger of a peer that keeps a need for too long.
func (r *rangePeers) doubt(p *rangePeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.failures++
}

// usual is how long a request to a peer takes at least.
func (r *rangePeers) usual(p *rangePeer) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.minTime
}

// count returns the number of peers, of those whose last answer for a root was empty, and of those that have failed so
// often that they seem to serve no ranges.
func (r *rangePeers) count(root common.Hash) (all, empty, useless int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.byID {
		if p.emptyRoot == root {
			empty++
		}
		if !p.served && p.failures >= 4 || r.book.Excluded(p.ID(), r.kind) {
			useless++
		}
	}
	return len(r.byID), empty, useless
}

// allExcluded says whether there are peers, all of which are excluded from requests of this kind.
func (r *rangePeers) allExcluded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.byID {
		if !r.book.Excluded(p.ID(), r.kind) {
			return false
		}
	}
	return len(r.byID) > 0
}
