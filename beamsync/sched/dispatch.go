package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// dispatch sends what is queued, higher classes first, as far as peers have room.
func (s *Scheduler) dispatch() {
	for c := classes - 1; c >= 0; c-- {
		class := Class(c)
		if class == Background && slices.ContainsFunc(s.queues[Urgent], s.waitsForRoom) {
			return // a reply will bring us back here
		}
		for _, q := range slices.Clone(s.queues[class]) {
			s.drain(q)
			s.prune(q)
		}
	}
}

// waitsForRoom says whether something in a queue could go to a peer if that had room. The rest waits until peers
// that did not have it are asked again, perhaps for ever.
func (s *Scheduler) waitsForRoom(q *queue) bool {
	for _, p := range s.able(q.kind, q.root) {
		if slices.ContainsFunc(q.wants, func(w *want) bool { return !w.avoidedUntil(p.id).After(s.now) }) {
			return true
		}
	}
	return false
}

// drain sends the wants of one queue to the peers that are expected to answer first. If
// that is a peer without room, they are better off waiting for it than going to a slower
// one: a share is counted as its load and stays queued, and so on with the rest.
//
// Peers that are not relied upon are asked only for what nobody else can be: see probe.
func (s *Scheduler) drain(q *queue) {
	roomy := func(p *peer) bool { return p.room(q.class) }
	able := s.able(q.kind, q.root)
	able, spared := s.spare(q, able)
	if q.class == Background {
		able = slices.DeleteFunc(able, func(p *peer) bool { return !roomy(p) })
	}
	if len(able) == 0 {
		return
	}
	unknown := min(s.hopeful(), defaultRTT)
	share := max(q.cost/s.quick(able), minShare)
	var held []*want
	load := make(map[*peer]int)
	for len(q.wants) > 0 && slices.ContainsFunc(able, roomy) {
		p := s.fastest(able, unknown, load)
		wants, cost := s.take(q, p, min(share, p.budget[q.kind]))
		switch {
		case len(wants) == 0: // all that is left avoids it
			able = slices.DeleteFunc(able, func(o *peer) bool { return o == p })
			if len(able) == 0 {
				able, spared = spared, nil
			}
		case roomy(p):
			s.sent = append(s.sent, s.send(p, wants, cost, false))
		default:
			load[p]++
			held = append(held, wants...)
		}
	}
	s.hold(q, held)
}

// spare sets apart the peers that only those wants go to that avoid all others: those not
// relied upon, if there are others, those that take a trip for each node of a path, and for
// background, which asks for single nodes, the fastest.
func (s *Scheduler) spare(q *queue, able []*peer) (rest, spared []*peer) {
	paths := q.kind == Node && q.class > Background
	for _, p := range able {
		if s.relies(p) && (!paths || !p.byHash) {
			rest = append(rest, p)
		} else {
			spared = append(spared, p)
		}
	}
	if len(rest) == 0 {
		return able, nil
	}
	if q.class == Background && q.wants[0].misses <= 1 {
		var fastest []*peer
		rest, fastest = s.spareFastest(rest)
		spared = append(fastest, spared...)
	}
	return rest, spared
}

// able lists the peers that may be asked for that kind under that root now, whether
// they have room or not, and sees to it that those in back-off are asked when it ends.
func (s *Scheduler) able(k Kind, root common.Hash) []*peer {
	var able []*peer
	for _, p := range s.peers {
		if p.gone || p.lack[k] {
			continue
		}
		if until := p.blockedUntil(root); until.After(s.now) {
			s.wakeBy(until)
			continue
		}
		able = append(able, p)
	}
	return able
}

// fastest is the peer that is expected to answer first, with room or not, given how many
// requests each would have to answer beside those in flight, and the latency to assume of
// those never asked.
func (s *Scheduler) fastest(able []*peer, unknown time.Duration, load map[*peer]int) *peer {
	var (
		best    *peer
		bestETA time.Duration
	)
	for _, p := range able {
		if eta := p.eta(s.now, unknown, load[p]); best == nil || eta < bestETA {
			best, bestETA = p, eta
		}
	}
	return best
}

// quick is how many of the peers have about the lowest latency: a batch is spread over
// these.
func (s *Scheduler) quick(able []*peer) int {
	unknown, n := s.hopeful(), 0
	for _, p := range able {
		if p.latency(unknown) <= 2*unknown {
			n++
		}
	}
	return max(n, 1)
}

// hopeful is the round trip assumed of a peer that was never asked: that of the best one.
func (s *Scheduler) hopeful() time.Duration {
	var best time.Duration
	for _, p := range s.peers {
		if p.rtt > 0 && p.lapses == 0 && (best == 0 || p.rtt < best) {
			best = p.rtt
		}
	}
	if best == 0 {
		return defaultRTT
	}
	return best
}

// spareFastest sets apart the quarter of the peers, one at least, with the lowest round
// trip, unless there is only one that answers.
func (s *Scheduler) spareFastest(able []*peer) (rest, spared []*peer) {
	answering := 0
	for _, p := range able {
		if p.lapses == 0 {
			answering++
		}
	}
	if answering < 2 {
		return able, nil
	}
	unknown := s.hopeful()
	slices.SortStableFunc(able, func(a, b *peer) int {
		return cmp.Compare(a.latency(unknown), b.latency(unknown))
	})
	n := (len(able) + 3) / 4
	return able[n:], able[:n:n]
}

// send puts wants, which are in no queue, in flight to a peer that has room.
func (s *Scheduler) send(p *peer, wants []*want, cost int, hedge bool) *request {
	s.lastID++
	r := &request{
		id:    s.lastID,
		peer:  p,
		kind:  wants[0].Kind,
		root:  wants[0].Root,
		wants: wants,
		cost:  cost,
		hedge: hedge,
		sent:  s.now,

		queued: p.backlog(len(p.flights)),
	}
	r.deadline = s.now.Add(min(baseDeadline+2*p.latency(s.hopeful())+r.queued, maxDeadline))
	ids := make([]WantID, len(wants))
	for i, w := range wants {
		ids[i] = w.ID
		r.highest = max(r.highest, w.Class)
		w.flights = append(w.flights, r)
	}
	s.inflight = append(s.inflight, r)
	p.flights = append(p.flights, r)
	s.wakeBy(r.deadline)
	s.do(Send{Request: r.id, Peer: p.id, Kind: r.kind, Root: r.root, Wants: ids, Hedge: hedge})
	return r
}
