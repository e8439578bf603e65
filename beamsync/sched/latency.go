package sched

import (
	"slices"
	"time"
)

const (
	// A request counts as slow when it takes longer than all but a twentieth of those before it
	// did ("The Tail at Scale", Dean and Barroso 2013), and a quarter more: hedges then cost a
	// twentieth of the bytes at most.
	slowRank   = 0.95
	slowMargin = 1.25

	keptSamples   = 32 // of a peer's latencies, the newest
	enoughSamples = 4  // from so many on they say when one is slow

	minHedgeDelay = 50 * time.Millisecond
)

// latencies is what the newest requests to a peer took, without the time that they waited
// there behind others.
type latencies struct {
	ring  [keptSamples]time.Duration
	count int           // of all samples ever; the last keptSamples are in ring
	slow  time.Duration // what only a twentieth of them exceed; 0 until enoughSamples
}

func (l *latencies) add(d time.Duration) {
	l.ring[l.count%keptSamples] = d
	l.count++
	if l.count < enoughSamples {
		return
	}
	sorted := l.ring
	kept := sorted[:min(l.count, keptSamples)]
	slices.Sort(kept)
	l.slow = kept[min(int(slowRank*float64(len(kept))), len(kept)-1)]
}

// patience is after what time a request to the peer counts as slow that has nothing before it;
// 0 if nothing is known of the peer.
func (p *peer) patience() time.Duration {
	switch {
	case p.rtt == 0:
		return 0
	case p.latencies.slow == 0:
		return max(2*p.rtt+4*p.dev, minHedgeDelay)
	}
	return max(time.Duration(slowMargin*float64(p.latencies.slow)), minHedgeDelay)
}

// prompt is after what time the promptest of the peers that are relied upon is slow; what others
// are measured by. 0 if there is none.
func (s *Scheduler) prompt() (best time.Duration) {
	for _, p := range s.peers {
		if d := p.patience(); s.relies(p) && (best == 0 || d < best) {
			best = d
		}
	}
	return best
}

// slowAt is from when on a request counts as slow, given the patience with the promptest peer:
// later than its own peer usually answers, or much later than that one would.
func (s *Scheduler) slowAt(r *request, prompt time.Duration) time.Time {
	const (
		much    = 8 // times as late as the promptest, of a peer that is relied upon
		unknown = 2 // and of another
	)
	patience := r.peer.patience()
	switch {
	case !s.relies(r.peer) && prompt > 0:
		patience = unknown * prompt
	case patience == 0 || !s.relies(r.peer):
		patience = 4 * defaultRTT
	case prompt > 0:
		patience = min(patience, much*prompt)
	}
	return r.sent.Add(min(patience+r.queued, baseDeadline-time.Millisecond))
}
