package sched

import (
	"fmt"
	"slices"
)

// check verifies the invariants that are written at the fields. Tests and fuzzing call
// it after every Step.
func (s *Scheduler) check() error {
	queued := make(map[*want]int)
	for c, queues := range s.queues {
		for _, q := range queues {
			if int(q.class) != c || len(q.wants) == 0 {
				return fmt.Errorf("queue of class %v with %d wants among those of class %v", q.class, len(q.wants), Class(c))
			}
			cost := 0
			for _, w := range q.wants {
				if w.queue != q || w.Class != q.class || w.Kind != q.kind || w.Root != q.root {
					return fmt.Errorf("want %d is in a queue that is not its own", w.ID)
				}
				queued[w]++
				cost += w.Cost
			}
			if cost != q.cost {
				return fmt.Errorf("queue costs %d and says %d", cost, q.cost)
			}
		}
	}
	for id, w := range s.wants {
		if err := s.checkWant(id, w, queued[w]); err != nil {
			return err
		}
	}
	for w := range queued {
		if s.wants[w.ID] != w {
			return fmt.Errorf("want %d is queued and not known", w.ID)
		}
	}
	if err := s.checkRequests(); err != nil {
		return err
	}
	return s.checkPeers()
}

func (s *Scheduler) checkWant(id WantID, w *want, queues int) error {
	if w.ID != id {
		return fmt.Errorf("want %d is known as %d", w.ID, id)
	}
	if queues > 1 || len(w.flights) > maxFlights || (queues == 1) == (len(w.flights) > 0) || (queues == 1) != (w.queue != nil) {
		return fmt.Errorf("want %d is in %d queues and %d requests", id, queues, len(w.flights))
	}
	for i, r := range w.flights {
		if slices.ContainsFunc(w.flights[:i], func(o *request) bool { return o.peer == r.peer || o.id >= r.id }) {
			return fmt.Errorf("want %d is twice in flight to %s, or its requests are not in order", id, r.peer.id)
		}
		if !slices.Contains(s.inflight, r) || !slices.Contains(r.wants, w) {
			return fmt.Errorf("want %d thinks that it is in request %d", id, r.id)
		}
	}
	return nil
}

func (s *Scheduler) checkRequests() error {
	for i, r := range s.inflight {
		if i > 0 && s.inflight[i-1].id >= r.id {
			return fmt.Errorf("request %d follows %d", r.id, s.inflight[i-1].id)
		}
		if !slices.Contains(s.peers, r.peer) || !slices.Contains(r.peer.flights, r) {
			return fmt.Errorf("request %d is in flight to %s, which does not know it", r.id, r.peer.id)
		}
		if !r.deadline.After(s.now) {
			return fmt.Errorf("request %d has outlived its deadline", r.id)
		}
		for _, w := range r.wants {
			if w.Class > r.highest {
				return fmt.Errorf("request %d holds a want of class %v and says %v", r.id, w.Class, r.highest)
			}
			if s.wants[w.ID] != w || !slices.Contains(w.flights, r) || w.Kind != r.kind || w.Root != r.root {
				return fmt.Errorf("request %d holds want %d, which is not in it", r.id, w.ID)
			}
		}
	}
	return nil
}

func (s *Scheduler) checkPeers() error {
	total := 0
	for i, p := range s.peers {
		total += len(p.flights)
		if len(p.flights) > maxWindow {
			return fmt.Errorf("peer %s has %d requests in flight", p.id, len(p.flights))
		}
		if slices.Contains(s.liars, p.id) {
			return fmt.Errorf("peer %s is a liar", p.id)
		}
		if slices.Min(p.budget[:]) < minBudget || slices.Max(p.budget[:]) > p.mostBudget() || p.score <= 0 || p.score > 1 || p.grown < minWindow || p.grown > maxWindow || len(p.backoffs) > maxBackoffs {
			return fmt.Errorf("peer %s: budgets %d, window %d, score %f, %d back-offs", p.id, p.budget, p.grown, p.score, len(p.backoffs))
		}
		for _, o := range s.peers[:i] {
			if o.id == p.id {
				return fmt.Errorf("two peers %s", p.id)
			}
		}
	}
	if total != len(s.inflight) {
		return fmt.Errorf("%d requests in flight, and peers have %d", len(s.inflight), total)
	}
	return nil
}
