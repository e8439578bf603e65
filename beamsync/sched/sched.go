// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	maxServedRoots = 128 // roots remembered as served by some peer
)

// Scheduler is the state machine. Its zero value is not usable; see New. It is not safe
// for concurrent use.
type Scheduler struct {
	step

	wants       map[WantID]*want  // every want that is neither satisfied nor cancelled
	queues      [classes][]*queue // by class, oldest first; none is empty
	inFlight    []*request        // ordered by id; exactly the requests that are in the inFlight of their peers
	peers       []*peer           // in the order in which they joined; ids differ
	servedRoots []common.Hash     // roots under which some peer served something, newest last; at most maxServedRoots
	lastID      RequestID         // of the newest request; ids count up from 1
	lastWake    time.Time         // of the newest WakeAt
}

// step is the part of the state that belongs to the Step in progress.
type step struct {
	now        time.Time
	actions    []Action
	sent       []*request // requests that were sent for queued wants; neither hedges nor probes
	wake       time.Time  // earliest time at which something is due; zero if nothing is
	hasUntried bool       // some peer is untried; set before dispatch
}

// New returns a scheduler with no wants and no peers.
func New() *Scheduler {
	return &Scheduler{wants: make(map[WantID]*want)}
}

// Step handles one event and returns the actions to carry out now, in order. Time must not
// go back. An event about a want, request or peer that is unknown is ignored: it crossed
// with an action or an event that ended these. Wants that a late reply satisfied are not
// requested again.
func (s *Scheduler) Step(now time.Time, ev Event) []Action {
	s.step = step{now: now}
	s.handle(ev)
	s.expire()
	s.hasUntried = slices.ContainsFunc(s.peers, func(p *peer) bool { return p.state == stateUntried })
	s.dispatch()
	s.hedge()
	s.probe()
	if !s.wake.Equal(s.lastWake) {
		s.lastWake = s.wake
		s.do(WakeAt{s.wake})
	}
	return s.actions
}

func (s *Scheduler) handle(ev Event) {
	switch ev := ev.(type) {
	case WantAdded:
		s.add(ev.Wants)
	case WantCancelled:
		for _, id := range ev.IDs {
			if w := s.wants[id]; w != nil {
				s.forget(w)
			}
		}
	case WantRaised:
		s.raise(ev.ID, ev.Class)
	case PeerJoined:
		s.join(ev)
	case PeerLeft:
		s.leave(ev.ID)
	case PeerHead:
		s.advance(ev.ID, ev.Number)
	case Responded:
		s.responded(ev)
	case Failed:
		s.failed(ev)
	case Tick:
	}
}

func (s *Scheduler) do(a Action) { s.actions = append(s.actions, a) }

// wakeBy makes sure that the next Step happens at t at the latest. A t that is not in the
// future needs no wake-up.
func (s *Scheduler) wakeBy(t time.Time) {
	if t.After(s.now) && (s.wake.IsZero() || t.Before(s.wake)) {
		s.wake = t
	}
}

func (s *Scheduler) add(wants []Want) {
	for _, v := range wants {
		if s.wants[v.ID] != nil {
			continue
		}
		v.Cost = max(v.Cost, 1)
		w := &want{Want: v, added: s.now}
		s.wants[v.ID] = w
		s.enqueue(false, w)
	}
}

func (s *Scheduler) raise(id WantID, c Class) {
	w := s.wants[id]
	if w == nil || c <= w.Class {
		return
	}
	if w.queue == nil {
		w.Class = c
		for _, r := range w.requests {
			r.highest = max(r.highest, c)
		}
		return
	}
	s.dequeue(w)
	w.Class = c
	s.enqueue(false, w)
}

// forget removes a want that is satisfied or cancelled. Its requests stay in flight.
func (s *Scheduler) forget(w *want) {
	if w.queue != nil {
		s.dequeue(w)
	}
	for _, r := range w.requests {
		r.drop(w)
	}
	w.requests = nil
	delete(s.wants, w.ID)
}

func (s *Scheduler) peer(id string) *peer {
	for _, p := range s.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (s *Scheduler) join(ev PeerJoined) {
	s.leave(ev.ID)
	s.peers = append(s.peers, newPeer(ev.ID, ev.ByHash))
}

// advance ends the back-offs and avoidances of a peer with a newer head: it may have
// received the state that it lacked.
func (s *Scheduler) advance(id string, head uint64) {
	p := s.peer(id)
	if p == nil || head <= p.head {
		return
	}
	p.head, p.backoffs = head, nil
	for _, w := range s.wants {
		w.avoid = slices.DeleteFunc(w.avoid, func(a avoidance) bool { return a.peer == id })
	}
}

// leave forgets a peer, cancels its requests and queues their wants again.
func (s *Scheduler) leave(id string) {
	p := s.peer(id)
	if p == nil {
		return
	}
	var unmet []*want
	for len(p.inFlight) > 0 {
		r := p.inFlight[0]
		s.do(Cancel{r.id})
		unmet = append(unmet, s.end(r)...)
	}
	s.requeue(unmet)
	s.peers = slices.DeleteFunc(s.peers, func(o *peer) bool { return o == p })
}

func (s *Scheduler) blame(p *peer, why Reason) { s.do(Blame{p.id, why}) }
