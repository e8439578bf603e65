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

// delayed plays peers with a delay each, and one batch of wants after another.
type delayed struct {
	*Scheduler
	t       *testing.T
	now     time.Time
	wake    time.Time
	answers map[string]func(Send) (after time.Duration, ev Event) // by peer; nil event: never
	coming  []coming
	open    map[WantID]bool
	last    WantID
	sent    int // cost of all requests
	costs   map[WantID]int
}

type coming struct {
	at time.Time
	ev Event
}

func newDelayed(t *testing.T) *delayed {
	return &delayed{
		Scheduler: New(), t: t, now: time.Unix(1_000_000, 0), open: make(map[WantID]bool), costs: make(map[WantID]int),
		answers: make(map[string]func(Send) (time.Duration, Event)),
	}
}

func (d *delayed) join(id string, answer func(Send) (time.Duration, Event)) {
	d.answers[id] = answer
	d.step(PeerJoined{ID: id})
}

func (d *delayed) step(ev Event) {
	d.t.Helper()
	for _, a := range d.Step(d.now, ev) {
		switch a := a.(type) {
		case Send:
			for _, id := range a.Wants {
				d.sent += d.costs[id]
			}
			if after, ev := d.answers[a.Peer](a); ev != nil {
				d.coming = append(d.coming, coming{d.now.Add(after), ev})
			}
		case WakeAt:
			d.wake = a.Time
		}
	}
	if err := d.check(); err != nil {
		d.t.Fatal(err)
	}
}

// batch adds wants under a root and returns how long it took until all were satisfied.
func (d *delayed) batch(root common.Hash, class Class, wants, cost int) time.Duration {
	d.t.Helper()
	began := d.now
	var ev WantAdded
	for range wants {
		d.last++
		d.open[d.last], d.costs[d.last] = true, cost
		ev.Wants = append(ev.Wants, Want{ID: d.last, Class: class, Root: root, Cost: cost})
	}
	d.step(ev)
	for len(d.open) > 0 {
		d.next()
		if d.now.Sub(began) > time.Hour {
			d.t.Fatalf("%d wants open after an hour", len(d.open))
		}
	}
	return d.now.Sub(began)
}

// next moves to the next event: a reply, or the wake-up that the scheduler requested.
func (d *delayed) next() {
	d.t.Helper()
	first := -1
	for i, c := range d.coming {
		if first < 0 || c.at.Before(d.coming[first].at) {
			first = i
		}
	}
	switch {
	case first < 0 && d.wake.IsZero():
		d.t.Fatalf("asleep with %d wants open", len(d.open))
	case first < 0 || !d.wake.IsZero() && d.wake.Before(d.coming[first].at):
		d.now = d.wake
		d.step(Tick{})
		return
	}
	c := d.coming[first]
	d.coming = slices.Delete(d.coming, first, first+1)
	d.now = c.at
	if r, ok := c.ev.(Responded); ok {
		for _, id := range r.Satisfied {
			delete(d.open, id)
		}
	}
	d.step(c.ev)
}

// pass moves the time forward, with all events on the way.
func (d *delayed) pass(after time.Duration) {
	until := d.now.Add(after)
	d.coming = append(d.coming, coming{until, Tick{}})
	for d.now.Before(until) {
		d.next()
	}
}

func all(after time.Duration) func(Send) (time.Duration, Event) {
	return func(s Send) (time.Duration, Event) {
		return after, Responded{Request: s.Request, Satisfied: s.Wants}
	}
}

