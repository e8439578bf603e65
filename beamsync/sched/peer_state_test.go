// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// onePeer drives a scheduler with one peer, one request at a time, each under a root of its
// own: no back-off is in the way.
type onePeer struct {
	t    *testing.T
	s    *Scheduler
	now  time.Time
	want WantID
}

func newOnePeer(t *testing.T) *onePeer {
	d := &onePeer{t: t, s: New(), now: time.Unix(1000, 0)}
	d.step(PeerJoined{ID: "p"})
	return d
}

func (d *onePeer) step(ev Event) (sent *Send) {
	d.t.Helper()
	for _, a := range d.s.Step(d.now, ev) {
		if send, ok := a.(Send); ok {
			sent = &send
		}
	}
	if err := d.s.check(); err != nil {
		d.t.Fatal(err)
	}
	return sent
}

// outcome is how a request ends.
type outcome struct {
	name  string
	after time.Duration
	event func(Send) Event
}

// request sends one request to the peer and lets it end. Its want is cancelled then.
func (d *onePeer) request(o outcome) {
	d.t.Helper()
	d.want++
	sent := d.step(WantAdded{[]Want{{ID: d.want, Class: Predictive, Root: common.Hash{byte(d.want)}, Cost: 1}}})
	if sent == nil {
		d.t.Fatal("the peer is sent nothing")
	}
	d.now = d.now.Add(o.after)
	d.step(o.event(*sent))
	d.step(WantCancelled{[]WantID{d.want}})
}

// TestPeerStates: from each state, each way in which a request can end leads to the state
// that the table of the package documentation names.
func TestPeerStates(t *testing.T) {
	useful := func(s Send) Event { return Responded{Request: s.Request, Satisfied: s.Wants} }
	failure := func(f Failure) func(Send) Event {
		return func(s Send) Event { return Failed{s.Request, f} }
	}
	var (
		fastReply  = outcome{"useful reply after 100 ms", 100 * time.Millisecond, useful}
		slowReply  = outcome{"useful reply after 4 s", 4 * time.Second, useful}
		emptyReply = outcome{"empty reply", 100 * time.Millisecond, func(s Send) Event {
			return Responded{Request: s.Request, Unsatisfied: s.Wants, Empty: true}
		}}
		uselessReply = outcome{"reply that satisfies no want", 100 * time.Millisecond, func(s Send) Event {
			return Responded{Request: s.Request, Unsatisfied: s.Wants}
		}}
		timeout      = outcome{"timeout", 5 * time.Second, failure(TimedOut)}
		broken       = outcome{"broken exchange", 100 * time.Millisecond, failure(Broken)}
		disconnected = outcome{"disconnect", 100 * time.Millisecond, failure(Disconnected)}
		unsupported  = outcome{"unsupported kind", 100 * time.Millisecond, failure(Unsupported)}
	)
	outcomes := []outcome{fastReply, slowReply, emptyReply, uselessReply, timeout, broken, disconnected, unsupported}
	const (
		probing = stateProbing
		trusted = stateTrusted
		slow    = stateSlow
		late    = stateTimingOut
	)
	for _, test := range []struct {
		name   string
		before []outcome
		state  peerState
		after  []peerState // by outcome
	}{
		{
			"untried", nil, stateUntried,
			[]peerState{trusted, slow, probing, probing, late, probing, probing, probing},
		},
		{
			"never served",
			[]outcome{emptyReply},
			probing,
			[]peerState{trusted, trusted, probing, probing, late, probing, probing, probing},
		},
		{
			"serves no longer",
			[]outcome{fastReply, broken, broken, broken, broken, broken, broken},
			probing,
			[]peerState{trusted, trusted, probing, probing, late, probing, probing, probing},
		},
		{
			"serves",
			[]outcome{fastReply},
			trusted,
			[]peerState{trusted, trusted, trusted, trusted, late, trusted, trusted, trusted},
		},
		{
			"serves with a bad score",
			[]outcome{fastReply, broken, broken, broken, broken, broken},
			trusted,
			[]peerState{trusted, trusted, probing, trusted, late, probing, trusted, trusted},
		},
		{
			"serves slower",
			[]outcome{fastReply, slowReply},
			trusted,
			[]peerState{trusted, slow, trusted, trusted, late, trusted, trusted, trusted},
		},
		{
			"serves slowly",
			[]outcome{slowReply},
			slow,
			[]peerState{slow, slow, slow, slow, late, slow, slow, slow},
		},
		{
			"serves faster",
			[]outcome{slowReply, fastReply},
			slow,
			[]peerState{slow, slow, slow, slow, late, slow, slow, slow},
		},
		{
			"serves faster and faster",
			[]outcome{slowReply, fastReply, fastReply},
			slow,
			[]peerState{trusted, slow, trusted, trusted, late, slow, slow, slow},
		},
		{
			"times out and never served",
			[]outcome{timeout},
			late,
			[]peerState{slow, slow, probing, probing, late, late, late, late},
		},
		{
			"times out and served",
			[]outcome{fastReply, timeout},
			late,
			[]peerState{slow, slow, slow, slow, late, late, late, late},
		},
		{
			"times out with a bad score",
			[]outcome{fastReply, broken, broken, broken, broken, broken, timeout},
			late,
			[]peerState{slow, slow, probing, probing, late, late, late, late},
		},
	} {
		for i, o := range outcomes {
			d := newOnePeer(t)
			for _, o := range test.before {
				d.request(o)
			}
			if got := d.s.peer("p").state; got != test.state {
				t.Fatalf("%s: the peer is %v, want %v", test.name, got, test.state)
			}
			d.request(o)
			if got := d.s.peer("p").state; got != test.after[i] {
				t.Errorf("%s: after %s the peer is %v, want %v", test.name, o.name, got, test.after[i])
			}
		}
	}
}

// TestInvalidReplyRemovesPeer: the scheduler forgets the peer; the caller decides whether it may join
// again, and a peer that does starts anew.
func TestInvalidReplyRemovesPeer(t *testing.T) {
	d := newOnePeer(t)
	d.want++
	sent := d.step(WantAdded{[]Want{{ID: d.want, Class: Urgent, Root: common.Hash{1}, Cost: 1}}})
	d.step(Responded{Request: sent.Request, Unsatisfied: sent.Wants, Invalid: true})
	if p := d.s.peer("p"); p != nil {
		t.Fatalf("the peer is %v, want it forgotten", p.state)
	}
	d.step(PeerJoined{ID: "p"})
	if p := d.s.peer("p"); p == nil || p.state != stateUntried && p.state != stateProbing {
		t.Fatalf("the peer is %+v after it joined again", p)
	}
}
