// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import "time"

const (
	probeCost = 64 // of one probe
	maxProbed = 8  // peers probed at a time; a probe counts for firstProbeInterval

	firstProbeInterval = time.Second // between two probes of a peer; doubles until the peer serves
	maxProbeInterval   = time.Minute

	staleAfter = 10 * time.Second // age of a round trip after which a peer may have become faster
)

// probes is when a peer is probed.
type probes struct {
	probesSent int       // since it last served something
	probeAt    time.Time // earliest time of the next one
}

// probe sends to peers that are worth it a duplicate of a part of what was just sent to a
// trusted peer. The probe shows whether the peer serves, and nothing waits for its reply.
func (s *Scheduler) probe() {
	if len(s.sent) == 0 {
		return
	}
	probed := 0
	for _, p := range s.peers {
		if !s.trusts(p) && len(p.inFlight) > 0 && s.now.Sub(p.inFlight[0].sent) < firstProbeInterval {
			probed++
		}
	}
	for _, p := range s.peers {
		if probed >= maxProbed {
			return
		}
		if s.isWorthProbing(p) && s.sendProbe(p) {
			probed++
		}
	}
}

// isWorthProbing says whether a peer is not trusted, or so slow that it is sent nothing,
// and was not measured for long.
func (s *Scheduler) isWorthProbing(p *peer) bool {
	if p.disconnected || len(p.inFlight) > 0 || p.probeAt.After(s.now) {
		return false
	}
	return !s.trusts(p) || p.rtt > 2*s.bestRTT() && s.now.Sub(p.last) > max(staleAfter, 8*p.rtt)
}

// sendProbe says whether there was something to send.
func (s *Scheduler) sendProbe(p *peer) bool {
	for _, r := range s.sent {
		if !s.trusts(r.peer) || p.unsupported[r.kind] || p.backedOffUntil(r.root).After(s.now) {
			continue
		}
		var (
			picked []*want
			cost   int
		)
		for _, w := range r.wants {
			if len(picked) > 0 && cost+w.Cost > probeCost {
				break
			}
			if len(w.requests) < maxRequests && !w.isAt(p) && !w.avoidedUntil(p.id).After(s.now) {
				picked = append(picked, w)
				cost += w.Cost
			}
		}
		if len(picked) > 0 {
			p.probeAt = s.now.Add(min(firstProbeInterval<<min(p.probesSent, 10), maxProbeInterval))
			p.probesSent++
			s.send(p, picked, cost, true)
			return true
		}
	}
	return false
}