// TestBatchTakesOneTrip: a batch for known peers takes one round trip, up to the cost of the
// largest blocks and with any number of peers, and sends nothing twice.
func TestBatchTakesOneTrip(t *testing.T) {
	const rtt = 100 * time.Millisecond
	for _, peers := range []int{1, 2, 5, 25} {
		d := newDelayed(t)
		for n := range peers {
			d.join(fmt.Sprint(n), all(rtt))
		}
		for n := range 40 { // their windows grow
			d.batch(common.Hash{byte(n)}, Urgent, 20, 100)
			d.pass(time.Second)
		}
		for _, cost := range []int{1, 300, 3000, 25_000} {
			before := d.sent
			took := d.batch(common.Hash{1, byte(cost)}, Urgent, (cost+9)/10, 10)
			if took != rtt {
				t.Errorf("%d peers, cost %d: took %v", peers, cost, took)
			}
			if extra := d.sent - before - (cost+9)/10*10; extra > 0 {
				t.Errorf("%d peers, cost %d: a cost of %d was sent twice", peers, cost, extra)
			}
			d.pass(time.Second)
		}
	}
}

// TestFirstBatchTakesOneTrip: so does the first large batch for a peer with one reply.
func TestFirstBatchTakesOneTrip(t *testing.T) {
	d := newDelayed(t)
	d.join("a", all(100*time.Millisecond))
	d.batch(common.Hash{1}, Urgent, 1, 1)
	if took := d.batch(common.Hash{1}, Urgent, 700, 10); took != 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// TestNoStall: with one good peer among silent, slow, empty and broken ones, the first batch
// takes at most two seconds, and later ones hardly longer than with the good peer alone.
func TestNoStall(t *testing.T) {
	const rtt = 100 * time.Millisecond
	worst, worstFirst := time.Duration(0), time.Duration(0)
	for seed := range int64(30) {
		rng, d := rand.New(rand.NewSource(seed)), newDelayed(t)
		bad := []func(Send) (time.Duration, Event){
			func(Send) (time.Duration, Event) { return 0, nil },
			all(5 * time.Second),
			func(s Send) (time.Duration, Event) {
				return rtt, Responded{Request: s.Request, Unsatisfied: s.Wants, Empty: true}
			},
			func(s Send) (time.Duration, Event) { return rtt, Failed{s.Request, Broken} },
		}
		good := rng.Intn(25)
		for n := range 25 {
			if n == good {
				d.join("good", all(rtt))
			} else {
				d.join(fmt.Sprint(n), bad[rng.Intn(len(bad))])
			}
		}
		worstFirst = max(worstFirst, d.batch(common.Hash{1}, Urgent, 1+rng.Intn(60), 8))
		for n := range 60 {
			if took := d.batch(common.Hash{2, byte(n / 5)}, Urgent, 1+rng.Intn(60), 8); n > 2 {
				worst = max(worst, took)
			}
		}
	}
	if worstFirst > 2*time.Second || worst > 3*rtt {
		t.Errorf("the first batch took %v at most, later ones %v", worstFirst, worst)
	}
	t.Logf("the first batch took %v at most, later ones %v", worstFirst, worst)
}

// TestHedgesAreBounded: with good peers only, near and distant ones, the cost of hedges is
// bounded: a race at the start, a few probes of the distant peers later.
func TestHedgesAreBounded(t *testing.T) {
	for _, cost := range []int{50, 300, 1000, 4000} {
		d := newDelayed(t)
		for n := range 25 {
			d.join(fmt.Sprint(n), all(time.Duration(50+10*n)*time.Millisecond))
		}
		d.batch(common.Hash{1}, Urgent, cost/10, 10)
		first := d.sent
		if most := max(2*cost, min(maxRacers*cost, raceCost)); first > most {
			t.Errorf("a first batch of %d was sent as %d, want %d at most", cost, first, most)
		}
		d.pass(3 * time.Second)
		before := d.sent
		for n := range 20 {
			d.batch(common.Hash{2, byte(n)}, Urgent, 100, 10)
			d.pass(time.Second)
		}
		later := d.sent - before
		if later > 20*1000*115/100 {
			t.Errorf("batches of 20000 in all were sent as %d", later)
		}
		t.Logf("a first batch of %d was sent as %d, 20000 later as %d", cost, first, later)
	}
}
