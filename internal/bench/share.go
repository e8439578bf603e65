// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// What is assumed of peers when work is shared out on paper (docs/architecture.md, "Wire facts": a geth
// serves one request after another, 20-40 ms each).
const (
	balRTT     = 100 * time.Millisecond
	balService = 30 * time.Millisecond

	storageSetCost = 2 // as the fetcher counts
)

// share lets the node's scheduler hand out wants of these costs to some peers that it has asked
// before, one batch after the other, in virtual time.
func share(batches [][]int, peers, bytes int) BALTrip {
	s := &sharing{scheduler: sched.New(), now: time.Unix(0, 0), free: make(map[string]time.Time), got: make(map[string]int)}
	for n := range peers {
		s.step(sched.PeerJoined{ID: fmt.Sprint(n)})
	}
	for range peers { // each gets to show that it answers
		s.batch([]int{1})
		s.pass(2 * time.Second)
	}
	clear(s.got)
	s.requests = 0
	begin, total := s.now, 0
	for _, costs := range batches {
		for _, cost := range costs {
			total += cost
		}
		s.batch(costs)
	}
	most := 0
	for _, cost := range s.got {
		most = max(most, cost)
	}
	return BALTrip{
		Peers: peers, Requests: s.requests, Seconds: s.now.Sub(begin).Seconds(),
		Most: int(float64(bytes) * float64(most) / float64(max(total, 1))),
	}
}

// sharing is one run of the scheduler against peers that know everything.
type sharing struct {
	scheduler *sched.Scheduler
	now       time.Time
	costs     []int // by want, from 1 on
	last      sched.WantID
	open      int // wants of the batch in hand that nobody answered
	satisfied map[sched.WantID]bool
	free      map[string]time.Time // when a peer has served all that it was asked
	got       map[string]int       // cost that it was asked
	requests  int
	coming    arrivals
}

// batch asks for wants of these costs at once and waits for all.
func (s *sharing) batch(costs []int) {
	var wants []sched.Want
	for _, cost := range costs {
		s.last++
		wants = append(wants, sched.Want{ID: s.last, Class: sched.Urgent, Kind: sched.Node, Cost: cost})
		s.costs = append(s.costs, cost)
	}
	s.open = len(wants)
	s.satisfied = make(map[sched.WantID]bool, len(wants))
	s.step(sched.WantAdded{Wants: wants})
	for s.open > 0 {
		s.next()
	}
}

// step tells the scheduler, and sees to it that what it sends is answered.
func (s *sharing) step(event sched.Event) {
	for _, action := range s.scheduler.Step(s.now, event) {
		switch a := action.(type) {
		case sched.Send:
			s.requests++
			served := s.now.Add(balRTT / 2)
			if s.free[a.Peer].After(served) {
				served = s.free[a.Peer]
			}
			served = served.Add(balService)
			s.free[a.Peer] = served
			for _, id := range a.Wants {
				s.got[a.Peer] += s.costs[id-1]
			}
			heap.Push(&s.coming, arrival{served.Add(balRTT / 2), sched.Responded{
				Request: a.Request, Satisfied: a.Wants, Bytes: 1000 * len(a.Wants), Items: len(a.Wants),
			}})
		case sched.WakeAt:
			if !a.Time.IsZero() {
				heap.Push(&s.coming, arrival{a.Time, sched.Tick{}})
			}
		}
	}
}

// pass lets time pass.
func (s *sharing) pass(d time.Duration) {
	until := s.now.Add(d)
	for len(s.coming) > 0 && !s.coming[0].at.After(until) {
		s.next()
	}
	s.now = until
}

// next lets the next thing happen.
func (s *sharing) next() {
	a := heap.Pop(&s.coming).(arrival)
	if a.at.After(s.now) {
		s.now = a.at
	}
	if reply, ok := a.event.(sched.Responded); ok {
		for _, id := range reply.Satisfied {
			if !s.satisfied[id] {
				s.satisfied[id] = true
				s.open--
			}
		}
	}
	s.step(a.event)
}

type arrival struct {
	at    time.Time
	event sched.Event
}

// arrivals is a heap, earliest first.
type arrivals []arrival

func (h arrivals) Len() int           { return len(h) }
func (h arrivals) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h arrivals) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *arrivals) Push(a any)        { *h = append(*h, a.(arrival)) }
func (h *arrivals) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	*h = (*h)[:last]
	return a
}
