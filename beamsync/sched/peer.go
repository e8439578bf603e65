package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// A geth peer serves one request after another, 20-40 ms each; 8-16 in flight hide
	// 100 ms of round trip completely (measured, DESIGN section 7). More than that waits there
	// instead of here: it costs no trip when the peer turns out to be quicker, and nothing
	// when it does not, as long as nothing more important comes.
	minWindow   = 8
	startWindow = 16
	maxWindow   = 64
	maxQueueing = 500 * time.Millisecond // what may wait at a peer, beyond what keeps it busy

	// About 430 deduplicated paths were never cut by the 1024 lookups of a geth server,
	// and requests of 1024 paths were slower as well as cut (measured, DESIGN section 7).
	startBudget = 430
	minBudget   = 32
	maxBudget   = 512

	// A server of GetNodeData gives 1024 blobs at most; each costs it one lookup.
	hashBudget = 1024

	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 8 * time.Second
	maxBackoffs  = 64 // remembered per peer; roots grow old in 128 blocks

	defaultRTT     = 100 * time.Millisecond // of a peer when none has been measured
	defaultService = 10 * time.Millisecond  // between two replies of a busy peer

	leniency  = 3  // empty answers in a row that say nothing about a root that was served before
	maxProofs = 16 // remembered per peer; blocks are collected side by side, each under its own root

	uselessAfter = 8 // rounds of empty answers under roots that others served

	tooSlow = time.Second // for a peer to be relied upon while others are not known yet

	provenScore = 0.5 // from there on a peer is relied upon: six failures in a row end what was good
)

// peer is the progress of one peer: what it is doing and what to expect of it.
type peer struct {
	id string

	byHash bool // it serves state by hash only

	lack [kinds]bool // kinds that it said it does not serve
	gone bool        // a request said so; PeerLeft will follow
	head uint64      // newest block that it announced

	flights []*request // in flight, oldest first; never more than maxWindow, and none is
	// added beyond window()

	pace
	probation

	budget [kinds]int // cost that a request of its may have; minBudget..mostBudget()

	proofs []proof // of the roots that it served last, newest last; at most maxProofs

	backoffs []backoff // one per root at most
	empties  int       // rounds of empty answers in a row, see uselessAfter
	lapses   int       // timeouts in a row
	lapsed   time.Time // when it was last blamed for one
}

// pace is how quick a peer is. Latencies are without the time that a request waited at the peer
// behind others.
type pace struct {
	rtt       time.Duration // smoothed, as RFC 6298; 0 until measured
	dev       time.Duration // smoothed mean deviation
	minRTT    time.Duration // lowest so far
	latencies latencies
	service   time.Duration // smoothed time between two replies of a full pipe; 0 until measured
	last      time.Time     // of its last reply
	grown     int           // requests that it has shown to bear at a time; minWindow..maxWindow
}

// probation is whether a peer can be relied upon.
type probation struct {
	tried   bool      // some request to it has ended
	useful  bool      // it served something since it last failed for good
	score   float64   // smoothed share of requests that were of use, 1 at first; in (0, 1]
	probes  int       // copies sent to it since it was last of use
	probeAt time.Time // no earlier than then it gets the next one
}

// proof is that a peer served a root.
type proof struct {
	root     common.Hash
	lenience int // empty answers under it that are still forgiven
}

// backoff keeps a peer from being asked under a root until a time.
type backoff struct {
	root  common.Hash
	since time.Time
	until time.Time
	count int // at least 1
}

func newPeer(id string, byHash bool) *peer {
	p := &peer{
		id: id, byHash: byHash, budget: [kinds]int{startBudget, startBudget},
		pace: pace{grown: startWindow}, probation: probation{score: 1},
	}
	if byHash {
		p.budget[Node] = hashBudget
	}
	return p
}

func (p *peer) mostBudget() int {
	if p.byHash {
		return hashBudget
	}
	return maxBudget
}

// cost is what a want adds to a request to the peer.
func (p *peer) cost(w *want) int {
	if p.byHash && w.Kind == Node {
		return 1
	}
	return w.Cost
}

// proven says whether the peer answers, mostly usefully.
func (p *peer) proven() bool { return p.useful && p.lapses == 0 && p.score >= provenScore }

// relies says whether a peer is relied upon: it is proven and, as long as there are others of which
// nothing is known, not too slow: one of these may well be quicker.
func (s *Scheduler) relies(p *peer) bool { return p.proven() && (p.rtt <= tooSlow || !s.strangers) }

// pipe is how many requests keep the peer busy during one round trip, within bounds.
func (p *peer) pipe() int {
	if p.service <= 0 {
		return minWindow
	}
	return min(max(int(p.minRTT/p.service)+2, minWindow), p.grown)
}

// window is how many requests may be in flight: the pipe and what the peer works off soon.
func (p *peer) window() int {
	if p.service <= 0 {
		return p.grown
	}
	return min(p.pipe()+int(maxQueueing/p.service), p.grown)
}

// room says whether a request of that class may be added. Lower classes fill no more than the
// pipe and leave slots of it free, so that a higher one finds it short.
func (p *peer) room(c Class) bool {
	limit := p.pipe()
	switch c {
	case Urgent:
		limit = p.window()
	case RPC:
		limit--
	case Predictive:
		limit -= 2
	case Background:
		if p.busyFor(RPC) {
			return false
		}
		limit /= 2
	}
	return len(p.flights) < limit
}

