package sched

import (
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// A geth server gives up on a request after 5 s; what has not come by then and two
	// round trips more will not come.
	baseDeadline = 5 * time.Second
	maxDeadline  = 10 * time.Second

	// minShare is the least cost for which a batch is spread to one peer more: below
	// it serving takes less than the round trip.
	minShare = 128

	// maxCuts is how often a want may be cut off in a row before its peer is avoided for it
	// all the same: by then the peer's budget is a third of what it was.
	maxCuts = 4

	maxServed = 128  // roots remembered as served by someone
	maxLiars  = 1024 // ids remembered as liars
)

// Scheduler is the state machine. Its zero value is not usable; see New. It is for one
// goroutine.
type Scheduler struct {
	now  time.Time  // of the Step in progress
	out  []Action   // of the Step in progress
	sent []*request // of the Step in progress, hedges aside
	wake time.Time  // earliest time at which something is to be done; of the Step in progress
	told time.Time  // the last WakeAt

	strangers bool // no request to some peer here has ended yet; of the Step in progress

	wants    map[WantID]*want  // every want that is neither satisfied nor cancelled
	queues   [classes][]*queue // by class, oldest lot first; none is empty
	inflight []*request        // ordered by id; a request is here if and only if it is in its peer's flights
	peers    []*peer           // in the order in which they joined; ids differ
	liars    []string          // newest last; none of them is in peers
	served   []common.Hash     // roots under which some peer answered, newest last
	lastID   RequestID
}

// New returns a scheduler with no wants and no peers.
func New() *Scheduler {
	return &Scheduler{wants: make(map[WantID]*want)}
}

