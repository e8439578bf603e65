package fetch

import (
	"slices"
	"sync"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// roster is the connected peers, for requests about the chain: those need no scheduler.
// It is safe for concurrent use.
type roster struct {
	mu     sync.Mutex
	peers  []*chainPeer  // in the order in which they joined; ids differ
	liars  []string      // newest last; none of them is in peers
	change chan struct{} // closed, and replaced, when a peer joins
}

// chainPeer is a peer and what to expect of it; its fields belong to the roster.
type chainPeer struct {
	peer.Peer
	rtt    time.Duration // smoothed; of one that only lost races, at least; 0 until measured
	busy   int           // requests in flight
	useful bool          // it answered the last one that ended by itself with what was asked for
}

// verdict is what became of a request, as far as it says something of the peer.
type verdict int

const (
	noVerdict verdict = iota // somebody else was quicker, or it may well not have what was asked for
	wasUseful
	wasUseless
)

func newRoster() *roster { return &roster{change: make(chan struct{})} }

// join adds a peer, unless it is known to lie.
func (r *roster) join(p peer.Peer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.liars, p.ID()) {
		return false
	}
	r.removeLocked(p.ID())
	r.peers = append(r.peers, &chainPeer{Peer: p})
	close(r.change)
	r.change = make(chan struct{})
	return true
}

func (r *roster) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(id)
}

// expel removes a peer for good.
func (r *roster) expel(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(id)
	if slices.Contains(r.liars, id) {
		return
	}
	if len(r.liars) == peer.MaxBanned {
		r.liars = slices.Delete(r.liars, 0, 1)
	}
	r.liars = append(r.liars, id)
}

func (r *roster) removeLocked(id string) {
	r.peers = slices.DeleteFunc(r.peers, func(p *chainPeer) bool { return p.ID() == id })
}

// pick takes the peer that is expected to answer first among those not skipped, nil if
// there is none: rather one that was of use than one never asked, rather that than one that was
// of none. It returns a channel too that is closed when another peer joins. The peer has to be
// put back.
func (r *roster) pick(skip func(id string) bool) (*chainPeer, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	able := func(p *chainPeer) bool { return !skip(p.ID()) }
	best := bestOf(r.peers, func(p *chainPeer) bool { return p.useful && able(p) })
	if best == nil {
		best = bestOf(r.peers, able)
	}
	if best != nil {
		best.busy++
	}
	return best, r.change
}

// pickSpare is pick for what nobody waits for: where there is a choice, the peer with the
// shortest round trip is left to others.
func (r *roster) pickSpare(able func(peer.Peer) bool) (*chainPeer, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var fastest *chainPeer
	for _, p := range r.peers {
		if p.useful && (fastest == nil || p.rtt < fastest.rtt) {
			fastest = p
		}
	}
	best := bestOf(r.peers, func(p *chainPeer) bool { return p != fastest && able(p.Peer) })
	if best == nil {
		best = bestOf(r.peers, func(p *chainPeer) bool { return able(p.Peer) })
	}
	if best != nil {
		best.busy++
	}
	return best, r.change
}

// bestOf finds the peer that is expected to answer first.
func bestOf(peers []*chainPeer, able func(*chainPeer) bool) (best *chainPeer) {
	cost := func(p *chainPeer) time.Duration { return p.rtt * time.Duration(p.busy+1) }
	for _, p := range peers {
		if able(p) && (best == nil || cost(p) < cost(best) || cost(p) == cost(best) && p.busy < best.busy) {
			best = p
		}
	}
	return best
}

// count is the number of peers that fit.
func (r *roster) count(fits func(peer.Peer) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		if fits(p.Peer) {
			n++
		}
	}
	return n
}

// put gives a peer back, with the time that a request to it took and what became of it.
func (r *roster) put(p *chainPeer, took time.Duration, v verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.busy--
	switch {
	case v == noVerdict, v == wasUseless && p.rtt == 0:
		p.rtt = max(p.rtt, took)
	case p.rtt == 0:
		p.rtt = took
	default:
		p.rtt = (3*p.rtt + took) / 4
	}
	if v != noVerdict {
		p.useful = v == wasUseful
	}
}

// useful is the shortest round trip among the peers that were of use, 0 if none was.
func (r *roster) useful() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usefulLocked()
}

func (r *roster) usefulLocked() (best time.Duration) {
	for _, p := range r.peers {
		if p.useful && (best == 0 || p.rtt < best) {
			best = p.rtt
		}
	}
	return best
}

// hedgeAfter is when a request to the peer counts as slow: beside what it took before, and what
// the best one takes.
func (r *roster) hedgeAfter(p *chainPeer) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	best := r.usefulLocked()
	switch {
	case p.useful:
		return max(min(3*p.rtt, 8*best), chainMinHedge)
	case best > 0:
		return max(3*best, chainMinHedge)
	}
	return chainHedge
}

// size is the number of peers.
func (r *roster) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peers)
}
