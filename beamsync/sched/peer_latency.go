// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"
)

const (
	keptSamples   = 32 // latencies remembered for each peer, the newest
	enoughSamples = 4  // latencies from which on slow is defined

	// A request counts as slow when it takes longer than 95 % of those before it did and a
	// quarter more ("The Tail at Scale", Dean and Barroso 2013): hedges then cost a twentieth
	// of the bytes at most.
	slowQuantile = 0.95
	slowMargin   = 1.25
)

// latencies is how fast a peer is. Latencies exclude the time that a request waited at the
// peer behind others.
type latencies struct {
	rtt     time.Duration // smoothed, as in RFC 6298; 0 until measured
	dev     time.Duration // smoothed mean deviation of rtt
	minRTT  time.Duration // lowest of all replies; 0 before the first one
	service time.Duration // smoothed time between two replies of a busy peer; 0 until measured
	last    time.Time     // of its newest reply
	samples samples
}

// samples is the newest latencies and their upper quantile.
type samples struct {
	ring  [keptSamples]time.Duration // the newest ones
	count int                        // of all ever added
	slow  time.Duration              // slowQuantile of ring; 0 until enoughSamples
}

func (s *samples) add(d time.Duration) {
	s.ring[s.count%keptSamples] = d
	s.count++
	if s.count < enoughSamples {
		return
	}
	sorted := s.ring
	kept := sorted[:min(s.count, keptSamples)]
	slices.Sort(kept)
	s.slow = kept[min(int(slowQuantile*float64(len(kept))), len(kept)-1)]
}

// sample adds the time that a request took to the estimates.
func (l *latencies) sample(now time.Time, r *request) {
	took := max(now.Sub(r.sent), time.Microsecond)
	alone := max(took-r.queued, min(took, l.minRTT)) // it did not wait as long as expected if it is below minRTT
	if l.rtt == 0 {
		l.rtt, l.dev, l.minRTT = took, took/2, took
	} else {
		l.dev = (3*l.dev + (alone - l.rtt).Abs()) / 4
		if alone < l.rtt/2 { // the peer has recovered
			l.rtt = (l.rtt + alone) / 2
		} else {
			l.rtt = (7*l.rtt + alone) / 8
		}
		if l.minRTT == 0 || took < l.minRTT { // it is not known if the first request timed out
			l.minRTT = took
		}
	}
	l.samples.add(alone)
	if !r.sent.Add(l.minRTT).After(l.last) { // it waited behind another request, so the gap is its service time
		gap := max(now.Sub(l.last), 100*time.Microsecond)
		if l.service == 0 {
			l.service = gap
		} else {
			l.service = (7*l.service + gap) / 8
		}
	}
	l.last = now
}
