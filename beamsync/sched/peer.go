// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	emptyCredit        = 3  // empty replies in a row that a peer may give under a root that it served
	maxPeerServedRoots = 16 // remembered for each peer; several blocks are fetched side by side, each under its own root

	uselessAfter = 8 // rounds of empty replies, under roots that other peers serve, until a peer is blamed
)

// peer is one connected peer: its state, what it may be sent, and what to expect of it.
type peer struct {
	id     string
	byHash bool // it serves state by hash only

	state        peerState
	disconnected bool        // a request said so, PeerLeft follows; it is sent nothing
	unsupported  [kinds]bool // kinds that it said it does not serve; it is sent none of these
	head         uint64      // newest block that it announced

	inFlight []*request // oldest first; a request is added only below window(), so at most maxWindow
	capacity
	latencies
	record
	probes

	backoffs []backoff // one for each root at most, at most maxBackoffs
	blamedAt time.Time // when it was last blamed for a timeout; requests sent before are covered by that
}

// record is what the replies of a peer were worth.
type record struct {
	score       float64      // smoothed share of requests that were useful, initially 1; in [minScore, 1]
	servedRoots []servedRoot // newest last, at most maxPeerServedRoots; empty if and only if it never served anything
	empties     int          // rounds of empty replies since it last served something; below uselessAfter
}

// servedRoot is a root under which a peer served something.
type servedRoot struct {
	root   common.Hash
	credit int // empty replies under it that are still allowed; 0..emptyCredit
}

func newPeer(id string, byHash bool) *peer {
	p := &peer{
		id: id, byHash: byHash, state: stateUntried, record: record{score: 1},
		capacity: capacity{windowLimit: startWindow, budget: [kinds]int{startBudget, startBudget}},
	}
	if byHash {
		p.budget[Node] = hashBudget
	}
	return p
}

// cost is what a want adds to a request to the peer.
func (p *peer) cost(w *want) int {
	if p.byHash && w.Kind == Node {
		return 1
	}
	return w.Cost
}

// servedUseful records a useful reply to a request.
func (p *peer) servedUseful(r *request, cut bool) {
	p.rateUseful()
	p.windowLimit = min(p.windowLimit+1, maxWindow)
	p.resizeBudget(r.kind, r.cost, cut)
	p.endBackoff(r.root)
	p.addServedRoot(r.root)
	p.empties, p.probesSent = 0, 0
}

// addServedRoot renews the credit of the peer under a root.
func (p *peer) addServedRoot(root common.Hash) {
	p.servedRoots = slices.DeleteFunc(p.servedRoots, func(o servedRoot) bool { return o.root == root })
	if len(p.servedRoots) == maxPeerServedRoots {
		p.servedRoots = slices.Delete(p.servedRoots, 0, 1)
	}
	p.servedRoots = append(p.servedRoots, servedRoot{root, emptyCredit})
}

// takeEmptyCredit says whether an empty reply under a root tells something about its wants
// only, and uses up one of the credits. The credits are limited because a root that the
// peer served leaves the peer's window in the end.
func (p *peer) takeEmptyCredit(root common.Hash) bool {
	for i := range p.servedRoots {
		if p.servedRoots[i].root == root && p.servedRoots[i].credit > 0 {
			p.servedRoots[i].credit--
			return true
		}
	}
	return false
}
