package sched

import (
	"slices"
	"time"
)

const (
	// maxFlights is how many requests a want may be in at a time, maxHedged how many of them
	// if it went to a peer that is relied upon. As long as it did not, those that do not answer must not
	// keep it from the one that would.
	maxFlights = 32
	maxHedged  = 3

	// raceCost bounds what a race costs: what is wanted is sent to as many peers as that allows,
	// at most maxRacers. One or two will not do where most are of no use.
	raceCost  = 1024
	minRacers = 2
	maxRacers = 6

	// A slow peer helps those that have waited for a fourth of what it takes already.
	helpful = 4

	probeCost   = 64 // of a copy that is sent to find out about a peer
	maxProbes   = 8  // at a time, those aside that take long
	firstProbes = time.Second
	maxProbing  = time.Minute      // between two of them to a peer that is of no use
	stale       = 10 * time.Second // after that a slow peer may have recovered
)

// reinforce sends copies of what an urgent or rpc want waits for to more peers, where those that
// have it
//
//   - are relied upon, and slow: a hedge, and another one if that is slow too;
//   - are not, and slow: a hedge to one that is;
//   - are not, and nobody is: a race. It goes on with others as they fail, until one is of use.
func (s *Scheduler) reinforce() {
	var (
		prompt       = s.prompt()
		hedges, cost int
	)
	for _, r := range s.inflight {
		switch {
		case r.hedge && len(r.wants) > 0:
			hedges++
		case r.hedge:
		case r.class() >= RPC:
			cost += r.cost
		}
	}
	racers := min(max(raceCost/max(cost, 1), minRacers), maxRacers)
	spare := 4 + len(s.inflight)/4 - hedges
	for i := 0; i < len(s.inflight); i++ { // it grows
		r := s.inflight[i]
		if r.class() < RPC {
			continue
		}
		slowAt := s.slowAt(r, prompt)
		if slowAt.After(s.now) {
			s.wakeBy(slowAt)
			if s.relies(r.peer) {
				continue
			}
		}
		for {
			v := s.view(r, prompt, racers)
			if len(v.wants) == 0 || v.hedged && spare <= 0 || !s.copy(r, v) {
				break
			}
			spare--
		}
	}
}

// view is what is the same for some wants of a request: how they are in flight.
type view struct {
	wants  []*want
	hedged bool // some peer that is relied upon has them
	racing bool // nobody needs to be late for another to be asked
}

// view picks the wants of a request that another one should be sent for, if it is their newest.
func (s *Scheduler) view(r *request, prompt time.Duration, racers int) (v view) {
	for _, w := range r.wants {
		if w.Class < RPC || len(w.flights) >= maxFlights || w.flights[len(w.flights)-1] != r {
			continue
		}
		need, hedged, racing := s.needsCopy(w, prompt, racers)
		if !need {
			continue
		}
		if len(v.wants) == 0 {
			v.hedged, v.racing = hedged, racing
		}
		if v.hedged == hedged && v.racing == racing {
			v.wants = append(v.wants, w)
		}
	}
	return v
}

// needsCopy says whether another request should be sent for a want in flight. If a peer that is relied
// upon has it, those that are not do not count: they were sent copies to find out about them.
func (s *Scheduler) needsCopy(w *want, prompt time.Duration, racers int) (need, hedged, racing bool) {
	var (
		fresh, relied, reliedFresh int
		orphaned                   = true // the request that it was queued for is over, copies are left
	)
	for _, f := range w.flights {
		isFresh := s.slowAt(f, prompt).After(s.now)
		orphaned = orphaned && f.hedge
		if isFresh {
			fresh++
		}
		if s.relies(f.peer) {
			relied++
			if isFresh {
				reliedFresh++
			}
		}
	}
	switch {
	case relied > 0:
		return reliedFresh == 0 && relied < maxHedged, true, false
	case prompt > 0 && orphaned: // somebody is relied upon, and does not have it
		return true, false, true
	case prompt == 0 && fresh > 0:
		return fresh < racers, false, true
	}
	return fresh == 0, false, false
}

// copy sends wants of a request to the best peer that has none of them, which they do not avoid
// and that is not so slow itself that it would not help, if it has room.
func (s *Scheduler) copy(r *request, v view) bool {
	able := slices.DeleteFunc(s.able(r.kind, r.root), func(p *peer) bool {
		return slices.ContainsFunc(v.wants, func(w *want) bool { return w.with(p) })
	})
	if slices.ContainsFunc(able, s.relies) {
		able = slices.DeleteFunc(able, func(p *peer) bool { return !s.relies(p) })
	} else if v.racing { // not with those of which it is known that they take long
		able = slices.DeleteFunc(able, (*peer).proven)
	}
	for len(able) > 0 {
		p := s.fastest(able, min(s.hopeful(), defaultRTT), nil)
		able = slices.DeleteFunc(able, func(o *peer) bool { return o == p })
		if helps := r.sent.Add(p.latency(0) / helpful); !v.racing && helps.After(s.now) {
			s.wakeBy(helps)
			continue
		}
		if !p.room(r.class()) {
			continue
		}
		var (
			picked []*want
			cost   int
		)
		for _, w := range v.wants {
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

// with says whether the want is in flight to the peer.
func (w *want) with(p *peer) bool {
	return slices.ContainsFunc(w.flights, func(r *request) bool { return r.peer == p })
}

// doubtful says whether it is worth finding out about a peer: it is not relied upon, or so slow that
// it is not asked, and that is long ago.
func (s *Scheduler) doubtful(p *peer) bool {
	if p.gone || len(p.flights) > 0 || p.probeAt.After(s.now) {
		return false
	}
	return !s.relies(p) || p.rtt > 2*s.hopeful() && s.now.Sub(p.last) > max(stale, 8*p.rtt)
}

// probe sends to doubtful peers a copy of a part of what has just been sent to one that is relied
// upon: so they can show what they are worth, and nobody waits for it.
func (s *Scheduler) probe() {
	if len(s.sent) == 0 {
		return
	}
	probing := 0
	for _, p := range s.peers {
		if !s.relies(p) && len(p.flights) > 0 && s.now.Sub(p.flights[0].sent) < firstProbes {
			probing++
		}
	}
	for _, p := range s.peers {
		if probing >= maxProbes {
			return
		}
		if s.doubtful(p) && s.probeOne(p) {
			probing++
		}
	}
}

func (s *Scheduler) probeOne(p *peer) bool {
	for _, r := range s.sent {
		if !s.relies(r.peer) || p.lack[r.kind] || p.blockedUntil(r.root).After(s.now) {
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
			if len(w.flights) < maxFlights && !w.with(p) && !w.avoidedUntil(p.id).After(s.now) {
				picked = append(picked, w)
				cost += w.Cost
			}
		}
		if len(picked) > 0 {
			p.probeAt = s.now.Add(min(firstProbes<<min(p.probes, 10), maxProbing))
			p.probes++
			s.send(p, picked, cost, true)
			return true
		}
	}
	return false
}
