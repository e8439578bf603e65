// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// simulation plays the shell and the network around a scheduler: peers that are good or bad
// in one way each, callers that come and go. A source of numbers decides all of it.
type simulation struct {
	*Scheduler
	t       *testing.T
	next    func(n int) int // the source: 0..n-1
	now     time.Time
	wake    time.Time
	open    map[WantID]bool   // neither satisfied nor cancelled
	flights []Send            // in flight as the shell sees it
	ended   []Send            // cancelled; their replies may still arrive
	peers   map[string]string // id -> character, connected ones
	banned  map[string]bool
	nextID  int
}

func newSimulation(t *testing.T, next func(n int) int) *simulation {
	return &simulation{
		Scheduler: New(), t: t, next: next, now: time.Unix(1_000_000, 0),
		open: make(map[WantID]bool), peers: make(map[string]string), banned: make(map[string]bool),
	}
}

// step feeds one event and checks every action against what the shell knows.
func (sim *simulation) step(ev Event) {
	sim.t.Helper()
	for _, a := range sim.Step(sim.now, ev) {
		switch a := a.(type) {
		case Send:
			sim.checkSend(a)
			sim.flights = append(sim.flights, a)
		case Cancel:
			for _, f := range sim.flights {
				if f.Request == a.Request {
					sim.ended = append(sim.ended, f)
				}
			}
			sim.land(a.Request)
		case Blame:
			if a.Reason == InvalidResponse {
				if sim.banned[a.Peer] {
					sim.t.Fatalf("%s is blamed for an invalid response twice", a.Peer)
				}
				sim.banned[a.Peer] = true
				delete(sim.peers, a.Peer)
			}
		case WakeAt:
			if !a.Time.IsZero() && !a.Time.After(sim.now) {
				sim.t.Fatalf("asked to be woken %v ago", sim.now.Sub(a.Time))
			}
			sim.wake = a.Time
		}
	}
	if err := sim.check(); err != nil {
		sim.t.Fatalf("after %T%+v: %v", ev, ev, err)
	}
	for id := range sim.open {
		if sim.wants[id] == nil {
			sim.t.Fatalf("want %d is lost", id)
		}
	}
	if len(sim.wants) != len(sim.open) {
		sim.t.Fatalf("%d wants known, %d open", len(sim.wants), len(sim.open))
	}
}

func (sim *simulation) checkSend(a Send) {
	sim.t.Helper()
	if sim.banned[a.Peer] {
		sim.t.Fatalf("banned peer %s is sent a request", a.Peer)
	}
	if sim.peers[a.Peer] == "" {
		sim.t.Fatalf("%s is sent a request and is not connected", a.Peer)
	}
	if len(a.Wants) == 0 {
		sim.t.Fatal("empty request")
	}
	p := sim.peer(a.Peer)
	busy := 0
	for _, f := range sim.flights {
		if f.Peer == a.Peer {
			busy++
		}
	}
	if busy >= p.window() {
		sim.t.Fatalf("%s has %d in flight, its window is %d", a.Peer, busy, p.window())
	}
	for _, id := range a.Wants {
		if !sim.open[id] {
			sim.t.Fatalf("want %d is requested and not open", id)
		}
	}
}

func (sim *simulation) land(id RequestID) {
	sim.flights = slices.DeleteFunc(sim.flights, func(f Send) bool { return f.Request == id })
}

// reply answers one request in its peer's character.
func (sim *simulation) reply(f Send) {
	sim.land(f.Request)
	ev := Responded{Request: f.Request, Unsatisfied: f.Wants}
	switch character := sim.peers[f.Peer]; character {
	case "empty":
		ev.Empty = true
	case "invalid":
		ev.Invalid = true
	case "partial": // serves even wants only
		ev.Unsatisfied = nil
		for _, id := range f.Wants {
			if id%2 == 0 {
				ev.Satisfied = append(ev.Satisfied, id)
			} else {
				ev.Unsatisfied = append(ev.Unsatisfied, id)
			}
		}
		ev.Empty = len(ev.Satisfied) == 0
	case "cutter": // serves a few
		n := min(len(f.Wants), 3)
		ev.Satisfied, ev.Unsatisfied, ev.Cut = f.Wants[:n], f.Wants[n:], n < len(f.Wants)
	case "broken":
		sim.step(Failed{Request: f.Request, Failure: Failure(sim.next(4))})
		return
	case "mute":
		sim.t.Fatal("a mute peer replies")
	default:
		ev.Satisfied, ev.Unsatisfied = f.Wants, nil
	}
	for _, id := range ev.Satisfied {
		delete(sim.open, id)
	}
	sim.step(ev)
}

