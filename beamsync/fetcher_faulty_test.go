package beamsync

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func TestOnlyPeerEmptyOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newFakePeer("a", rtt)
		peer.mangle = func(n int, blobs [][]byte) ([][]byte, error) {
			if n == 0 {
				return nil, nil
			}
			return blobs, nil
		}
		r.join(peer)
		session := r.Session(sched.Urgent)
		r.took(rtt+250*time.Millisecond+rtt, func() {
			if _, err := session.FetchNode(r.ctx, rootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
		if stats := session.Stats(); stats.Trips != 2 {
			t.Errorf("stats %+v: it took two round trips", stats)
		}
		if got := r.blames.all(); len(got) != 0 {
			t.Error("blames", got)
		}
	})
}

func TestAllPeersGoneThenOneReturns(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := newFakePeer("a", rtt), newFakePeer("b", rtt)
		r.join(a, b)
		time.AfterFunc(50*time.Millisecond, func() { r.disconnect(a); r.disconnect(b) })
		time.AfterFunc(time.Minute, func() { r.Join(newFakePeer("c", rtt)) })
		r.took(time.Minute+rtt, func() {
			if _, err := r.Session(sched.Urgent).FetchNode(r.ctx, rootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestSlowPeerIsHedged: a peer that nothing is known of is raced with another; one that was quick
// and is not any longer is hedged soon.
func TestSlowPeerIsHedged(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := newFakePeer("a", rtt), newFakePeer("b", rtt)
		a.stall = func(int) bool { return true }
		var muted atomic.Bool
		b.stall = func(int) bool { return muted.Load() }
		r.join(a)
		session := r.Session(sched.Urgent)
		fetch := func(session *Session, key int) {
			t.Helper()
			// It does not look whether the node is held.
			if err := session.FetchMany(r.ctx, []trie.Fault{rootFault(key)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(10*time.Millisecond, func() { r.Join(b) })
		r.took(10*time.Millisecond+rtt, func() { fetch(session, 1) })
		if stats := session.Stats(); stats.Trips != 1 || stats.Requests != 2 {
			t.Errorf("stats %+v", stats)
		}
		for key := range 9 {
			r.took(rtt, func() { fetch(session, 2+key) })
		}
		r.join(newFakePeer("c", rtt))
		r.took(rtt, func() { fetch(session, 19) }) // c gets a copy, to see what it is worth
		synctest.Wait()
		muted.Store(true)
		r.took(rtt+rtt/4+rtt, func() { fetch(session, 20) }) // a quarter later than usual
		time.Sleep(6 * time.Second)
		if got := r.blames.all(); !slices.Equal(got, []string{"a:timeout", "b:timeout"}) {
			t.Error("blames", got)
		}
	})
}

// deafPeer answers after a time of its own, whatever has become of the request.
type deafPeer struct {
	*fakePeer
	after time.Duration
}

func (p deafPeer) TrieNodes(ctx context.Context, root common.Hash, sets [][][]byte, maxBytes uint64) ([][]byte, error) {
	time.Sleep(p.after - p.rtt)
	return p.fakePeer.TrieNodes(context.WithoutCancel(ctx), root, sets, maxBytes)
}

// TestLateReply: a reply that crosses with the end of its request counts, and what it satisfied is
// not asked for again: neither when its peer's back-off ends nor when another peer joins.
func TestLateReply(t *testing.T) {
	for _, class := range sched.Classes() {
		inBubble(t, func(r *rig) {
			late := deafPeer{newFakePeer("a", rtt), 5300 * time.Millisecond} // the deadline is after 5.2 s
			r.Join(late)
			other := newFakePeer("b", rtt)
			time.AfterFunc(5350*time.Millisecond, func() { r.Join(other) })
			r.took(late.after, func() {
				if _, err := r.Session(class).FetchNode(r.ctx, rootFault(1)); err != nil {
					t.Fatal(err)
				}
			})
			time.Sleep(30 * time.Second)
			if late.served() != 1 || other.served() != 0 {
				t.Errorf("asked %d and %d times", late.served(), other.served())
			}
		})
	}
}

func TestLostRequestGoesElsewhere(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := newFakePeer("a", rtt), newFakePeer("b", rtt)
		r.join(a)
		r.disconnectAfter(a, 20*time.Millisecond)
		time.AfterFunc(30*time.Millisecond, func() { r.Join(b) })
		r.took(30*time.Millisecond+rtt, func() {
			if _, err := r.Session(sched.Predictive).FetchNode(r.ctx, rootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func (r *rig) disconnectAfter(p *fakePeer, d time.Duration) {
	time.AfterFunc(d, func() { r.disconnect(p) })
}

func TestStatelessPeerIsNotAskedForState(t *testing.T) {
	inBubble(t, func(r *rig) {
		chainOnly := newFakePeer("chain", time.Millisecond)
		chainOnly.noState = true
		r.join(chainOnly)
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		if _, err := r.Session(sched.Urgent).FetchNode(ctx, rootFault(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if chainOnly.served() != 0 {
			t.Error("it was asked")
		}
	})
}

// TestOneGoodPeerInMany: empty, slow, lying, silent and broken peers around one good one
// cost time, not more.
func TestOneGoodPeerInMany(t *testing.T) {
	inBubble(t, func(r *rig) {
		var peers []*fakePeer
		for i := range 24 {
			p := newFakePeer("bad"+string(rune('a'+i)), rtt)
			switch i % 5 {
			case 0:
				p.mangle = func(int, [][]byte) ([][]byte, error) { return nil, nil }
			case 1:
				p.slow = func(int) time.Duration { return 4 * time.Second }
			case 2:
				p.mangle = func(int, [][]byte) ([][]byte, error) { return [][]byte{{1, 2, 3}}, nil }
			case 3:
				p.stall = func(int) bool { return true }
			case 4:
				p.mangle = func(int, [][]byte) ([][]byte, error) { return nil, errors.New("broken") }
			}
			peers = append(peers, p)
		}
		peers = slices.Insert(peers, 20, newFakePeer("good", rtt))
		r.join(peers...)
		session := r.Session(sched.Urgent)
		reader, _ := trie.Open(r.ctx, theBag().root, r.cache, session).Reader(theBag().root)
		worst := time.Duration(0)
		for i := range 300 {
			began := time.Now()
			account, err := reader.Account(bagAddress(i * 7))
			if err != nil || account.Balance.Uint64() != uint64(i*7) {
				t.Fatal(i, account, err)
			}
			worst = max(worst, time.Since(began))
		}
		if worst > 12*time.Second {
			t.Errorf("worst stall %v", worst)
		}
		stats := session.Stats()
		if mean := stats.Wait / time.Duration(stats.Faults); mean > 3*rtt {
			t.Errorf("mean wait %v", mean)
		}
		t.Logf("worst stall %v, %+v", worst, stats)
	})
}

// TestStuckWantStarvesNobody: a block whose state nobody has waits for peers, not for room at them; what the backfill
// asks for goes on meanwhile.
func TestStuckWantStarvesNobody(t *testing.T) {
	for peers := 1; peers <= 3; peers++ {
		inBubble(t, func(r *rig) {
			for i := range peers {
				r.join(newFakePeer(string(rune('a'+i)), rtt))
			}
			stuck, cancel := context.WithCancel(r.ctx)
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				lost := rootFault(1)
				lost.Root = common.Hash{1}
				_, _ = r.Session(sched.Urgent).FetchNode(stuck, lost)
			}()
			time.Sleep(20 * time.Second)
			limited, give := context.WithTimeout(r.ctx, time.Minute)
			defer give()
			for key := range 20 {
				if err := r.Session(sched.Background).FetchMany(limited, []trie.Fault{rootFault(key)}, nil); err != nil {
					t.Errorf("%d peers: %d of 20 came within a minute", peers, key)
					break
				}
			}
			cancel()
			<-ended
		})
	}
}
