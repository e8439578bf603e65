// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"
)

const (
	// maxRequests is how many requests a want may be in, maxTrustedRequests to how many
	// trusted peers. There may be many to other peers: those that do not reply must not keep
	// a want from the one that would.
	maxRequests        = 32
	maxTrustedRequests = 3

	// raceCost bounds the cost of a race: a want is sent to as many peers as it allows, within
	// bounds. Two are too few where most peers do not serve.
	raceCost  = 1024
	minRacers = 2
	maxRacers = 6

	// Hedges in flight may be so many, and one more for each hedgeShare requests.
	baseHedges = 4
	hedgeShare = 4

	minHedgeDelay      = 50 * time.Millisecond
	untrustedDelay     = 4 * defaultRTT // hedge delay of a peer that is not trusted, if none is
	untrustedDelayRate = 2              // and if one is, in hedge delays of the fastest trusted peer
	maxDelayRate       = 8              // upper bound of the hedge delay of a trusted peer, likewise

	// A peer is sent a hedge only after the first request has waited for this part of the
	// peer's round trip: before, the hedge of a slow peer would not arrive earlier.
	minWaitPart = 4
)

// hedgeDelay is the time after which a request to the peer counts as slow, without the wait
// behind others; 0 if nothing is measured.
func (p *peer) hedgeDelay() time.Duration {
	switch {
	case p.rtt == 0:
		return 0
	case p.samples.slow == 0:
		return max(2*p.rtt+4*p.dev, minHedgeDelay)
	}
	return max(time.Duration(slowMargin*float64(p.samples.slow)), minHedgeDelay)
}

// fastestHedgeDelay is the lowest hedge delay of the trusted peers; 0 if no peer is trusted.
func (s *Scheduler) fastestHedgeDelay() (best time.Duration) {
	for _, p := range s.peers {
		if d := p.hedgeDelay(); s.trusts(p) && (best == 0 || d < best) {
			best = d
		}
	}
	return best
}

// slowAt is the time from which on a request counts as slow: it takes longer than its own
// peer usually does, or much longer than the fastest trusted peer would.
func (s *Scheduler) slowAt(r *request, fastest time.Duration) time.Time {
	delay := r.peer.hedgeDelay()
	switch trusted := s.trusts(r.peer); {
	case !trusted && fastest > 0:
		delay = untrustedDelayRate * fastest
	case !trusted || delay == 0:
		delay = untrustedDelay
	case fastest > 0:
		delay = min(delay, maxDelayRate*fastest)
	}
	return r.sent.Add(min(delay+r.queued, baseDeadline-time.Millisecond))
}

// hedging is what a Step decides hedges by.
type hedging struct {
	fastest time.Duration // hedge delay of the fastest trusted peer, 0 if no peer is trusted
	racers  int           // peers that take part in a race; minRacers..maxRacers
	left    int           // hedges that may still be sent for wants at trusted peers; hedges for others count too
}

// hedge sends duplicates of what an urgent or rpc want waits for to more peers:
//
//   - If the want is in flight to a trusted peer and slow, to another trusted one; and again
//     if that is slow too.
//   - If it is in flight to other peers only while some peer is trusted, to that one as soon
//     as they are slow, or at once if only hedges of it are left.
//   - If no peer is trusted, to several others at once. This is a race. The next peers take
//     the places of those that fail, until one serves.
func (s *Scheduler) hedge() {
	h := s.planHedging()
	for i := 0; i < len(s.inFlight); i++ { // it grows
		r := s.inFlight[i]
		if r.class() < RPC {
			continue
		}
		slowAt := s.slowAt(r, h.fastest)
		if slowAt.After(s.now) {
			s.wakeBy(slowAt)
			if s.trusts(r.peer) {
				continue
			}
		}
		for {
			g := s.group(r, h)
			if len(g.wants) == 0 || g.trusted && h.left <= 0 || !s.sendHedge(r, g) {
				break
			}
			h.left--
		}
	}
}

func (s *Scheduler) planHedging() hedging {
	var hedges, cost int
	for _, r := range s.inFlight {
		switch {
		case r.hedge && len(r.wants) > 0:
			hedges++
		case r.hedge:
		case r.class() >= RPC:
			cost += r.cost
		}
	}
	return hedging{
		fastest: s.fastestHedgeDelay(),
		racers:  min(max(raceCost/max(cost, 1), minRacers), maxRacers),
		left:    baseHedges + len(s.inFlight)/hedgeShare - hedges,
	}
}