func (sim *simulation) join(character string) {
	sim.nextID++
	id := fmt.Sprintf("%s%d", character, sim.nextID)
	sim.peers[id] = character
	sim.step(PeerJoined{ID: id, ByHash: sim.next(4) == 0})
}

func (sim *simulation) add() {
	var ev WantAdded
	root := common.Hash{byte(1 + sim.next(3))}
	kind := Kind(sim.next(2))
	if kind == Code {
		root = common.Hash{}
	}
	for range 1 + sim.next(60) {
		sim.nextID++
		v := Want{ID: WantID(sim.nextID), Class: Class(sim.next(classes)), Kind: kind, Root: root, Cost: sim.next(30)}
		ev.Wants = append(ev.Wants, v)
		sim.open[v.ID] = true
	}
	sim.step(ev)
}

// one picks an element of a map in a reproducible way.
func one[K int | string | WantID, V any](sim *simulation, m map[K]V) (k K, ok bool) {
	if len(m) == 0 {
		return k, false
	}
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys[sim.next(len(keys))], true
}

func (sim *simulation) random() {
	sim.now = sim.now.Add(time.Duration(sim.next(200)) * time.Millisecond)
	switch sim.next(13) {
	case 12:
		if len(sim.ended) == 0 {
			return
		}
		f := sim.ended[sim.next(len(sim.ended))]
		for _, id := range f.Wants {
			delete(sim.open, id)
		}
		sim.step(Responded{Request: f.Request, Satisfied: f.Wants})
	case 0, 1:
		sim.add()
	case 2:
		if id, ok := one(sim, sim.open); ok {
			delete(sim.open, id)
			sim.step(WantCancelled{[]WantID{id}})
		}
	case 3:
		if id, ok := one(sim, sim.open); ok {
			sim.step(WantRaised{id, Class(sim.next(classes))})
		}
	case 4:
		sim.join([]string{"good", "empty", "invalid", "partial", "cutter", "broken", "mute"}[sim.next(7)])
	case 5:
		if id, ok := one(sim, sim.peers); ok {
			delete(sim.peers, id)
			sim.step(PeerLeft{id})
		}
	case 6:
		if id, ok := one(sim, sim.peers); ok {
			sim.step(PeerHead{id, uint64(sim.next(100))})
		}
	case 7:
		sim.step(Tick{})
	default:
		if len(sim.flights) == 0 {
			return
		}
		if f := sim.flights[sim.next(len(sim.flights))]; sim.peers[f.Peer] != "mute" {
			sim.reply(f)
		}
	}
}

// settle runs the simulation on, with one honest peer, until every want is
// satisfied: replies after 50 ms, wake-ups when asked for.
func (sim *simulation) settle() {
	sim.join("good")
	honest := fmt.Sprintf("good%d", sim.nextID)
	began, limit := sim.now, 10*time.Minute+time.Duration(len(sim.peers))*20*time.Second // it takes time to find out which are mute
	for steps := 0; len(sim.open) > 0; steps++ {
		if sim.now.After(began.Add(limit)) || steps > 100_000 {
			sim.t.Fatalf("%d wants open after %v and %d steps with honest %s", len(sim.open), sim.now.Sub(began), steps, honest)
		}
		i := slices.IndexFunc(sim.flights, func(f Send) bool { return sim.peers[f.Peer] != "mute" })
		switch {
		case i >= 0:
			sim.now = sim.now.Add(5 * time.Millisecond)
			sim.reply(sim.flights[i])
		case !sim.wake.IsZero():
			sim.now = sim.wake
			sim.step(Tick{})
		default:
			sim.t.Fatalf("asleep with %d wants open", len(sim.open))
		}
	}
}

