package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// lot names wants that can share a request.
type lot struct {
	class Class
	kind  Kind
	root  common.Hash
}

// want is a Want and where it is: in exactly one queue, or in one or more requests.
type want struct {
	Want
	added   time.Time
	queue   *queue     // nil if and only if flights is not empty
	flights []*request // oldest first, at most maxFlights, to different peers
	misses  int        // replies that left it out
	avoid   []avoidance
}

// avoidance keeps a want from a peer until a time. Peers are named, not pointed to: one
// that leaves and returns is still avoided.
type avoidance struct {
	peer  string
	until time.Time
}

// avoidedUntil is when the want may go to that peer again; zero or past: now.
func (w *want) avoidedUntil(peer string) time.Time {
	for i := range w.avoid {
		if w.avoid[i].peer == peer {
			return w.avoid[i].until
		}
	}
	return time.Time{}
}

// miss notes that the peer answered without the want.
func (w *want) miss(now time.Time, peer string) {
	until := now.Add(backoffFor(w.misses))
	w.avoid = slices.DeleteFunc(w.avoid, func(a avoidance) bool { return a.peer == peer || !a.until.After(now) })
	w.avoid = append(w.avoid, avoidance{peer: peer, until: until})
}

// queue holds the wants of one lot, oldest first. It exists only while it holds some.
type queue struct {
	lot
	wants []*want
	cost  int // sum over wants
}

// request is one exchange in flight.
type request struct {
	id       RequestID
	peer     *peer // which has it in flights
	kind     Kind
	root     common.Hash
	wants    []*want // those still waited for; each has this request in flights
	cost     int
	hedge    bool
	highest  Class // of its wants, also of those not waited for any longer
	sent     time.Time
	queued   time.Duration // that it is expected to wait at the peer behind others
	deadline time.Time     // after sent
}

// class is that of its most important want, lowest if nobody waits for any.
func (r *request) class() Class {
	if len(r.wants) == 0 {
		return Background
	}
	return r.highest
}

func (r *request) drop(w *want) {
	if i := slices.Index(r.wants, w); i >= 0 {
		r.wants = slices.Delete(r.wants, i, i+1)
	}
}

// enqueue puts wants that are in no queue and no request into their lots' queues, in order; in
// front if they have been there before.
func (s *Scheduler) enqueue(front bool, wants ...*want) {
	fronts := make(map[*queue][]*want)
	for _, w := range wants {
		key := lot{w.Class, w.Kind, w.Root}
		q := s.queueOf(key)
		if q == nil {
			q = &queue{lot: key}
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

func (s *Scheduler) queueOf(key lot) *queue {
	for _, q := range s.queues[key.class] {
		if q.lot == key {
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
	s.prune(q)
}

// hold puts wants that were taken back in front of the queue.
func (s *Scheduler) hold(q *queue, held []*want) {
	for _, w := range held {
		w.queue = q
		q.cost += w.Cost
	}
	q.wants = append(held, q.wants...)
}

// prune forgets a queue that has become empty.
func (s *Scheduler) prune(q *queue) {
	if len(q.wants) > 0 {
		return
	}
	s.queues[q.class] = slices.DeleteFunc(s.queues[q.class], func(o *queue) bool { return o == q })
}

// take removes from the queue what one request to the peer may hold: the oldest wants
// that do not avoid it, up to the given cost, one at least. It is in no request yet.
func (s *Scheduler) take(q *queue, p *peer, limit int) (taken []*want, cost int) {
	var passed []*want // they avoid the peer
	i, freed := 0, 0
	for ; i < len(q.wants); i++ {
		w := q.wants[i]
		if until := w.avoidedUntil(p.id); until.After(s.now) {
			s.wakeBy(until)
			passed = append(passed, w)
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
	if len(passed) > 0 {
		q.wants = append(passed, q.wants...)
	}
	q.cost -= freed
	return taken, cost
}
