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

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// changeInterval is for how long no further announcements make the walk divide its parts again: that
// takes some 10 ms for two members and 64 large tries, and any peer can announce as often as it likes.
const changeInterval = 250 * time.Millisecond

// swarm is what is known of the connected Sunbeam nodes. It is safe for concurrent use.
type swarm struct {
	self   string
	book   *peer.Book
	log    *slog.Logger
	change chan struct{} // holds a token when a swarm peer joined, left or announced something new

	mu        sync.Mutex
	startedAt uint64 // when we began to collect, in milliseconds of Unix time; 0: not yet
	peers     map[string]*swarmPeer
	own       Have // what we announced last
	throttled bool // change had a token within changeInterval
	pending   bool // and gets another one after it
}

func newSwarm(self string, book *peer.Book, log *slog.Logger) *swarm {
	return &swarm{self: self, book: book, log: log, change: make(chan struct{}, 1), peers: make(map[string]*swarmPeer)}
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
	known := &swarmPeer{SwarmPeer: p, lastGain: time.Now(), batch: 1, ignored: s.book.Excluded(p.ID(), peer.KindSubtrees)}
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

// available says whether a peer may be asked for anything now.
func (s *swarm) available(p *swarmPeer, now time.Time) bool {
	return !p.ignored && !now.Before(s.book.RetryAt(p.ID(), peer.KindSubtrees))
}

// division is how parts are divided now. With onlyProven set, strangers are no members, and what they claim to have counts
// for nothing.
func (s *swarm) division(now time.Time, endgame map[trie.Part]bool, onlyProven bool) *division {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := []member{{s.self, s.startedAt}}
	offered, active := make(map[common.Hash]*trie.Slices), make(map[string]bool)
	for id, p := range s.peers {
		if p.ignored {
			continue
		}
		if p.have.Active && p.have.Number > 0 && !p.stalled && p.timeouts < maxTimeouts && (p.proven || !onlyProven) {
			members = append(members, member{id, p.have.Since})
			active[id] = now.Sub(p.lastGain) < activeTime
		}
		if !p.proven && onlyProven || !s.available(p, now) {
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
		if p.proven && !p.ignored && p.have.Active {
			accounts = append(accounts, p.have.Large...)
		}
	}
	return accounts
}

// acquire begins a request to a swarm peer that has some of the parts, and returns these; nil if there is none
// now. Strangers come last.
func (s *swarm) acquire(parts []trie.Part, now time.Time) (best *swarmPeer, offered []trie.Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if p.inFlight >= p.window() || !s.available(p, now) {
			continue
		}
		if best != nil && cmp.Or(cmp.Compare(p.rank(), best.rank()), cmp.Compare(p.inFlight, best.inFlight), cmp.Compare(p.ID(), best.ID())) > 0 {
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

// strangers returns at most n strangers that may be asked to show whether they serve anything.
func (s *swarm) strangers(now time.Time, n int) (idle []*swarmPeer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.proven && p.inFlight == 0 && s.available(p, now) {
			idle = append(idle, p)
		}
	}
	slices.SortFunc(idle, func(a, b *swarmPeer) int { return cmp.Compare(a.ID(), b.ID()) })
	return idle[:min(max(n, 0), len(idle))]
}

// acquireFor begins a request to a swarm peer for one subtree, if it claims to have it.
func (s *swarm) acquireFor(p *swarmPeer, ref trie.NodeRef) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	part := partOf(ref)
	if set := p.complete[part.Owner]; len(ref.Path) < 2 && ref.Owner == (common.Hash{}) || !set.Has(part.Slice) {
		return false
	}
	p.inFlight++
	return true
}

// release ends a request whose outcome says nothing about the swarm peer.
func (s *swarm) release(p *swarmPeer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inFlight--
}

// finish ends a request that was sent then with the numbers of served and of refused subtrees or codes, none if it failed. all says
// that the response had all, or most of the bytes that it may have. A swarm peer that fails backs off for a time that doubles. One that
// refuses too much of what it announces is ignored from then on.
func (s *swarm) finish(p *swarmPeer, sent time.Time, served, refused int, all, timeout bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inFlight--
	was, failed := p.proven, served+refused == 0
	ignored := p.count(served, refused)
	if served > 0 {
		p.resize(served, all)
	}
	switch {
	case ignored:
		s.log.Info("Swarm peer does not have what it announced: asking others", "peer", p.ID(), "served", p.served, "refused", p.refused)
		s.book.Exclude(p.ID(), peer.KindSubtrees)
	case served > 0:
		s.book.Served(p.ID(), peer.KindSubtrees)
	case timeout:
		p.timedOut()
		s.book.TimedOut(p.ID(), peer.KindSubtrees, sent)
	case failed:
		p.streak = 0
		s.book.Refused(p.ID(), peer.KindSubtrees, sent)
	}
	if ignored || failed || p.proven != was {
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
