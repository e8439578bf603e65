// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// maxCuts is how many replies in a row may cut off a want before the want avoids the peer
// as if the peer lacked it. By then the budget of the peer is a third of what it was.
const maxCuts = 4

// responded ends a request that got a reply.
func (s *Scheduler) responded(ev Responded) {
	var unmet []*want
	r := s.request(ev.Request)
	if r != nil {
		unmet = s.end(r)
	}
	for _, ids := range [][]WantID{ev.Satisfied, ev.Dropped} {
		for _, id := range ids {
			if w := s.wants[id]; w != nil {
				s.forget(w)
			}
		}
	}
	if r == nil { // the reply crossed with the Cancel
		return
	}
	p := r.peer
	p.sample(s.now, r)
	unmet = slices.DeleteFunc(unmet, func(w *want) bool { return s.wants[w.ID] == nil })
	useful := len(ev.Satisfied) > 0
	for _, w := range unmet {
		w.unanswered++
		if !ev.Cut || !useful || w.unanswered > maxCuts {
			w.avoidPeer(s.now, p.id)
		}
	}
	s.requeue(unmet)

	switch {
	case ev.Invalid:
		s.blame(p, InvalidResponse)
		s.leave(p.id)
		return
	case ev.Empty && p.takeEmptyCredit(r.root):
		// The peer served this root just now. It lacks only these wants, and they avoid it.
	case ev.Empty:
		s.emptyReply(p, r)
	case useful:
		p.servedUseful(r, ev.Cut)
		s.noteServed(r.root)
	}
	p.onReply()
}

// emptyReply starts a back-off of a peer that served nothing under a root. A peer that does
// so again and again where others serve is blamed.
func (s *Scheduler) emptyReply(p *peer, r *request) {
	p.rate(0)
	if !p.backOff(s.now, r.root, r.sent) || !slices.Contains(s.servedRoots, r.root) {
		return
	}
	if p.empties++; p.empties >= uselessAfter {
		p.empties = 0
		s.blame(p, Useless)
	}
}

func (s *Scheduler) noteServed(root common.Hash) {
	if slices.Contains(s.servedRoots, root) {
		return
	}
	if len(s.servedRoots) == maxServedRoots {
		s.servedRoots = slices.Delete(s.servedRoots, 0, 1)
	}
	s.servedRoots = append(s.servedRoots, root)
}

// failed ends a request that got no reply.
func (s *Scheduler) failed(ev Failed) {
	r := s.request(ev.Request)
	if r == nil {
		return
	}
	p := r.peer
	switch ev.Failure {
	case TimedOut:
		s.timedOut(r)
		return
	case Disconnected:
		p.disconnected = true
	case Unsupported:
		p.unsupported[r.kind] = true
	case Broken:
		p.rate(0)
	}
	p.onFailure()
	s.fail(r)
}

// expire ends the requests whose deadline has passed.
func (s *Scheduler) expire() {
	var late []*request
	for _, r := range s.inFlight {
		if r.deadline.After(s.now) {
			s.wakeBy(r.deadline)
		} else {
			late = append(late, r)
		}
	}
	for _, r := range late {
		s.do(Cancel{r.id})
		s.timedOut(r)
	}
}

// timedOut ends a request that ran into its deadline. The peer is blamed once for all
// requests that were in flight together.
func (s *Scheduler) timedOut(r *request) {
	p := r.peer
	p.becomeTimingOut(s.now.Sub(r.sent))
	if !r.sent.Before(p.blamedAt) {
		p.blamedAt = s.now
		s.blame(p, Timeout)
	}
	s.fail(r)
}

// fail ends a request without a reply. Its wants avoid the peer, and the peer backs off
// under the root.
func (s *Scheduler) fail(r *request) {
	unmet := s.end(r)
	for _, w := range unmet {
		w.unanswered++
		w.avoidPeer(s.now, r.peer.id)
	}
	s.requeue(unmet)
	r.peer.backOff(s.now, r.root, r.sent)
}
