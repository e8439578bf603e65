// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"cmp"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// minShare is the least cost of a batch for which one more peer is used. Below it serving
// takes less than the round trip.
const minShare = 128

// dispatch sends queued wants, higher classes first, as far as peers have capacity.
func (s *Scheduler) dispatch() {
	for c := classes - 1; c >= 0; c-- {
		class := Class(c)
		if class == Background && slices.ContainsFunc(s.queues[Urgent], s.waitsForCapacity) {
			return // the next reply leads here again
		}
		for _, q := range slices.Clone(s.queues[class]) {
			s.drain(q)
			s.removeIfEmpty(q)
		}
	}
}

// waitsForCapacity says whether some want of a queue could be sent if a peer had capacity.
// Other wants wait for the end of a back-off or an avoidance, which may recur for ever.
func (s *Scheduler) waitsForCapacity(q *queue) bool {
	for _, p := range s.eligible(q.kind, q.root) {
		if slices.ContainsFunc(q.wants, func(w *want) bool { return !w.avoidedUntil(p.id).After(s.now) }) {
			return true
		}
	}
	return false
}

// drain sends the wants of one queue to the peers with the lowest eta. If such a peer lacks
// capacity, waiting for it is better than a slower peer: its share is counted as its load
// and stays queued, and the rest goes on to the next peer.
//
// Peers of last resort are sent only what no preferred peer can be sent. Peers that are not
// trusted get their chance by probes.
func (s *Scheduler) drain(q *queue) {
	hasCapacity := func(p *peer) bool { return p.hasCapacity(q.class) }
	preferred, lastResort := s.rank(q, s.eligible(q.kind, q.root))
	if q.class == Background {
		preferred = slices.DeleteFunc(preferred, func(p *peer) bool { return !hasCapacity(p) })
	}
	if len(preferred) == 0 {
		return
	}
	unmeasured := min(s.bestRTT(), defaultRTT)
	share := max(q.cost/s.countFast(preferred), minShare)
	var waiting []*want
	load := make(map[*peer]int)
	for len(q.wants) > 0 && slices.ContainsFunc(preferred, hasCapacity) {
		p := s.fastest(preferred, unmeasured, load)
		wants, cost := s.take(q, p, min(share, p.budget[q.kind]))
		switch {
		case len(wants) == 0: // all that are left avoid the peer
			preferred = slices.DeleteFunc(preferred, func(o *peer) bool { return o == p })
			if len(preferred) == 0 {
				preferred, lastResort = lastResort, nil
			}
		case hasCapacity(p):
			s.sent = append(s.sent, s.send(p, wants, cost, false))
		default:
			load[p]++
			waiting = append(waiting, wants...)
		}
	}
	s.putBack(q, waiting)
}

// rank splits the eligible peers in two. Peers of last resort are sent only the wants that
// avoid all preferred peers. They are: those that are not trusted; those that take a trip
// for each trie node of a path; and for background wants, which are single trie nodes, the
// fastest. If no peer would be preferred, all are.
func (s *Scheduler) rank(q *queue, eligible []*peer) (preferred, lastResort []*peer) {
	paths := q.kind == Node && q.class > Background
	for _, p := range eligible {
		if s.trusts(p) && (!paths || !p.byHash) {
			preferred = append(preferred, p)
		} else {
			lastResort = append(lastResort, p)
		}
	}
	if len(preferred) == 0 {
		return eligible, nil
	}
	if q.class == Background && q.wants[0].unanswered <= 1 {
		var fastest []*peer
		preferred, fastest = s.splitFastest(preferred)
		lastResort = append(fastest, lastResort...)
	}
	return preferred, lastResort
}

// eligible lists the peers that may be sent requests for that kind under that root now,
// with or without capacity. It asks for a wake-up at the end of the others' back-offs.
func (s *Scheduler) eligible(k Kind, root common.Hash) []*peer {
	var eligible []*peer
	for _, p := range s.peers {
		if p.disconnected || p.unsupported[k] {
			continue
		}
		if until := p.backedOffUntil(root); until.After(s.now) {
			s.wakeBy(until)
			continue
		}
		eligible = append(eligible, p)
	}
	return eligible
}

// countFast is how many of the peers have about the lowest latency. A batch is spread over
// so many.
func (s *Scheduler) countFast(peers []*peer) int {
	best, n := s.bestRTT(), 0
	for _, p := range peers {
		if p.latency(best) <= 2*best {
			n++
		}
	}
	return max(n, 1)
}

// splitFastest splits off the quarter of at least two peers with the lowest round trip, one
// at least.
func (s *Scheduler) splitFastest(peers []*peer) (rest, fastest []*peer) {
	if len(peers) < 2 {
		return peers, nil
	}
	unmeasured := s.bestRTT()
	slices.SortStableFunc(peers, func(a, b *peer) int {
		return cmp.Compare(a.latency(unmeasured), b.latency(unmeasured))
	})
	n := (len(peers) + 3) / 4
	return peers[n:], peers[:n:n]
}
