// SPDX-License-Identifier: LGPL-3.0-or-later

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
	if queues > 1 || len(w.requests) > maxRequests || (queues == 1) == (len(w.requests) > 0) || (queues == 1) != (w.queue != nil) {
		return fmt.Errorf("want %d is in %d queues and %d requests", id, queues, len(w.requests))
	}
	for i, r := range w.requests {
		if slices.ContainsFunc(w.requests[:i], func(o *request) bool { return o.peer == r.peer || o.id >= r.id }) {
			return fmt.Errorf("want %d is twice in flight to %s, or its requests are not in order", id, r.peer.id)
		}
		if !slices.Contains(s.inFlight, r) || !slices.Contains(r.wants, w) {
			return fmt.Errorf("want %d thinks that it is in request %d", id, r.id)
		}
	}
	return nil
}

func (s *Scheduler) checkRequests() error {
	for i, r := range s.inFlight {
		if i > 0 && s.inFlight[i-1].id >= r.id {
			return fmt.Errorf("request %d follows %d", r.id, s.inFlight[i-1].id)
		}
		if !slices.Contains(s.peers, r.peer) || !slices.Contains(r.peer.inFlight, r) {
			return fmt.Errorf("request %d is in flight to %s, which does not know it", r.id, r.peer.id)
		}
		if !r.deadline.After(s.now) {
			return fmt.Errorf("request %d has outlived its deadline", r.id)
		}
		for _, w := range r.wants {
			if w.Class > r.highest {
				return fmt.Errorf("request %d holds a want of class %v and says %v", r.id, w.Class, r.highest)
			}
			if s.wants[w.ID] != w || !slices.Contains(w.requests, r) || w.Kind != r.kind || w.Root != r.root {
				return fmt.Errorf("request %d holds want %d, which is not in it", r.id, w.ID)
			}
		}
	}
	return nil
}

func (s *Scheduler) checkPeers() error {
	total := 0
	for i, p := range s.peers {
		total += len(p.inFlight)
		if slices.ContainsFunc(s.peers[:i], func(o *peer) bool { return o.id == p.id }) {
			return fmt.Errorf("two peers %s", p.id)
		}
		if err := p.checkLimits(); err != nil {
			return fmt.Errorf("peer %s: %w", p.id, err)
		}
		if err := p.checkState(); err != nil {
			return fmt.Errorf("peer %s is %v: %w", p.id, p.state, err)
		}
	}
	if total != len(s.inFlight) {
		return fmt.Errorf("%d requests in flight, and peers have %d", len(s.inFlight), total)
	}
	if len(s.servedRoots) > maxServedRoots {
		return fmt.Errorf("%d served roots", len(s.servedRoots))
	}
	return nil
}

func (p *peer) checkLimits() error {
	if len(p.inFlight) > maxWindow {
		return fmt.Errorf("%d requests in flight", len(p.inFlight))
	}
	for i, r := range p.inFlight {
		if r.peer != p || i > 0 && p.inFlight[i-1].id >= r.id {
			return fmt.Errorf("request %d is not its own or not in order", r.id)
		}
	}
	if p.windowLimit < minWindow || p.windowLimit > maxWindow {
		return fmt.Errorf("window limit %d", p.windowLimit)
	}
	if slices.Min(p.budget[:]) < minBudget || slices.Max(p.budget[:]) > p.mostBudget() {
		return fmt.Errorf("budgets %d", p.budget)
	}
	if p.score < minScore || p.score > 1 || p.empties < 0 || p.empties >= uselessAfter {
		return fmt.Errorf("score %f, %d rounds of empty replies", p.score, p.empties)
	}
	if len(p.servedRoots) > maxPeerServedRoots {
		return fmt.Errorf("%d served roots", len(p.servedRoots))
	}
	for i, r := range p.servedRoots {
		if r.credit < 0 || r.credit > emptyCredit || slices.ContainsFunc(p.servedRoots[:i], func(o servedRoot) bool { return o.root == r.root }) {
			return fmt.Errorf("served root %x has credit %d or is there twice", r.root, r.credit)
		}
	}
	if len(p.backoffs) > maxBackoffs {
		return fmt.Errorf("%d back-offs", len(p.backoffs))
	}
	for i, b := range p.backoffs {
		if b.count < 1 || !b.until.After(b.since) || slices.ContainsFunc(p.backoffs[:i], func(o backoff) bool { return o.root == b.root }) {
			return fmt.Errorf("back-off %+v is invalid or there twice", b)
		}
	}
	return nil
}

// checkState verifies what is written at peerState.
func (p *peer) checkState() error {
	served := len(p.servedRoots) > 0
	ok := false
	switch p.state {
	case stateUntried:
		ok = p.rtt == 0 && p.samples.count == 0 && len(p.backoffs) == 0 && !served && p.score == 1 && !p.disconnected
	case stateProbing:
		ok = !served || p.score < trustScore
	case stateTrusted:
		ok = served && p.score >= trustScore && p.rtt > 0 && p.rtt <= slowRTT
	case stateSlow:
		ok = served && p.score >= trustScore && p.rtt > slowRTT
	case stateTimingOut:
		ok = true
	}
	if !ok {
		return fmt.Errorf("round trip %v, score %f, %d served roots, %d back-offs", p.rtt, p.score, len(p.servedRoots), len(p.backoffs))
	}
	return nil
}

// String returns the state as the table of the package documentation spells it.
func (s peerState) String() string {
	switch s {
	case stateUntried:
		return "untried"
	case stateProbing:
		return "probing"
	case stateTrusted:
		return "trusted"
	case stateSlow:
		return "slow"
	case stateTimingOut:
		return "timing out"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}