func TestEveryWantIsSatisfied(t *testing.T) {
	for seed := range int64(25) {
		rng := rand.New(rand.NewSource(seed))
		sim := newSimulation(t, rng.Intn)
		for range 250 {
			sim.random()
		}
		sim.settle()
	}
}

func TestStepIsDeterministic(t *testing.T) {
	run := func() string {
		rng := rand.New(rand.NewSource(7))
		sim := newSimulation(t, rng.Intn)
		for range 500 {
			sim.random()
		}
		return fmt.Sprintf("%+v %v", sim.flights, sim.wake)
	}
	if a, b := run(), run(); a != b {
		t.Fatalf("two runs differ:\n%s\n%s", a, b)
	}
}

func FuzzStep(f *testing.F) {
	f.Add([]byte{10, 4, 0, 50, 0, 1, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 60, 8, 0})
	f.Add([]byte("the quick brown fox jumps over the lazy dog, again and again and again"))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 1024)] // what one input takes grows with the wants that are open
		sim := newSimulation(t, func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := int(data[0])
			data = data[1:]
			return b % n
		})
		for len(data) > 0 {
			sim.random()
		}
		sim.settle()
	})
}

// TestUselessPeer: a peer that replies empty again and again under roots that others serve
// is blamed as useless, and for nothing else.
func TestUselessPeer(t *testing.T) {
	s, now, root := New(), time.Unix(0, 0), common.Hash{1}
	s.Step(now, PeerJoined{ID: "good"})
	var blames []Blame
	id := WantID(0)
	for range 40 {
		id++
		now = now.Add(20 * time.Second) // past any back-off
		actions := s.Step(now, WantAdded{[]Want{{ID: id, Class: Predictive, Root: root, Cost: 1}}})
		if id == 1 {
			s.Step(now, PeerJoined{ID: "empty"})
		}
		for len(actions) > 0 {
			a := actions[0]
			actions = actions[1:]
			switch a := a.(type) {
			case Send:
				now = now.Add(10 * time.Millisecond)
				if a.Peer == "empty" {
					actions = append(actions, s.Step(now, Responded{Request: a.Request, Unsatisfied: a.Wants, Empty: true})...)
				} else {
					now = now.Add(90 * time.Millisecond)
					actions = append(actions, s.Step(now, Responded{Request: a.Request, Satisfied: a.Wants})...)
				}
			case Blame:
				blames = append(blames, a)
			}
		}
		if len(s.wants) > 0 {
			t.Fatal("want not satisfied")
		}
	}
	if len(blames) == 0 || slices.ContainsFunc(blames, func(b Blame) bool { return b != Blame{"empty", Useless} }) {
		t.Fatalf("blames: %v", blames)
	}
}

// TestWindowFollowsDelay: a distant peer that serves fast gets a deeper pipe, and a window that
// holds what it serves soon.
func TestWindowFollowsDelay(t *testing.T) {
	for _, test := range []struct {
		rtt, service time.Duration
		pipe, window int
	}{
		{100 * time.Millisecond, 8 * time.Millisecond, 15, maxWindow},
		{10 * time.Millisecond, 8 * time.Millisecond, minWindow, maxWindow},
		{100 * time.Millisecond, 40 * time.Millisecond, minWindow, minWindow + 12},
		{100 * time.Millisecond, time.Second, minWindow, minWindow},
	} {
		p, now := newPeer("a", false), time.Unix(100, 0)
		for range 20 { // batches of 8, which it serves one after another
			for n := range 8 {
				r := &request{sent: now, queued: p.serviceTime(n)}
				p.sample(now.Add(test.rtt+time.Duration(n+1)*test.service), r)
				p.servedUseful(r, false)
			}
			now = now.Add(10 * time.Second)
		}
		if p.pipe() != test.pipe || p.window() != test.window {
			t.Errorf("%v away, %v for each request: pipe %d, window %d; want %d, %d",
				test.rtt, test.service, p.pipe(), p.window(), test.pipe, test.window)
		}
	}
}
