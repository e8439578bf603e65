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

const (
	fellowWindow   = 8                // requests in flight to one fellow
	fellowDeadline = 10 * time.Second // after which a request is given up
	fellowUnknown  = 2                // as long as it has brought nothing, or when it did not answer in time
	fellowPause    = 8 * time.Second  // after a time-out; each one in a row doubles it
	maxFellowPause = 64 * time.Second
	fellowRefusals = 64               // subtrees refused, beyond four for each one brought, after which its word counts for nothing
	fellowBehind   = 8                // parts that we completed while a fellow completed none
	fellowPatience = 10 * time.Second // and for how long it did, so that nothing is expected of it
	fellowLively   = 5 * time.Second  // for which it is waited for after it has told of another part
	fellowWalk     = time.Minute      // within which it begins one walk
	maxLargeTries  = 64               // in one Have, as the protocol allows

	// changeRest is for how long nothing that fellows tell makes the walk divide its parts anew after it has: that
	// takes some 10 ms for two members and 64 large tries, and whoever likes can tell something.
	changeRest = 250 * time.Millisecond
)

// swarm is what is known of our fellows. It is safe for concurrent use.
type swarm struct {
	self   string
	log    *slog.Logger
	change chan struct{} // holds a token when a fellow came, left or told something new

	mu      sync.Mutex
	since   uint64
	fellows map[string]*fellow
	liars   map[string]bool
	ours    Have
	resting bool // change had a token within changeRest
	again   bool // and is to have another one then
}

// fellow is one of them; its fields belong to the swarm.
type fellow struct {
	FellowPeer
	have    Have
	whole   map[common.Hash]trie.Slices
	began   time.Time // when it told of another state, once within fellowWalk
	most    int       // parts that it has told of since
	news    time.Time // when there were more of them than ever before
	behind  int       // parts that we have completed since
	stalled bool      // nothing is expected of it until it tells of another part
	useless bool      // what it tells counts for nothing

	flying          int
	pause           time.Duration // the last back-off
	until           time.Time     // no request before
	late            bool          // its last request ran into the deadline
	served, refused int           // subtrees
}

func newSwarm(self string, log *slog.Logger) *swarm {
	return &swarm{self: self, log: log, change: make(chan struct{}, 1), fellows: make(map[string]*fellow), liars: make(map[string]bool)}
}

// changed lets the walk know, now and then. It is called under mu.
func (s *swarm) changed() {
	if s.resting {
		s.again = true
		return
	}
	select {
	case s.change <- struct{}{}:
	default:
	}
	s.resting, s.again = true, false
	time.AfterFunc(changeRest, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.resting = false; s.again {
			s.changed()
		}
	})
}

// begin notes that we collect from now on.
func (s *swarm) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == 0 {
		s.since = uint64(now.UnixMilli())
	}
}

// begun is since when we collect.
func (s *swarm) begun() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since
}

func (s *swarm) join(p FellowPeer) {
	have := p.Have() // not under our lock: it may take the peer's, which may be asking us
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.liars[p.ID()] {
		return
	}
	f := &fellow{FellowPeer: p, news: time.Now()}
	f.hear(have, time.Now())
	s.fellows[p.ID()] = f
	s.changed()
}

func (s *swarm) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fellows, id)
	s.changed()
}

// expel removes a fellow for good. It returns false if that was done before.
func (s *swarm) expel(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.liars[id] {
		return false
	}
	delete(s.fellows, id)
	if len(s.liars) >= peer.MaxBanned {
		clear(s.liars)
	}
	s.liars[id] = true
	s.changed()
	return true
}

// told takes what a fellow tells now. complete says that it has a whole state.
func (s *swarm) told(id string, now time.Time) (complete bool) {
	s.mu.Lock()
	f := s.fellows[id]
	s.mu.Unlock()
	if f == nil {
		return false
	}
	have := f.Have() // as in join
	s.mu.Lock()
	defer s.mu.Unlock()
	f.hear(have, now)
	s.changed()
	return f.have.Number > 0 && !f.have.Active
}

// hear takes what it tells. Parts that it tells of, takes back and tells of again are no news, nor are
// states that it changes all the time: it is waited for because of what it brings.
func (f *fellow) hear(have Have, now time.Time) {
	whole := have.whole()
	if have.Number != f.have.Number && now.Sub(f.began) >= fellowWalk {
		f.began, f.most = now, -1
	}
	if parts := partsIn(whole); parts > f.most {
		f.most, f.news, f.behind, f.stalled = parts, now, 0, false
	}
	f.have, f.whole = have, whole
}

