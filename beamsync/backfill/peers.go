package backfill

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
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
	least   time.Duration // of the times that requests took until they were dealt with, rising slowly; 0: unknown
	gap     time.Duration // average time between two that were, while more were under way; 0: unknown
	last    time.Time     // when one was; zero if nothing was under way then
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

// expel removes a peer for good. It returns false if that was done before: replies to several
// requests may show one liar.
func (r *rangePeers) expel(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.liars[id] {
		return false
	}
	delete(r.byID, id)
	if len(r.liars) >= peer.MaxBanned {
		clear(r.liars)
	}
	r.liars[id] = true
	return true
}

// free returns a peer that can take a request, nil if there is none; then again is when a
// peer's back-off ends, zero if none backs off.
// While something more important is in work, few can.
func (r *rangePeers) free(now time.Time, yields bool) (best *rangePeer, again time.Time) {
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
		window := p.window()
		if yields {
			window = p.aside()
		}
		if p.flying < window && (best == nil || p.flying < best.flying || p.flying == best.flying && p.ID() < best.ID()) {
			best = p
		}
	}
	return best, again
}

// window is how many requests keep the peer and us busy: by Little's law as many as are dealt with
// in the time that one takes if nothing is in its way, and one more. Others would only wait, with
// what a block asks for behind them, and be lost when the node stops.
func (p *rangePeer) window() int {
	if !p.served || p.gap == 0 {
		return 2 // it may have nothing at all
	}
	return min(2+int((p.least-p.gap)/max(p.gap, time.Millisecond)), rangeWindow)
}

// aside is the window while a block is in work. What the block asks for is on its way most of the time
// if a peer is far away, and the peer may spend half of that on us; one that is near has no such time.
func (p *rangePeer) aside() int {
	if p.least < farPeer {
		return 0
	}
	return (p.window() - 2) / 2
}

// spares says whether a peer has time for us while a block is in work.
func (r *rangePeers) spares(p *rangePeer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.aside() > 0
}

// measure takes note of a request that was dealt with and took so long; zero if a block held it up.
func (p *rangePeer) measure(now time.Time, took time.Duration) {
	if took == 0 {
		p.last = time.Time{}
		return
	}
	if p.least == 0 || took < p.least {
		p.least = took
	} else {
		p.least += p.least / 64
	}
	if gap := now.Sub(p.last); p.last.IsZero() {
	} else if p.gap == 0 {
		p.gap = gap
	} else {
		p.gap += (gap - p.gap) / 4
	}
	p.last = now
	if p.flying == 0 {
		p.last = time.Time{}
	}
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

// put ends a request that took so long. A peer that failed or had nothing of a root is left alone
// for a while that doubles.
func (r *rangePeers) put(p *rangePeer, root common.Hash, took time.Duration, served, empty bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.flying--
	r.flying--
	if served {
		p.measure(time.Now(), took)
		p.served, p.pause, p.fails, p.nothing = true, 0, 0, common.Hash{}
		return
	}
	p.fails++
	if empty {
		p.nothing = root
	}
	if now := time.Now(); !now.Before(p.until) { // once for all that were in flight together
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
