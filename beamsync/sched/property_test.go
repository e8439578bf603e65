package sched

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// world plays the shell and the network around a scheduler: peers that are good or bad
// in some way, callers that come and go, all of it decided by a source of numbers.
type world struct {
	*Scheduler
	t       *testing.T
	next    func(n int) int // the source: 0..n-1
	now     time.Time
	wake    time.Time
	open    map[WantID]bool   // wanted by someone
	flights []Send            // in flight as the shell sees it
	ended   []Send            // cancelled, their replies may cross with that
	peers   map[string]string // id -> character, connected ones
	liars   map[string]bool
	nextID  int
}

func newWorld(t *testing.T, next func(n int) int) *world {
	return &world{
		Scheduler: New(), t: t, next: next, now: time.Unix(1_000_000, 0),
		open: make(map[WantID]bool), peers: make(map[string]string), liars: make(map[string]bool),
	}
}

// step feeds one event and checks every action against what the shell knows.
func (w *world) step(ev Event) {
	w.t.Helper()
	for _, a := range w.Step(w.now, ev) {
		switch a := a.(type) {
		case Send:
			w.checkSend(a)
			w.flights = append(w.flights, a)
		case Cancel:
			for _, f := range w.flights {
				if f.Request == a.Request {
					w.ended = append(w.ended, f)
				}
			}
			w.land(a.Request)
		case Blame:
			if a.Reason == Lie {
				if w.liars[a.Peer] {
					w.t.Fatalf("%s is called a liar twice", a.Peer)
				}
				w.liars[a.Peer] = true
				delete(w.peers, a.Peer)
			}
		case WakeAt:
			if !a.Time.IsZero() && !a.Time.After(w.now) {
				w.t.Fatalf("asked to be woken %v ago", w.now.Sub(a.Time))
			}
			w.wake = a.Time
		}
	}
	if err := w.check(); err != nil {
		w.t.Fatalf("after %T%+v: %v", ev, ev, err)
	}
	for id := range w.open {
		if w.wants[id] == nil {
			w.t.Fatalf("want %d is lost", id)
		}
	}
	if len(w.wants) != len(w.open) {
		w.t.Fatalf("%d wants known, %d open", len(w.wants), len(w.open))
	}
}

func (w *world) checkSend(a Send) {
	w.t.Helper()
	if w.liars[a.Peer] {
		w.t.Fatalf("liar %s is asked", a.Peer)
	}
	if w.peers[a.Peer] == "" {
		w.t.Fatalf("%s is asked and not here", a.Peer)
	}
	if len(a.Wants) == 0 {
		w.t.Fatal("empty request")
	}
	p := w.peer(a.Peer)
	busy := 0
	for _, f := range w.flights {
		if f.Peer == a.Peer {
			busy++
		}
	}
	if busy >= p.window() {
		w.t.Fatalf("%s has %d in flight, its window is %d", a.Peer, busy, p.window())
	}
	for _, id := range a.Wants {
		if !w.open[id] {
			w.t.Fatalf("want %d is asked for and not open", id)
		}
	}
}

func (w *world) land(id RequestID) {
	w.flights = slices.DeleteFunc(w.flights, func(f Send) bool { return f.Request == id })
}

// reply answers one request in its peer's character.
func (w *world) reply(f Send) {
	w.land(f.Request)
	ev := Responded{Request: f.Request, Unsatisfied: f.Wants}
	switch character := w.peers[f.Peer]; character {
	case "empty":
		ev.Empty = true
	case "liar":
		ev.Lied = true
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
		w.step(Failed{Request: f.Request, Failure: Failure(w.next(4))})
		return
	case "mute":
		w.t.Fatal("a mute peer replies")
	default:
		ev.Satisfied, ev.Unsatisfied = f.Wants, nil
	}
	for _, id := range ev.Satisfied {
		delete(w.open, id)
	}
	w.step(ev)
}

func (w *world) join(character string) {
	w.nextID++
	id := fmt.Sprintf("%s%d", character, w.nextID)
	w.peers[id] = character
	w.step(PeerJoined{ID: id, ByHash: w.next(4) == 0})
}

func (w *world) add() {
	var ev WantAdded
	root := common.Hash{byte(1 + w.next(3))}
	kind := Kind(w.next(2))
	if kind == Code {
		root = common.Hash{}
	}
	for range 1 + w.next(60) {
		w.nextID++
		v := Want{ID: WantID(w.nextID), Class: Class(w.next(classes)), Kind: kind, Root: root, Cost: w.next(30)}
		ev.Wants = append(ev.Wants, v)
		w.open[v.ID] = true
	}
	w.step(ev)
}