// asked says whether a fellow may be asked for anything now.
func (f *fellow) asked(now time.Time) bool { return !f.useless && !now.Before(f.until) }

// division is how parts are divided now.
func (s *swarm) division(now time.Time, taken map[trie.Part]bool) *division {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := []member{{s.self, s.since}}
	offered, lively := make(map[common.Hash]*trie.Slices), make(map[string]bool)
	for id, f := range s.fellows {
		if f.useless {
			continue
		}
		if f.have.Active && f.have.Number > 0 && !f.stalled {
			members = append(members, member{id, f.have.Since})
			lively[id] = now.Sub(f.news) < fellowLively
		}
		if !f.asked(now) {
			continue
		}
		for owner, set := range f.whole {
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
	d := newDivision(s.self, members, offered, taken)
	d.lively = lively
	return d
}

// large returns the accounts that fellows told to have large storage tries.
func (s *swarm) large() (accounts []common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.fellows {
		if !f.useless && f.have.Active {
			accounts = append(accounts, f.have.Large...)
		}
	}
	return accounts
}

// next takes a place for a request to a fellow that has some of the parts, and returns which ones; nil if there is none
// now.
func (s *swarm) next(parts []trie.Part, now time.Time) (best *fellow, offered []trie.Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.fellows {
		window := fellowWindow
		if f.served == 0 || f.late {
			window = fellowUnknown
		}
		if !f.asked(now) || f.flying >= window || best != nil && cmp.Or(cmp.Compare(f.flying, best.flying), cmp.Compare(f.ID(), best.ID())) > 0 {
			continue
		}
		if has := f.among(parts); len(has) > 0 {
			best, offered = f, has
		}
	}
	if best != nil {
		best.flying++
	}
	return best, offered
}

// among returns those of the parts that it has.
func (f *fellow) among(parts []trie.Part) (has []trie.Part) {
	for _, p := range parts {
		if set := f.whole[p.Owner]; set.Has(p.Slice) {
			has = append(has, p)
		}
	}
	return has
}

// release ends a request that says nothing about the fellow.
func (s *swarm) release(f *fellow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.flying--
}

// put ends a request: how many subtrees or codes came and how many were refused, or that it failed. Whoever
// fails is left alone for a while that doubles. Whoever refuses what it told to have is not listened to any more.
func (s *swarm) put(f *fellow, served, refused int, failed, timeout bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.flying--
	f.served, f.refused = f.served+served, f.refused+refused
	if served > 0 {
		f.late, f.pause = false, 0
	}
	if f.refused > fellowRefusals+4*f.served && !f.useless {
		f.useless = true
		s.log.Info("Fellow is of no use", "peer", f.ID(), "served", f.served, "refused", f.refused)
		s.changed()
	}
	now := time.Now()
	if !failed || now.Before(f.until) { // once for all that were in flight together
		return
	}
	least, most := rangeBackoff, maxRangeBackoff
	if timeout {
		least, most = fellowPause, maxFellowPause
		f.late = true
	}
	f.pause = min(max(2*f.pause, least), most)
	f.until = now.Add(f.pause)
	s.changed()
}

// tell notes what we have now. It returns whether that is news.
func (s *swarm) tell(have Have, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.ours.whole(), have.whole()
	news := s.ours.Number != have.Number || s.ours.Active != have.Active || !maps.Equal(before, after)
	gained := max(partsIn(after)-partsIn(before), 0)
	s.ours = have
	for _, f := range s.fellows {
		f.behind += gained
		if f.behind >= fellowBehind && now.Sub(f.news) >= fellowPatience && f.have.Active && !f.stalled {
			f.stalled = true
			s.log.Debug("Fellow makes no progress", "peer", f.ID(), "for", now.Sub(f.news))
			s.changed()
		}
	}
	return news
}

// have is what we tell.
func (s *swarm) have() Have {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ours
}

// empty says whether there is no fellow.
func (s *swarm) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fellows) == 0
}

// count is how many fellows there are that have something or collect it.
func (s *swarm) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.fellows {
		if !f.useless && f.have.Number > 0 {
			n++
		}
	}
	return n
}

// targets are the states that fellows collect.
func (s *swarm) targets() (targets []Have) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.fellows {
		if !f.useless && f.have.Number > 0 {
			targets = append(targets, f.have)
		}
	}
	slices.SortFunc(targets, func(a, b Have) int { return cmp.Compare(a.Since, b.Since) })
	return targets
}
