// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	swarmWindow     = 8                // requests in flight to one swarm peer
	unprovenWindow  = 2                // likewise, if it has delivered nothing yet or its last request timed out
	swarmDeadline   = 10 * time.Second // of a request
	swarmBackoff    = 8 * time.Second  // after a time-out; each one in a row doubles it
	maxSwarmBackoff = 64 * time.Second
	maxRefusals     = 64               // subtrees refused, beyond four for each served one, after which the peer is ignored
	stallParts      = 8                // a swarm peer is stalled when we have completed so many parts since its last one
	stallTime       = 10 * time.Second // and when that is so long ago
	activeTime      = 5 * time.Second  // for which it counts as active after it has announced another part
	walkInterval    = time.Minute      // within which only one change of its state resets its parts
	maxLargeTries   = 64               // in one Have, as the protocol allows
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
	backoff         time.Duration // the last one
	until           time.Time     // no request before
	timedOut        bool          // its last request ran into the deadline
	served, refused int           // subtrees and codes
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

// available says whether the peer may be asked for anything now.
func (p *swarmPeer) available(now time.Time) bool { return !p.ignored && !now.Before(p.until) }

// window is how many requests may be in flight to the peer.
func (p *swarmPeer) window() int {
	if p.served == 0 || p.timedOut {
		return unprovenWindow
	}
	return swarmWindow
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
		p.timedOut, p.backoff = false, 0
	}
	if p.ignored || p.refused <= maxRefusals+4*p.served {
		return false
	}
	p.ignored = true
	return true
}

// fail lets the peer back off. It returns false if the peer does so already: requests that were in flight together
// count once.
func (p *swarmPeer) fail(now time.Time, timeout bool) bool {
	if now.Before(p.until) {
		return false
	}
	least, most := rangeBackoff, maxRangeBackoff
	if timeout {
		least, most = swarmBackoff, maxSwarmBackoff
		p.timedOut = true
	}
	p.backoff = min(max(2*p.backoff, least), most)
	p.until = now.Add(p.backoff)
	return true
}
