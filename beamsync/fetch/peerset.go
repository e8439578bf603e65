// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"slices"
	"sync"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// peerSet is the connected peers, for requests about the chain: those need no scheduler.
// It is safe for concurrent use.
type peerSet struct {
	book   *peer.Book
	mu     sync.Mutex
	peers  []*chainPeer  // in the order in which they joined; ids differ
	since  time.Time     // when the last peer left, or the set was made; while there are no peers
	change chan struct{} // closed, and replaced, when a peer joins
	spare  int           // calls of pickSpare in which only the fastest peer was useful
}

// sampleEvery is how many requests for old blocks are sent for one that tries another peer, which may be silent: it takes
// chainHedge longer then.
const sampleEvery = 16

// chainPeer is a peer and what to expect of it; its fields belong to the peerSet.
type chainPeer struct {
	peer.Peer
	rtt      time.Duration // smoothed; at least that if it only lost races; 0 until measured
	inFlight int           // requests
	useful   bool          // the last request that was not cancelled brought what was requested
	sampled  bool          // it was asked for old blocks although others are useful: once is enough
}

// outcome is what a request says about the peer.
type outcome int

const (
	outcomeNone    outcome = iota // another peer was faster, or the peer need not have what was requested
	outcomeUseful                 // it brought what was requested
	outcomeUseless                // it did not
)

func newPeerSet(book *peer.Book) *peerSet {
	return &peerSet{book: book, since: time.Now(), change: make(chan struct{})}
}

// alone returns for how long there has been no peer, zero if there is one.
func (s *peerSet) alone() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers) > 0 {
		return 0
	}
	return time.Since(s.since)
}

func (s *peerSet) join(p peer.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(p.ID())
	s.peers = append(s.peers, &chainPeer{Peer: p})
	close(s.change)
	s.change = make(chan struct{})
}

func (s *peerSet) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers) > 0 {
		if s.removeLocked(id); len(s.peers) == 0 {
			s.since = time.Now()
		}
	}
}

func (s *peerSet) removeLocked(id string) {
	s.peers = slices.DeleteFunc(s.peers, func(p *chainPeer) bool { return p.ID() == id })
}

// pick returns the eligible peer that is expected to answer first, nil if there is none. It
// prefers peers whose last reply was useful, then peers that do not back off, so it never waits
// for the end of a back-off. The channel is closed when another peer joins. The caller puts
// the peer back.
func (s *peerSet) pick(kind string, eligible func(peer.Peer) bool) (*chainPeer, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	allowed := func(p *chainPeer) bool { return eligible(p.Peer) && !s.book.Banned(p.ID()) }
	ready := func(p *chainPeer) bool { return allowed(p) && !now.Before(s.book.RetryAt(p.ID(), kind)) }
	best := bestOf(s.peers, func(p *chainPeer) bool { return p.useful && ready(p) })
	if best == nil {
		best = bestOf(s.peers, ready)
	}
	if best == nil {
		best = bestOf(s.peers, allowed)
	}
	if best != nil {
		best.inFlight++
	}
	return best, s.change
}

// pickSpare is pick for requests that no caller waits for: it leaves peers alone that back off,
// and the peer with the shortest round trip if there is another useful one. With sample set, each peer
// that has not been useful is asked once before that peer.
func (s *peerSet) pickSpare(kind string, sample bool, eligible func(peer.Peer) bool) (*chainPeer, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	ready := func(p *chainPeer) bool {
		return eligible(p.Peer) && !s.book.Banned(p.ID()) && !now.Before(s.book.RetryAt(p.ID(), kind))
	}
	var fastest *chainPeer
	for _, p := range s.peers {
		if p.useful && (fastest == nil || p.rtt < fastest.rtt) {
			fastest = p
		}
	}
	best := bestOf(s.peers, func(p *chainPeer) bool { return p.useful && p != fastest && ready(p) })
	if best == nil && sample && fastest != nil {
		best = s.sampleLocked(ready)
	}
	if best == nil {
		best = bestOf(s.peers, func(p *chainPeer) bool { return p.useful && ready(p) })
	}
	if best == nil {
		best = bestOf(s.peers, ready)
	}
	if best != nil {
		best.inFlight++
	}
	return best, s.change
}

// sampleLocked returns a peer to be tried in one of sampleEvery calls, nil in the others or if all were tried.
func (s *peerSet) sampleLocked(ready func(*chainPeer) bool) *chainPeer {
	s.spare++
	if s.spare%sampleEvery != 1 {
		return nil
	}
	p := bestOf(s.peers, func(p *chainPeer) bool { return !p.useful && !p.sampled && ready(p) })
	if p != nil {
		p.sampled = true
	}
	return p
}

// anyUseful says whether one of these peers is useful.
func (s *peerSet) anyUseful(ids map[string]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.peers, func(p *chainPeer) bool { return p.useful && ids[p.ID()] })
}

// nextRetry is when the first back-off of a peer for a kind of request ends, zero if none backs
// off.
func (s *peerSet) nextRetry(kind string) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, p := range s.peers {
		if at := s.book.RetryAt(p.ID(), kind); at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// bestOf finds the eligible peer that is expected to answer first.
func bestOf(peers []*chainPeer, eligible func(*chainPeer) bool) (best *chainPeer) {
	cost := func(p *chainPeer) time.Duration { return p.rtt * time.Duration(p.inFlight+1) }
	for _, p := range peers {
		if eligible(p) && (best == nil || cost(p) < cost(best) || cost(p) == cost(best) && p.inFlight < best.inFlight) {
			best = p
		}
	}
	return best
}

// count is the number of peers that match.
func (s *peerSet) count(matches func(peer.Peer) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if matches(p.Peer) {
			n++
		}
	}
	return n
}

// put gives a peer back after a request that took that long.
func (s *peerSet) put(p *chainPeer, took time.Duration, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inFlight--
	switch {
	case o == outcomeNone, o == outcomeUseless && p.rtt == 0:
		p.rtt = max(p.rtt, took)
	case p.rtt == 0:
		p.rtt = took
	default:
		p.rtt = (3*p.rtt + took) / 4
	}
	if o != outcomeNone {
		p.useful = o == outcomeUseful
	}
}

// bestRTT is the shortest round trip among the useful peers, 0 if there is none.
func (s *peerSet) bestRTT() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bestRTTLocked()
}

func (s *peerSet) bestRTTLocked() (best time.Duration) {
	for _, p := range s.peers {
		if p.useful && (best == 0 || p.rtt < best) {
			best = p.rtt
		}
	}
	return best
}

// hedgeDelay is how long a request to the peer may take until it is hedged: it depends on the
// peer's own round trip and on that of the best peer.
func (s *peerSet) hedgeDelay(p *chainPeer) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := s.bestRTTLocked()
	switch {
	case p.useful:
		return max(min(3*p.rtt, 8*best), chainMinHedge)
	case best > 0:
		return max(3*best, chainMinHedge)
	}
	return chainHedge
}

// size is the number of peers.
func (s *peerSet) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}
