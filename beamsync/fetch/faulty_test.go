// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func TestOnlyPeerEmptyOnce(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peer := beamtest.NewFakePeer("a", beamtest.RTT)
		peer.Mangle = func(n int, blobs [][]byte) ([][]byte, error) {
			if n == 0 {
				return nil, nil
			}
			return blobs, nil
		}
		r.Connect(peer)
		session := r.Session(sched.Urgent)
		r.Took(beamtest.RTT+250*time.Millisecond+beamtest.RTT, func() {
			if _, err := session.FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
		if stats := session.Stats(); stats.Trips != 2 {
			t.Errorf("stats %+v: it took two round trips", stats)
		}
		if got := r.Blames.All(); len(got) != 0 {
			t.Error("blames", got)
		}
	})
}

func TestAllPeersGoneThenOneReturns(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		a, b := beamtest.NewFakePeer("a", beamtest.RTT), beamtest.NewFakePeer("b", beamtest.RTT)
		r.Connect(a, b)
		time.AfterFunc(50*time.Millisecond, func() { r.Disconnect(a); r.Disconnect(b) })
		time.AfterFunc(time.Minute, func() { r.Join(beamtest.NewFakePeer("c", beamtest.RTT)) })
		r.Took(time.Minute+beamtest.RTT, func() {
			if _, err := r.Session(sched.Urgent).FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestSlowPeerIsHedged: a peer that nothing is known of is raced with another; one that was quick
// and is not any longer is hedged soon.
func TestSlowPeerIsHedged(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		a, b := beamtest.NewFakePeer("a", beamtest.RTT), beamtest.NewFakePeer("b", beamtest.RTT)
		a.Stall = func(int) bool { return true }
		var muted atomic.Bool
		b.Stall = func(int) bool { return muted.Load() }
		r.Connect(a)
		session := r.Session(sched.Urgent)
		fetch := func(session *fetch.Session, key int) {
			t.Helper()
			// It does not look whether the node is held.
			if err := session.FetchMany(r.Ctx, []trie.Fault{beamtest.RootFault(key)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(10*time.Millisecond, func() { r.Join(b) })
		r.Took(10*time.Millisecond+beamtest.RTT, func() { fetch(session, 1) })
		if stats := session.Stats(); stats.Trips != 1 || stats.Requests != 2 {
			t.Errorf("stats %+v", stats)
		}
		for key := range 9 {
			r.Took(beamtest.RTT, func() { fetch(session, 2+key) })
		}
		r.Connect(beamtest.NewFakePeer("c", beamtest.RTT))
		r.Took(beamtest.RTT, func() { fetch(session, 19) }) // c gets a copy, to see what it is worth
		synctest.Wait()
		muted.Store(true)
		r.Took(beamtest.RTT+beamtest.RTT/4+beamtest.RTT, func() { fetch(session, 20) }) // a quarter later than usual
		time.Sleep(6 * time.Second)
		if got := r.Blames.All(); !slices.Equal(got, []string{"a:timeout", "b:timeout"}) {
			t.Error("blames", got)
		}
	})
}

// deafPeer answers after a time of its own, whatever has become of the request.
type deafPeer struct {
	*beamtest.FakePeer
	after time.Duration
}

func (p deafPeer) TrieNodes(ctx context.Context, root common.Hash, sets [][][]byte, maxBytes uint64) ([][]byte, error) {
	time.Sleep(p.after - p.Rtt)
	return p.FakePeer.TrieNodes(context.WithoutCancel(ctx), root, sets, maxBytes)
}

// TestLateReply: a reply that crosses with the end of its request counts, and what it satisfied is
// not asked for again: neither when its peer's back-off ends nor when another peer joins.
func TestLateReply(t *testing.T) {
	for _, class := range sched.Classes() {
		beamtest.InBubble(t, func(r *beamtest.Rig) {
			late := deafPeer{beamtest.NewFakePeer("a", beamtest.RTT), 5300 * time.Millisecond} // the deadline is after 5.2 s
			r.Join(late)
			other := beamtest.NewFakePeer("b", beamtest.RTT)
			time.AfterFunc(5350*time.Millisecond, func() { r.Join(other) })
			r.Took(late.after, func() {
				if _, err := r.Session(class).FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
					t.Fatal(err)
				}
			})
			time.Sleep(30 * time.Second)
			if late.Served() != 1 || other.Served() != 0 {
				t.Errorf("asked %d and %d times", late.Served(), other.Served())
			}
		})
	}
}

func TestLostRequestGoesElsewhere(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		a, b := beamtest.NewFakePeer("a", beamtest.RTT), beamtest.NewFakePeer("b", beamtest.RTT)
		r.Connect(a)
		r.DisconnectAfter(a, 20*time.Millisecond)
		time.AfterFunc(30*time.Millisecond, func() { r.Join(b) })
		r.Took(30*time.Millisecond+beamtest.RTT, func() {
			if _, err := r.Session(sched.Predictive).FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func TestStatelessPeerIsNotAskedForState(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		chainOnly := beamtest.NewFakePeer("chain", time.Millisecond)
		chainOnly.NoState = true
		r.Connect(chainOnly)
		ctx, cancel := context.WithTimeout(r.Ctx, time.Second)
		defer cancel()
		if _, err := r.Session(sched.Urgent).FetchNode(ctx, beamtest.RootFault(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if chainOnly.Served() != 0 {
			t.Error("it was asked")
		}
	})
}

// TestOneGoodPeerInMany: empty, slow, lying, silent and broken peers around one good one
// cost time, not more.
func TestOneGoodPeerInMany(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		var peers []*beamtest.FakePeer
		for i := range 24 {
			p := beamtest.NewFakePeer("bad"+string(rune('a'+i)), beamtest.RTT)
			switch i % 5 {
			case 0:
				p.Mangle = func(int, [][]byte) ([][]byte, error) { return nil, nil }
			case 1:
				p.Slow = func(int) time.Duration { return 4 * time.Second }
			case 2:
				p.Mangle = func(int, [][]byte) ([][]byte, error) { return [][]byte{{1, 2, 3}}, nil }
			case 3:
				p.Stall = func(int) bool { return true }
			case 4:
				p.Mangle = func(int, [][]byte) ([][]byte, error) { return nil, errors.New("broken") }
			}
			peers = append(peers, p)
		}
		peers = slices.Insert(peers, 20, beamtest.NewFakePeer("good", beamtest.RTT))
		r.Connect(peers...)
		session := r.Session(sched.Urgent)
		reader, _ := trie.Open(r.Ctx, beamtest.TheState().Root, r.Cache, session).Reader(beamtest.TheState().Root)
		worst := time.Duration(0)
		for i := range 300 {
			began := time.Now()
			account, err := reader.Account(beamtest.AddressOf(i * 7))
			if err != nil || account.Balance.Uint64() != uint64(i*7) {
				t.Fatal(i, account, err)
			}
			worst = max(worst, time.Since(began))
		}
		if worst > 12*time.Second {
			t.Errorf("worst stall %v", worst)
		}
		stats := session.Stats()
		if mean := stats.Wait / time.Duration(stats.Faults); mean > 3*beamtest.RTT {
			t.Errorf("mean wait %v", mean)
		}
		t.Logf("worst stall %v, %+v", worst, stats)
	})
}

// TestStuckWantStarvesNobody: a block whose state nobody has waits for peers, not for room at them; what the backfill
// asks for goes on meanwhile.
func TestStuckWantStarvesNobody(t *testing.T) {
	for peers := 1; peers <= 3; peers++ {
		beamtest.InBubble(t, func(r *beamtest.Rig) {
			for i := range peers {
				r.Connect(beamtest.NewFakePeer(string(rune('a'+i)), beamtest.RTT))
			}
			stuck, cancel := context.WithCancel(r.Ctx)
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				lost := beamtest.RootFault(1)
				lost.Root = common.Hash{1}
				_, _ = r.Session(sched.Urgent).FetchNode(stuck, lost)
			}()
			time.Sleep(20 * time.Second)
			limited, give := context.WithTimeout(r.Ctx, time.Minute)
			defer give()
			for key := range 20 {
				if err := r.Session(sched.Background).FetchMany(limited, []trie.Fault{beamtest.RootFault(key)}, nil); err != nil {
					t.Errorf("%d peers: %d of 20 came within a minute", peers, key)
					break
				}
			}
			cancel()
			<-ended
		})
	}
}
