// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import "time"

const (
	trustScore = 0.5  // least score of a trusted peer: six failures in a row take it from 1 to below
	minScore   = 0.01 // a score never gets lower, so that a peer can recover

	etaMinScore = 0.05 // bounds how much a low score lengthens an expected time

	defaultRTT         = 100 * time.Millisecond // of a peer, as long as none is measured
	defaultServiceTime = 10 * time.Millisecond  // likewise between two replies of a busy peer
)

// rate adds one outcome to the score, from 0 for a failure to 1 for a useful reply.
func (p *peer) rate(outcome float64) {
	p.score = max((7*p.score+outcome)/8, minScore)
}

// rateUseful adds a useful reply to the score. One is enough to be trusted again.
func (p *peer) rateUseful() {
	p.rate(1)
	p.score = max(p.score, trustScore)
}

// eta is how long a request is expected to take that is sent after so many more. Peers are
// chosen by it. It is no shorter than the oldest request in flight has waited already.
func (p *peer) eta(now time.Time, unmeasured time.Duration, more int) time.Duration {
	d := p.latency(unmeasured)
	if len(p.inFlight) > 0 {
		d = max(d, now.Sub(p.inFlight[0].sent))
	}
	d += p.serviceTime(len(p.inFlight) + more)
	return time.Duration(float64(d) / max(p.score, etaMinScore))
}

// latency is the round trip to expect, the given one if none is measured.
func (p *peer) latency(unmeasured time.Duration) time.Duration {
	if p.rtt == 0 {
		return unmeasured
	}
	return p.rtt
}

// serviceTime is how long the peer takes to serve so many requests.
func (p *peer) serviceTime(requests int) time.Duration {
	if p.service == 0 {
		return time.Duration(requests) * defaultServiceTime
	}
	return time.Duration(requests) * p.service
}

// fastest is the eligible peer with the lowest eta, with or without capacity. load counts
// the requests that each would get before, in addition to those in flight.
func (s *Scheduler) fastest(eligible []*peer, unmeasured time.Duration, load map[*peer]int) *peer {
	var (
		best    *peer
		bestETA time.Duration
	)
	for _, p := range eligible {
		if eta := p.eta(s.now, unmeasured, load[p]); best == nil || eta < bestETA {
			best, bestETA = p, eta
		}
	}
	return best
}

// bestRTT is the lowest round trip of the peers that reply. Peers without a measured one
// are assumed to have it.
func (s *Scheduler) bestRTT() time.Duration {
	var best time.Duration
	for _, p := range s.peers {
		if p.rtt > 0 && p.state != stateTimingOut && (best == 0 || p.rtt < best) {
			best = p.rtt
		}
	}
	if best == 0 {
		return defaultRTT
	}
	return best
}