// busyFor says whether a request of that class or a higher one is in flight.
func (p *peer) busyFor(c Class) bool {
	return slices.ContainsFunc(p.flights, func(r *request) bool { return r.class() >= c })
}

// latency is the round trip to expect, given that of peers never measured.
func (p *peer) latency(unknown time.Duration) time.Duration {
	if p.rtt == 0 {
		return unknown
	}
	return p.rtt
}

// backlog is the time that the peer needs for so many requests.
func (p *peer) backlog(requests int) time.Duration {
	if p.service == 0 {
		return time.Duration(requests) * defaultService
	}
	return time.Duration(requests) * p.service
}

// eta is how long a request sent after so many more is expected to take; the measure by
// which peers are chosen. A peer that keeps an older request waiting is as slow as that
// one is old.
func (p *peer) eta(now time.Time, unknown time.Duration, more int) time.Duration {
	d := p.latency(unknown)
	if len(p.flights) > 0 {
		d = max(d, now.Sub(p.flights[0].sent))
	}
	d += p.backlog(len(p.flights) + more)
	return time.Duration(float64(d) / max(p.score, 0.05))
}

// sample takes the time that a request took into the estimates.
func (p *peer) sample(now time.Time, r *request) {
	took := max(now.Sub(r.sent), time.Microsecond)
	alone := max(took-r.queued, min(took, p.minRTT)) // it was quicker than thought, then
	if p.rtt == 0 {
		p.rtt, p.dev, p.minRTT = took, took/2, took
	} else {
		p.dev = (3*p.dev + (alone - p.rtt).Abs()) / 4
		if alone < p.rtt/2 { // it has recovered
			p.rtt = (p.rtt + alone) / 2
		} else {
			p.rtt = (7*p.rtt + alone) / 8
		}
		p.minRTT = min(p.minRTT, took)
	}
	p.latencies.add(alone)
	if !r.sent.Add(p.minRTT).After(p.last) { // it waited behind another: the gap is what serving it took
		gap := max(now.Sub(p.last), 100*time.Microsecond)
		if p.service == 0 {
			p.service = gap
		} else {
			p.service = (7*p.service + gap) / 8
		}
	}
	p.last = now
}

// rate takes one outcome, 1 useful to 0 not at all, into the score.
func (p *peer) rate(outcome float64) {
	p.score = max((7*p.score+outcome)/8, 0.01)
}

// serve notes a reply that was of use: the peer is relied upon, and bears one request more.
func (p *peer) serve() {
	p.rate(1)
	p.score = max(p.score, provenScore)
	p.useful, p.probes, p.empties = true, 0, 0
	p.grown = min(p.grown+1, maxWindow)
}

// lapse notes a request that was not answered in time: it may have been too much.
func (p *peer) lapse(took time.Duration) {
	p.rate(0)
	p.rtt = max(p.rtt, took)
	p.lapses++
	p.grown = max(p.grown/2, minWindow)
}

// resize adapts the budget to a reply: it was cut, or it held all of a large request.
func (p *peer) resize(k Kind, cost int, cut bool) {
	switch b := &p.budget[k]; {
	case cut:
		*b = max(min(*b, cost)*3/4, minBudget)
	case cost > *b*3/4:
		*b = min(*b+16, p.mostBudget())
	}
}

// blockedUntil is when the peer may be asked under that root again; zero or past: now.
func (p *peer) blockedUntil(root common.Hash) time.Time {
	for i := range p.backoffs {
		if p.backoffs[i].root == root {
			return p.backoffs[i].until
		}
	}
	return time.Time{}
}

// backOff lengthens the back-off under a root, once for all requests that were in
// flight together. It says whether this one counted.
func (p *peer) backOff(now time.Time, root common.Hash, sent time.Time) bool {
	for i := range p.backoffs {
		b := &p.backoffs[i]
		if b.root != root {
			continue
		}
		if sent.Before(b.since) {
			return false
		}
		b.count++
		b.since, b.until = now, now.Add(backoffFor(b.count))
		return true
	}
	if len(p.backoffs) == maxBackoffs {
		p.backoffs = slices.Delete(p.backoffs, 0, 1)
	}
	p.backoffs = append(p.backoffs, backoff{root: root, since: now, until: now.Add(backoffFor(1)), count: 1})
	return true
}

// prove notes that the peer served a root.
func (p *peer) prove(root common.Hash) {
	p.proofs = slices.DeleteFunc(p.proofs, func(o proof) bool { return o.root == root })
	if len(p.proofs) == maxProofs {
		p.proofs = slices.Delete(p.proofs, 0, 1)
	}
	p.proofs = append(p.proofs, proof{root, leniency})
}

// lenient says whether an empty answer under a root is about the wants only, and uses up some
// of the peer's credit: a root that it served can still grow too old for it.
func (p *peer) lenient(root common.Hash) bool {
	for i := range p.proofs {
		if p.proofs[i].root == root && p.proofs[i].lenience > 0 {
			p.proofs[i].lenience--
			return true
		}
	}
	return false
}

// forgive ends the back-off under a root.
func (p *peer) forgive(root common.Hash) {
	p.backoffs = slices.DeleteFunc(p.backoffs, func(b backoff) bool { return b.root == root })
}

// backoffFor is the length of the n-th back-off in a row, n from 1.
func backoffFor(n int) time.Duration {
	return min(firstBackoff<<min(n-1, 10), maxBackoff)
}
