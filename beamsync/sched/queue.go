// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// queueKey is what wants have in common that can share a request.
type queueKey struct {
	class Class
	kind  Kind
	root  common.Hash
}

// queue holds the wants of one key that are in no request, oldest first. It exists only
// while it holds a want.
type queue struct {
	queueKey
	wants []*want
	cost  int // sum over wants
}

// enqueue puts wants that are in no queue and no request into the queues of their keys, in
// order. Wants that were queued before go to the front.
func (s *Scheduler) enqueue(front bool, wants ...*want) {
	fronts := make(map[*queue][]*want)
	for _, w := range wants {
		key := queueKey{w.Class, w.Kind, w.Root}
		q := s.queueOf(key)
		if q == nil {
			q = &queue{queueKey: key}
			s.queues[key.class] = append(s.queues[key.class], q)
		}
		if front {
			fronts[q] = append(fronts[q], w)
		} else {
			q.wants = append(q.wants, w)
		}
		q.cost += w.Cost
		w.queue = q
	}
	for q, wants := range fronts {
		q.wants = append(wants, q.wants...)
	}
}

func (s *Scheduler) queueOf(key queueKey) *queue {
	for _, q := range s.queues[key.class] {
		if q.queueKey == key {
			return q
		}
	}
	return nil
}

// dequeue takes one want out of its queue.
func (s *Scheduler) dequeue(w *want) {
	q := w.queue
	if i := slices.Index(q.wants, w); i >= 0 {
		q.wants = slices.Delete(q.wants, i, i+1)
		q.cost -= w.Cost
	}
	w.queue = nil
	s.removeIfEmpty(q)
}

// putBack returns taken wants to the front of their queue.
func (s *Scheduler) putBack(q *queue, wants []*want) {
	for _, w := range wants {
		w.queue = q
		q.cost += w.Cost
	}
	q.wants = append(wants, q.wants...)
}

func (s *Scheduler) removeIfEmpty(q *queue) {
	if len(q.wants) > 0 {
		return
	}
	s.queues[q.class] = slices.DeleteFunc(s.queues[q.class], func(o *queue) bool { return o == q })
}

// take removes from the queue what one request to the peer may hold: the oldest wants that
// do not avoid the peer, up to the given cost, at least one. The caller sends them or puts
// them back.
func (s *Scheduler) take(q *queue, p *peer, limit int) (taken []*want, cost int) {
	var skipped []*want // they avoid the peer
	i, freed := 0, 0
	for ; i < len(q.wants); i++ {
		w := q.wants[i]
		if until := w.avoidedUntil(p.id); until.After(s.now) {
			s.wakeBy(until)
			skipped = append(skipped, w)
			continue
		}
		if len(taken) > 0 && cost+p.cost(w) > limit {
			break
		}
		w.queue = nil
		taken = append(taken, w)
		cost += p.cost(w)
		freed += w.Cost
	}
	q.wants = q.wants[i:]
	if len(skipped) > 0 {
		q.wants = append(skipped, q.wants...)
	}
	q.cost -= freed
	return taken, cost
}
