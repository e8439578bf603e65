// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	swarmWindow         = 8                // requests in flight to one swarm peer
	swarmDeadline       = 10 * time.Second // of a request
	maxTimeouts         = 2                // in a row, without a served subtree, after which a peer is a stranger again
	maxRefusals         = 64               // subtrees refused, beyond four for each served one, after which the peer is ignored
	maxStrangerRefusals = 8                // likewise of a stranger: each one costs a single node. Four levels down, few subtrees of two recent states differ
	stallParts          = 8                // a swarm peer is stalled when we have completed so many parts since its last one
	stallTime           = 10 * time.Second // and when that is so long ago
	activeTime          = 5 * time.Second  // for which it counts as active after it has announced another part
	walkInterval        = time.Minute      // within which only one change of its state resets its parts
	maxLargeTries       = 64               // in one Have, as the protocol allows
)

// swarmPeer is a swarm peer and what to expect of it. Its fields are guarded by the lock of swarm.
type swarmPeer struct {
	SwarmPeer
	have      Have
	complete  map[common.Hash]trie.Slices
	walkSince time.Time // when it announced another state, once within walkInterval
	maxParts  int       // the most parts that it has announced since
	lastGain  time.Time // when maxParts rose last
	behind    int       // parts that we have completed since
	stalled   bool      // nothing is expected of it until it announces another part
	ignored   bool      // its announcements count for nothing

	inFlight        int
	proven          bool // it has served a subtree, and has not timed out twice since; otherwise it is a stranger
	batch           int  // subtrees or codes in one request
	streak          int  // requests served as a whole since it failed last
	timeouts        int  // since it served something last
	served, refused int  // subtrees and codes
}

// onHave takes an announcement. Parts that a peer announces, takes back and announces again are no gain, nor are
// states that it changes all the time: others wait for a peer only as long as it makes progress.
func (p *swarmPeer) onHave(have Have, now time.Time) {
	complete := have.complete()
	if have.Number != p.have.Number && now.Sub(p.walkSince) >= walkInterval {
		p.walkSince, p.maxParts = now, -1
	}
	if parts := partsIn(complete); parts > p.maxParts {
		p.maxParts, p.lastGain, p.behind, p.stalled = parts, now, 0, false
	}
	p.have, p.complete = have, complete
}

// window is how many requests may be in flight to the peer: one as long as it is a stranger, and as many as it has shown to
// serve.
func (p *swarmPeer) window() int {
	if !p.proven {
		return 1
	}
	return min(1+p.streak, swarmWindow)
}

// rank orders peers by what they have shown.
func (p *swarmPeer) rank() int {
	if p.proven {
		return 0
	}
	return 1
}

// offered returns those of the parts that the peer has.
func (p *swarmPeer) offered(parts []trie.Part) (has []trie.Part) {
	for _, part := range parts {
		if set := p.complete[part.Owner]; set.Has(part.Slice) {
			has = append(has, part)
		}
	}
	return has
}

// count adds what the peer served and refused. It returns true if that makes the peer ignored.
func (p *swarmPeer) count(served, refused int) (ignored bool) {
	p.served, p.refused = p.served+served, p.refused+refused
	if served > 0 {
		p.proven, p.timeouts = true, 0
	}
	if p.ignored || p.refused <= maxRefusals+4*p.served && (p.served > 0 || p.refused <= maxStrangerRefusals) {
		return false
	}
	p.ignored = true
	return true
}

// resize adapts what the peer is asked for to what it served: it keeps little more than it delivers.
func (p *swarmPeer) resize(served int, all bool) {
	if !all {
		p.batch, p.streak = served, 0
		return
	}
	p.batch = min(4*max(p.batch, 1), trie.MaxSubtrees)
	p.streak++
}

// timedOut counts a request that ran into its deadline.
func (p *swarmPeer) timedOut() {
	p.streak, p.batch = 0, 1
	if p.timeouts++; p.timeouts >= maxTimeouts {
		p.proven = false
	}
}