// one picks an element of a map in a reproducible way.
func one[K int | string | WantID, V any](w *world, m map[K]V) (k K, ok bool) {
	if len(m) == 0 {
		return k, false
	}
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys[w.next(len(keys))], true
}

func (w *world) random() {
	w.now = w.now.Add(time.Duration(w.next(200)) * time.Millisecond)
	switch w.next(13) {
	case 12:
		if len(w.ended) == 0 {
			return
		}
		f := w.ended[w.next(len(w.ended))]
		for _, id := range f.Wants {
			delete(w.open, id)
		}
		w.step(Responded{Request: f.Request, Satisfied: f.Wants})
	case 0, 1:
		w.add()
	case 2:
		if id, ok := one(w, w.open); ok {
			delete(w.open, id)
			w.step(WantCancelled{[]WantID{id}})
		}
	case 3:
		if id, ok := one(w, w.open); ok {
			w.step(WantRaised{id, Class(w.next(classes))})
		}
	case 4:
		w.join([]string{"good", "empty", "liar", "partial", "cutter", "broken", "mute"}[w.next(7)])
	case 5:
		if id, ok := one(w, w.peers); ok {
			delete(w.peers, id)
			w.step(PeerLeft{id})
		}
	case 6:
		if id, ok := one(w, w.peers); ok {
			w.step(PeerHead{id, uint64(w.next(100))})
		}
	case 7:
		w.step(Tick{})
	default:
		if len(w.flights) == 0 {
			return
		}
		if f := w.flights[w.next(len(w.flights))]; w.peers[f.Peer] != "mute" {
			w.reply(f)
		}
	}
}

// settle lets the world run on by itself, with one honest peer, until every want is
// satisfied: replies after 50 ms, wake-ups when asked for.
func (w *world) settle() {
	w.join("good")
	honest := fmt.Sprintf("good%d", w.nextID)
	began, patience := w.now, 10*time.Minute+time.Duration(len(w.peers))*20*time.Second // mute ones take time to find out
	for steps := 0; len(w.open) > 0; steps++ {
		if w.now.After(began.Add(patience)) || steps > 100_000 {
			w.t.Fatalf("%d wants open after %v and %d steps beside honest %s", len(w.open), w.now.Sub(began), steps, honest)
		}
		i := slices.IndexFunc(w.flights, func(f Send) bool { return w.peers[f.Peer] != "mute" })
		switch {
		case i >= 0:
			w.now = w.now.Add(5 * time.Millisecond)
			w.reply(w.flights[i])
		case !w.wake.IsZero():
			w.now = w.wake
			w.step(Tick{})
		default:
			w.t.Fatalf("asleep with %d wants open", len(w.open))
		}
	}
}

func TestEveryWantIsSatisfied(t *testing.T) {
	for seed := range int64(25) {
		rng := rand.New(rand.NewSource(seed))
		w := newWorld(t, rng.Intn)
		for range 250 {
			w.random()
		}
		w.settle()
	}
}

func TestStepIsDeterministic(t *testing.T) {
	run := func() string {
		rng := rand.New(rand.NewSource(7))
		w := newWorld(t, rng.Intn)
		for range 500 {
			w.random()
		}
		return fmt.Sprintf("%+v %v", w.flights, w.wake)
	}
	if a, b := run(), run(); a != b {
		t.Fatalf("two runs differ:\n%s\n%s", a, b)
	}
}

func FuzzStep(f *testing.F) {
	f.Add([]byte{10, 4, 0, 50, 0, 1, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 60, 8, 0})
	f.Add([]byte("the quick brown fox jumps over the lazy dog, again and again and again"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		w := newWorld(t, func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := int(data[0])
			data = data[1:]
			return b % n
		})
		for len(data) > 0 {
			w.random()
		}
		w.settle()
	})
}

// TestUselessPeer: empty answers under roots that others serve are called out in the
// end, and never as a lie.
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

// TestWindowFollowsDelay: a far peer that serves quickly gets a deeper pipe, and may have waiting
// what it works off soon.
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
				r := &request{sent: now, queued: p.backlog(n)}
				p.sample(now.Add(test.rtt+time.Duration(n+1)*test.service), r)
				p.serve()
			}
			now = now.Add(10 * time.Second)
		}
		if p.pipe() != test.pipe || p.window() != test.window {
			t.Errorf("%v away, %v for each request: pipe %d, window %d; want %d, %d",
				test.rtt, test.service, p.pipe(), p.window(), test.pipe, test.window)
		}
	}
}