// hedgeGroup is wants of one request that are hedged together, for the same reason.
type hedgeGroup struct {
	wants []*want
	hedgeReason
}

// hedgeReason is why a want is hedged.
type hedgeReason struct {
	trusted bool // it is in flight to a trusted peer
	race    bool // another peer is used even if no request is slow
}

// group picks the wants of a request that are to be hedged now. A want is picked from its
// newest request.
func (s *Scheduler) group(r *request, h hedging) (g hedgeGroup) {
	for _, w := range r.wants {
		if w.Class < RPC || len(w.requests) >= maxRequests || w.requests[len(w.requests)-1] != r {
			continue
		}
		why, ok := s.needsHedge(w, h)
		if !ok {
			continue
		}
		if len(g.wants) == 0 {
			g.hedgeReason = why
		}
		if g.hedgeReason == why {
			g.wants = append(g.wants, w)
		}
	}
	return g
}

// needsHedge says whether one more request is to be sent for a want in flight, and why. If
// the want is at a trusted peer, its requests to others do not count: they are probes.
func (s *Scheduler) needsHedge(w *want, h hedging) (why hedgeReason, ok bool) {
	var (
		fresh, trusted, trustedFresh int    // requests; fresh ones are not slow yet
		onlyHedges                   = true // the request that it was queued for has ended
	)
	for _, r := range w.requests {
		isFresh := s.slowAt(r, h.fastest).After(s.now)
		onlyHedges = onlyHedges && r.hedge
		if isFresh {
			fresh++
		}
		if s.trusts(r.peer) {
			trusted++
			if isFresh {
				trustedFresh++
			}
		}
	}
	switch {
	case trusted > 0:
		return hedgeReason{trusted: true}, trustedFresh == 0 && trusted < maxTrustedRequests
	case h.fastest > 0 && onlyHedges: // some peer is trusted and does not have it
		return hedgeReason{race: true}, true
	case h.fastest == 0 && fresh > 0:
		return hedgeReason{race: true}, fresh < h.racers
	}
	return hedgeReason{}, fresh == 0
}

// sendHedge sends the wants of a group that do not avoid it to the fastest peer that has
// none of them, has capacity, and is not too slow to be of help. It says whether there is
// one.
func (s *Scheduler) sendHedge(r *request, g hedgeGroup) bool {
	candidates := s.hedgeCandidates(r, g)
	unmeasured := min(s.bestRTT(), defaultRTT)
	for len(candidates) > 0 {
		p := s.fastest(candidates, unmeasured, nil)
		candidates = slices.DeleteFunc(candidates, func(o *peer) bool { return o == p })
		if helps := r.sent.Add(p.latency(0) / minWaitPart); !g.race && helps.After(s.now) {
			s.wakeBy(helps)
			continue
		}
		if !p.hasCapacity(r.class()) {
			continue
		}
		var (
			picked []*want
			cost   int
		)
		for _, w := range g.wants {
			if until := w.avoidedUntil(p.id); until.After(s.now) {
				s.wakeBy(until)
				continue
			}
			picked = append(picked, w)
			cost += w.Cost
		}
		if len(picked) > 0 {
			s.send(p, picked, cost, true)
			return true
		}
	}
	return false
}

// hedgeCandidates lists the eligible peers that have none of the wants: the trusted ones, if
// there are any. Slow peers take no part in a race.
func (s *Scheduler) hedgeCandidates(r *request, g hedgeGroup) []*peer {
	candidates := slices.DeleteFunc(s.eligible(r.kind, r.root), func(p *peer) bool {
		return slices.ContainsFunc(g.wants, func(w *want) bool { return w.isAt(p) })
	})
	if slices.ContainsFunc(candidates, s.trusts) {
		return slices.DeleteFunc(candidates, func(p *peer) bool { return !s.trusts(p) })
	}
	if g.race {
		return slices.DeleteFunc(candidates, func(p *peer) bool { return p.state == stateSlow })
	}
	return candidates
}