// Step takes one event and returns what is to be done now. Time must not go back.
// Events about wants, requests and peers that it does not know are ignored: they crossed
// with an action or an event that ended these. What came all the same is not asked for again.
func (s *Scheduler) Step(now time.Time, ev Event) []Action {
	s.now, s.out, s.sent, s.wake = now, nil, nil, time.Time{}
	switch ev := ev.(type) {
	case WantAdded:
		s.add(ev.Wants)
	case WantCancelled:
		for _, id := range ev.IDs {
			if w := s.wants[id]; w != nil {
				s.finish(w)
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
	s.expire()
	s.strangers = slices.ContainsFunc(s.peers, func(p *peer) bool { return !p.tried && !p.gone })
	s.dispatch()
	s.reinforce()
	s.probe()
	if !s.wake.Equal(s.told) {
		s.told = s.wake
		s.do(WakeAt{s.wake})
	}
	return s.out
}

func (s *Scheduler) do(a Action) { s.out = append(s.out, a) }

// wakeBy makes sure that the next Step is no later than t, which is in the future.
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
		for _, r := range w.flights {
			r.highest = max(r.highest, c)
		}
		return
	}
	s.dequeue(w)
	w.Class = c
	s.enqueue(false, w)
}

// finish forgets a want.
func (s *Scheduler) finish(w *want) {
	if w.queue != nil {
		s.dequeue(w)
	}
	for _, r := range w.flights {
		r.drop(w)
	}
	w.flights = nil
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
	if slices.Contains(s.liars, ev.ID) {
		return
	}
	s.leave(ev.ID)
	s.peers = append(s.peers, newPeer(ev.ID, ev.ByHash))
}

// advance gives a peer with a newer head a new chance for everything.
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

// leave forgets a peer and queues again what it had in flight.
func (s *Scheduler) leave(id string) {
	p := s.peer(id)
	if p == nil {
		return
	}
	var left []*want
	for len(p.flights) > 0 {
		r := p.flights[0]
		s.do(Cancel{r.id})
		left = append(left, s.land(r)...)
	}
	s.requeue(left)
	s.peers = slices.DeleteFunc(s.peers, func(o *peer) bool { return o == p })
}

func (s *Scheduler) request(id RequestID) *request {
	i, ok := slices.BinarySearchFunc(s.inflight, id, func(r *request, id RequestID) int {
		return int(int64(r.id) - int64(id))
	})
	if !ok {
		return nil
	}
	return s.inflight[i]
}

// land takes a request out of flight and returns the wants it leaves behind, all those
// that were still waited for.
func (s *Scheduler) land(r *request) []*want {
	s.inflight = slices.DeleteFunc(s.inflight, func(o *request) bool { return o == r })
	r.peer.flights = slices.DeleteFunc(r.peer.flights, func(o *request) bool { return o == r })
	r.peer.tried = true
	left := r.wants
	for _, w := range left {
		w.flights = slices.DeleteFunc(w.flights, func(o *request) bool { return o == r })
	}
	r.wants = nil
	return left
}

// requeue puts wants back in front of their queues unless another request has them.
func (s *Scheduler) requeue(wants []*want) {
	s.enqueue(true, slices.DeleteFunc(wants, func(w *want) bool { return len(w.flights) > 0 })...)
}

func (s *Scheduler) responded(ev Responded) {
	var left []*want
	r := s.request(ev.Request)
	if r != nil {
		left = s.land(r)
	}
	for _, ids := range [][]WantID{ev.Satisfied, ev.Dropped} {
		for _, id := range ids {
			if w := s.wants[id]; w != nil {
				s.finish(w)
			}
		}
	}
	if r == nil { // it crossed with its Cancel
		return
	}
	p := r.peer
	p.sample(s.now, r)
	p.lapses = 0
	left = slices.DeleteFunc(left, func(w *want) bool { return s.wants[w.ID] == nil })
	useful := len(ev.Satisfied) > 0
	for _, w := range left {
		w.misses++
		if !ev.Cut || !useful || w.misses > maxCuts {
			w.miss(s.now, p.id)
		}
	}
	s.requeue(left)

	switch {
	case ev.Lied:
		s.blame(p, Lie)
		s.expel(p)
	case ev.Empty && p.lenient(r.root):
		// It served that root just now: what it lacks are these wants, and they avoid it.
	case ev.Empty:
		p.rate(0)
		if p.backOff(s.now, r.root, r.sent) && slices.Contains(s.served, r.root) {
			if p.empties++; p.empties >= uselessAfter {
				p.empties = 0
				s.blame(p, Useless)
			}
		}
	case useful:
		p.serve()
		p.resize(r.kind, r.cost, ev.Cut)
		p.forgive(r.root)
		p.prove(r.root)
		s.noteServed(r.root)
	}
}

func (s *Scheduler) noteServed(root common.Hash) {
	if slices.Contains(s.served, root) {
		return
	}
	if len(s.served) == maxServed {
		s.served = slices.Delete(s.served, 0, 1)
	}
	s.served = append(s.served, root)
}

func (s *Scheduler) failed(ev Failed) {
	r := s.request(ev.Request)
	if r == nil {
		return
	}
	switch ev.Failure {
	case TimedOut:
		s.lapse(r)
		return
	case Gone:
		r.peer.gone = true
	case Unsupported:
		r.peer.lack[r.kind] = true
	case Broken:
		r.peer.rate(0)
	}
	s.miss(r)
}

// lapse ends a request that ran into its deadline. The peer is blamed once for all that
// were in flight together.
func (s *Scheduler) lapse(r *request) {
	p := r.peer
	p.lapse(s.now.Sub(r.sent))
	if !r.sent.Before(p.lapsed) {
		p.lapsed = s.now
		s.blame(p, Timeout)
	}
	s.miss(r)
}

// miss ends a request that got no reply: its wants go to others.
func (s *Scheduler) miss(r *request) {
	left := s.land(r)
	for _, w := range left {
		w.misses++
		w.miss(s.now, r.peer.id)
	}
	s.requeue(left)
	r.peer.backOff(s.now, r.root, r.sent)
}

func (s *Scheduler) blame(p *peer, why Reason) { s.do(Blame{p.id, why}) }

// expel forgets a peer for good.
func (s *Scheduler) expel(p *peer) {
	if len(s.liars) == maxLiars {
		s.liars = slices.Delete(s.liars, 0, 1)
	}
	s.liars = append(s.liars, p.id)
	s.leave(p.id)
}

// expire ends the requests whose deadline has passed.
func (s *Scheduler) expire() {
	var late []*request
	for _, r := range s.inflight {
		if r.deadline.After(s.now) {
			s.wakeBy(r.deadline)
		} else {
			late = append(late, r)
		}
	}
	for _, r := range late {
		s.do(Cancel{r.id})
		s.lapse(r)
	}
}
