package beamsync

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// rangePeers are the peers that ranges are asked of. It is safe for concurrent use.
type rangePeers struct {
	mu     sync.Mutex
	byID   map[string]*rangePeer
	liars  map[string]bool
	flying int
	change chan struct{} // holds a token when a peer has joined
}

// rangePeer is a peer and what to expect of it; its fields belong to the rangePeers.
type rangePeer struct {
	RangePeer
	flying  int
	pause   time.Duration // the last back-off
	until   time.Time     // no request before
	nothing common.Hash   // the root of which it had nothing last
	served  bool          // has ever brought something
	fails   int           // in a row
}

func newRangePeers() *rangePeers {
	return &rangePeers{byID: make(map[string]*rangePeer), liars: make(map[string]bool), change: make(chan struct{}, 1)}
}

func (r *rangePeers) join(p RangePeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.liars[p.ID()] {
		return
	}
	r.byID[p.ID()] = &rangePeer{RangePeer: p}
	select {
	case r.change <- struct{}{}:
	default:
	}
}

func (r *rangePeers) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, id)
}

// expel removes a peer for good. It returns false if that was done before: replies to several
// requests may show one liar.
func (r *rangePeers) expel(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.liars[id] {
		return false
	}
	delete(r.byID, id)
	if len(r.liars) >= maxLiars {
		clear(r.liars)
	}
	r.liars[id] = true
	return true
}

// free returns a peer that can take a request, nil if there is none; then again is when a
// peer's back-off ends, zero if none backs off.
func (r *rangePeers) free(now time.Time) (best *rangePeer, again time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flying >= maxRanges {
		return nil, time.Time{}
	}
	for _, p := range r.byID {
		if now.Before(p.until) {
			if again.IsZero() || p.until.Before(again) {
				again = p.until
			}
			continue
		}
		window := rangeWindow
		if !p.served {
			window = 2 // it may have nothing at all
		}
		if p.flying < window && (best == nil || p.flying < best.flying || p.flying == best.flying && p.ID() < best.ID()) {
			best = p
		}
	}
	return best, again
}

func (r *rangePeers) take(p *rangePeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.flying++
	r.flying++
}

// release ends a request that says nothing about the peer.
func (r *rangePeers) release(p *rangePeer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.flying--
	r.flying--
}

// put ends a request. A peer that failed or had nothing of a root is left alone for a while that doubles.
func (r *rangePeers) put(p *rangePeer, root common.Hash, served, empty bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.flying--
	r.flying--
	if served {
		p.served, p.pause, p.fails, p.nothing = true, 0, 0, common.Hash{}
		return
	}
	p.fails++
	if empty {
		p.nothing = root
	}
	if now := time.Now(); now.After(p.until) { // once for all that were in flight together
		p.pause = min(max(2*p.pause, rangeBackoff), maxRangeBackoff)
		p.until = now.Add(p.pause)
	}
}

// census counts the peers, those that had nothing of a root, and those that have failed
// so often that they seem to serve no ranges.
func (r *rangePeers) census(root common.Hash) (all, empty, useless int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.byID {
		if p.nothing == root {
			empty++
		}
		if !p.served && p.fails >= 4 {
			useless++
		}
	}
	return len(r.byID), empty, useless
}
