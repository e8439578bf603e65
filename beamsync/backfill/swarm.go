// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// changeInterval is for how long no further announcements make the walk divide its parts again: that
// takes some 10 ms for two members and 64 large tries, and any peer can announce as often as it likes.
const changeInterval = 250 * time.Millisecond

// swarm is what is known of the connected Sunbeam nodes. It is safe for concurrent use.
type swarm struct {
	self   string
	log    *slog.Logger
	change chan struct{} // holds a token when a swarm peer joined, left or announced something new

	mu        sync.Mutex
	startedAt uint64 // when we began to collect, in milliseconds of Unix time; 0: not yet
	peers     map[string]*swarmPeer
	own       Have // what we announced last
	throttled bool // change had a token within changeInterval
	pending   bool // and gets another one after it
}

func newSwarm(self string, log *slog.Logger) *swarm {
	return &swarm{self: self, log: log, change: make(chan struct{}, 1), peers: make(map[string]*swarmPeer)}
}

// changed notifies the walk, at most once per changeInterval. It is called under mu.
func (s *swarm) changed() {
	if s.throttled {
		s.pending = true
		return
	}
	select {
	case s.change <- struct{}{}:
	default:
	}
	s.throttled, s.pending = true, false
	time.AfterFunc(changeInterval, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.throttled = false; s.pending {
			s.changed()
		}
	})
}

// begin notes that we collect from now on.
func (s *swarm) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.startedAt == 0 {
		s.startedAt = uint64(now.UnixMilli())
	}
}

// started is when we began to collect.
func (s *swarm) started() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.startedAt
}

func (s *swarm) join(p SwarmPeer) {
	have := p.Have() // not under our lock: it may take the peer's, which may be calling us
	s.mu.Lock()
	defer s.mu.Unlock()
	known := &swarmPeer{SwarmPeer: p, lastGain: time.Now()}
	known.onHave(have, time.Now())
	s.peers[p.ID()] = known
	s.changed()
}

func (s *swarm) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, id)
	s.changed()
}

// onHave takes a new announcement of a swarm peer. complete says that it has a whole state.
func (s *swarm) onHave(id string, now time.Time) (complete bool) {
	s.mu.Lock()
	p := s.peers[id]
	s.mu.Unlock()
	if p == nil {
		return false
	}
	have := p.Have() // not under our lock, as in join
	s.mu.Lock()
	defer s.mu.Unlock()
	p.onHave(have, now)
	s.changed()
	return p.have.Number > 0 && !p.have.Active
}

// division is how parts are divided now.
func (s *swarm) division(now time.Time, endgame map[trie.Part]bool) *division {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := []member{{s.self, s.startedAt}}
	offered, active := make(map[common.Hash]*trie.Slices), make(map[string]bool)
	for id, p := range s.peers {
		if p.ignored {
			continue
		}
		if p.have.Active && p.have.Number > 0 && !p.stalled {
			members = append(members, member{id, p.have.Since})
			active[id] = now.Sub(p.lastGain) < activeTime
		}
		if !p.available(now) {
			continue
		}
		for owner, set := range p.complete {
			if set == (trie.Slices{}) {
				continue
			}
			if offered[owner] == nil {
				offered[owner] = new(trie.Slices)
			}
			for i := range set {
				offered[owner][i] |= set[i]
			}
		}
	}
	d := newDivision(s.self, members, offered, endgame)
	d.active = active
	return d
}

// largeTries returns the accounts whose storage tries swarm peers announced as large.
func (s *swarm) largeTries() (accounts []common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.ignored && p.have.Active {
			accounts = append(accounts, p.have.Large...)
		}
	}
	return accounts
}

// acquire begins a request to a swarm peer that has some of the parts, and returns these; nil if there is none
// now.
func (s *swarm) acquire(parts []trie.Part, now time.Time) (best *swarmPeer, offered []trie.Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.available(now) || p.inFlight >= p.window() {
			continue
		}
		if best != nil && cmp.Or(cmp.Compare(p.inFlight, best.inFlight), cmp.Compare(p.ID(), best.ID())) > 0 {
			continue
		}
		if has := p.offered(parts); len(has) > 0 {
			best, offered = p, has
		}
	}
	if best != nil {
		best.inFlight++
	}
	return best, offered
}

// release ends a request whose outcome says nothing about the swarm peer.
func (s *swarm) release(p *swarmPeer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inFlight--
}

// finish ends a request with the numbers of served and of refused subtrees or codes, or with a failure. A swarm peer that
// fails backs off for a time that doubles. One that refuses too much of what it announces is ignored from then on.
func (s *swarm) finish(p *swarmPeer, served, refused int, failed, timeout bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inFlight--
	if p.count(served, refused) {
		s.log.Info("Ignoring swarm peer: too many refusals", "peer", p.ID(), "served", p.served, "refused", p.refused)
		s.changed()
	}
	if failed && p.fail(time.Now(), timeout) {
		s.changed()
	}
}

// announce sets what we have now. It returns whether that is new.
func (s *swarm) announce(have Have, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.own.complete(), have.complete()
	changed := s.own.Number != have.Number || s.own.Active != have.Active || !maps.Equal(before, after)
	gained := max(partsIn(after)-partsIn(before), 0)
	s.own = have
	for _, p := range s.peers {
		p.behind += gained
		if p.behind >= stallParts && now.Sub(p.lastGain) >= stallTime && p.have.Active && !p.stalled {
			p.stalled = true
			s.log.Debug("Swarm peer makes no progress", "peer", p.ID(), "for", now.Sub(p.lastGain))
			s.changed()
		}
	}
	return changed
}

// have is what we announce.
func (s *swarm) have() Have {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}

// empty says whether there is no swarm peer.
func (s *swarm) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers) == 0
}

// count is the number of swarm peers that have some of the state or collect it.
func (s *swarm) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.ignored && p.have.Number > 0 {
			n++
		}
	}
	return n
}

// targets are the states that swarm peers collect, of the peer that began first at the front.
func (s *swarm) targets() (targets []Have) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.ignored && p.have.Number > 0 {
			targets = append(targets, p.have)
		}
	}
	slices.SortFunc(targets, func(a, b Have) int { return cmp.Compare(a.Since, b.Since) })
	return targets
}
