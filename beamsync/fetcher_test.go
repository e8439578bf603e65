package beamsync

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const rtt = 100 * time.Millisecond

func TestColdReadsTakeOneTripPerKey(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newFakePeer("a", rtt)
		r.join(peer)
		session := r.Session(sched.Urgent)
		reader, err := trie.Open(r.ctx, theBag().root, r.cache, session).Reader(theBag().root)
		if err != nil {
			t.Fatal(err)
		}
		r.took(rtt, func() {
			account, err := reader.Account(bagAddress(1))
			if err != nil || account == nil || account.Balance.Uint64() != 1 {
				t.Fatal(account, err)
			}
		})
		r.took(rtt, func() { // the account is known now: its storage is one trip more
			value, err := reader.Storage(bagAddress(1), bagSlot(17))
			if err != nil || value != bagValue(17) {
				t.Fatal(value, err)
			}
		})
		r.took(rtt, func() { // a code
			code, err := session.FetchCode(r.ctx, theBag().code[1])
			if err != nil || !bytes.Equal(code, theBag().codes[theBag().code[1]]) {
				t.Fatal(code, err)
			}
		})
		r.took(0, func() { // all held
			for range 2 {
				if _, err := reader.Account(bagAddress(1)); err != nil {
					t.Fatal(err)
				}
			}
		})
		r.took(rtt, func() { // an absent account is proved absent in one trip as well
			if account, err := reader.Account(common.Address{0xff}); err != nil || account != nil {
				t.Fatal(account, err)
			}
		})
		stats := session.Stats()
		if stats.Trips != 4 || stats.Faults != 4 || stats.Requests != 4 || stats.Wait != 4*rtt || stats.Codes != 1 {
			t.Errorf("stats %+v", stats)
		}
		if stats.Nodes < 8 || stats.Bytes < 1000 {
			t.Errorf("stats %+v", stats)
		}
		if got := r.blames.all(); len(got) != 0 {
			t.Error("blames", got)
		}
	})
}

func TestManyTravelTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		peers := []*fakePeer{newFakePeer("a", rtt), newFakePeer("b", rtt), newFakePeer("c", rtt)}
		r.join(peers...)
		var faults []trie.Fault
		for i := range 500 {
			faults = append(faults, rootFault(i))
		}
		session := r.Session(sched.Predictive)
		r.took(rtt, func() {
			if err := session.FetchMany(r.ctx, faults, theBag().code); err != nil {
				t.Fatal(err)
			}
		})
		local := trie.Open(r.ctx, theBag().root, r.cache, nothing{t})
		reader, err := local.Reader(theBag().root)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			account, err := reader.Account(bagAddress(i))
			if err != nil || account.Balance.Uint64() != uint64(i) {
				t.Fatal(i, account, err)
			}
		}
		if stats := session.Stats(); stats.Trips != 1 || stats.Faults != 505 || stats.Codes != bagContracts || stats.Requests > 20 {
			t.Errorf("stats %+v", stats)
		}
		for _, p := range peers {
			if p.served() < 2 {
				t.Errorf("%s got %d requests", p.id, p.served())
			}
			if most := slices.Max(p.paths); most > 512 {
				t.Errorf("%s was asked for %d paths at once", p.id, most)
			}
		}
	})
}

// nothing is a source that must not be asked.
type nothing struct{ t *testing.T }

func (n nothing) FetchNode(_ context.Context, f trie.Fault) ([]byte, error) {
	n.t.Errorf("%x is not held", f.Path)
	return nil, trie.ErrUnavailable
}

func (n nothing) FetchCode(context.Context, common.Hash) ([]byte, error) {
	return nil, trie.ErrUnavailable
}

func TestStorageOfOneContractIsOneSet(t *testing.T) {
	owner, root := common.Hash{1}, common.Hash{2}
	var asks []ask
	for i := range 50 {
		key := trie.Nibbles(crypto.Keccak256Hash(bagSlot(i).Bytes()))
		asks = append(asks, ask{target: nodeTarget(trie.Fault{Root: root, Owner: owner, Key: key}), depth: 6})
		asks = append(asks, ask{target: nodeTarget(trie.Fault{Root: root, Key: key}), depth: 6})
	}
	sets, paths := pathSets(asks)
	count, seen, storage := 0, make(map[string]bool), 0
	for _, set := range sets {
		if len(set) == 1 {
			count++
			if seen[string(set[0])] {
				t.Fatal("an account path twice")
			}
			seen[string(set[0])] = true
			continue
		}
		storage++
		if !bytes.Equal(set[0], owner[:]) {
			t.Fatal("set of a foreign owner")
		}
		count += len(set) - 1
		if !slices.IsSortedFunc(set[1:], func(a, b []byte) int { return len(a) - len(b) }) {
			t.Error("longer paths before shorter ones")
		}
	}
	if storage != 1 || count != paths || paths%2 != 0 {
		t.Errorf("%d storage sets, %d paths, said %d", storage, count, paths)
	}
}

func TestIdenticalWantsCoalesce(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newFakePeer("a", rtt)
		r.join(peer)
		var wg sync.WaitGroup
		r.took(rtt, func() {
			for i := range 10 {
				class := sched.Background
				if i == 9 {
					class = sched.Urgent
				}
				wg.Go(func() {
					if _, err := r.Session(class).FetchNode(r.ctx, rootFault(1)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
		if peer.served() != 1 {
			t.Errorf("%d requests", peer.served())
		}
	})
}

func TestCancellationIsPrompt(t *testing.T) {
	inBubble(t, func(r *rig) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(r.ctx)
		time.AfterFunc(30*time.Millisecond, func() { cancel(cause) })
		r.took(30*time.Millisecond, func() { // nobody there at all
			if _, err := r.Session(sched.Urgent).FetchNode(ctx, rootFault(1)); !errors.Is(err, cause) {
				t.Error(err)
			}
		})
		peer := newFakePeer("a", rtt)
		r.join(peer)
		// One of two callers goes; the other still gets it. A want of nobody is forgotten.
		short, cancel2 := context.WithTimeout(r.ctx, 10*time.Millisecond)
		defer cancel2()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Session(sched.RPC).FetchNode(short, rootFault(2)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		r.took(rtt, func() {
			if _, err := r.Session(sched.Urgent).FetchNode(r.ctx, rootFault(2)); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if peer.served() != 1 {
			t.Errorf("%d requests", peer.served())
		}
	})
}

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

// TestEveryChangedByteIsALie: wherever one bit of a reply is wrong, its peer is blamed,
// nothing of it is believed, and another one answers.
func TestEveryChangedByteIsALie(t *testing.T) {
	key := rootFault(1)
	blobs := theBag().trieNodes(key.Root, firstOf(pathSets([]ask{{target: nodeTarget(key), depth: 8}})), 1024)
	for i, blob := range blobs {
		if len(blob) == 0 {
			continue
		}
		for _, at := range []int{0, 1, len(blob) / 2, len(blob) - 1} {
			inBubble(t, func(r *rig) {
				liar := newFakePeer("liar", rtt)
				liar.mangle = func(_ int, blobs [][]byte) ([][]byte, error) {
					blobs[i] = bytes.Clone(blobs[i])
					blobs[i][at] ^= 1
					return blobs, nil
				}
				honest := newFakePeer("honest", rtt)
				r.join(liar)
				time.AfterFunc(10*time.Millisecond, func() { r.Join(honest) })
				reader, err := trie.Open(r.ctx, key.Root, r.cache, r.Session(sched.Urgent)).Reader(key.Root)
				if err != nil {
					t.Fatal(err)
				}
				account, err := reader.Account(bagAddress(1))
				if err != nil || account.Balance.Uint64() != 1 {
					t.Fatal(account, err)
				}
				if got := r.blames.all(); !slices.Equal(got, []string{"liar:lie"}) {
					t.Errorf("blob %d byte %d: blames %v", i, at, got)
				}
				n := liar.served()
				r.Join(liar) // under its old name it is not welcome
				if _, err := reader.Account(bagAddress(2)); err != nil {
					t.Fatal(err)
				}
				if liar.served() != n {
					t.Error("the liar was asked again")
				}
			})
		}
	}
}

func firstOf(sets [][][]byte, _ int) [][][]byte { return sets }

// TestWrongCodeIsALie and so is one that nobody asked for.
func TestWrongCodeIsALie(t *testing.T) {
	inBubble(t, func(r *rig) {
		liar := newFakePeer("liar", rtt)
		liar.mangle = func(_ int, codes [][]byte) ([][]byte, error) { return append(codes, []byte{1, 2, 3}), nil }
		r.join(liar)
		if _, err := r.Session(sched.Urgent).FetchCode(r.ctx, theBag().code[0]); err != nil {
			t.Fatal(err) // the true code in it counts
		}
		synctest.Wait()
		if got := r.blames.all(); !slices.Equal(got, []string{"liar:lie"}) {
			t.Error("blames", got)
		}
	})
}

// TestAnyOrderAndPosition: replies are matched by hash, so shifted, shuffled and repeated
// entries are as good as those in place.
func TestAnyOrderAndPosition(t *testing.T) {
	for name, mangle := range map[string]func([][]byte) [][]byte{
		"reversed":      func(b [][]byte) [][]byte { slices.Reverse(b); return b },
		"without empty": func(b [][]byte) [][]byte { return slices.DeleteFunc(b, func(x []byte) bool { return len(x) == 0 }) },
		"shifted":       func(b [][]byte) [][]byte { return append([][]byte{nil, nil}, b...) },
		"repeated":      func(b [][]byte) [][]byte { return append(b, b...) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				peer := newFakePeer("a", rtt)
				peer.mangle = func(_ int, b [][]byte) ([][]byte, error) { return mangle(b), nil }
				r.join(peer)
				session := r.Session(sched.Urgent)
				reader, _ := trie.Open(r.ctx, theBag().root, r.cache, session).Reader(theBag().root)
				value, err := reader.Storage(bagAddress(2), bagSlot(3))
				if err != nil || value != bagValue(3) {
					t.Fatal(value, err)
				}
				if stats := session.Stats(); stats.Trips != 2 || len(r.blames.all()) != 0 {
					t.Errorf("stats %+v, blames %v", stats, r.blames.all())
				}
			})
		})
	}
}

// TestTruncatedReplies: whatever a server's limits cut off is asked for again; the peer
// is not blamed, and its requests get smaller.
func TestTruncatedReplies(t *testing.T) {
	for _, lookups := range []int{1, 5, 60, 300} {
		inBubble(t, func(r *rig) {
			peer := newFakePeer("a", rtt)
			peer.lookups = lookups
			r.join(peer)
			var faults []trie.Fault
			for i := range 60 {
				faults = append(faults, rootFault(i))
			}
			ctx, cancel := context.WithTimeout(r.ctx, 5*time.Minute)
			defer cancel()
			session := r.Session(sched.Urgent)
			if err := session.FetchMany(ctx, faults, nil); err != nil {
				t.Fatalf("%d lookups: %v", lookups, err)
			}
			reader, _ := trie.Open(ctx, theBag().root, r.cache, session).Reader(theBag().root)
			for i := range 60 {
				account, err := reader.Account(bagAddress(i))
				if err != nil || account.Balance.Uint64() != uint64(i) {
					t.Fatal(i, account, err)
				}
			}
			if got := r.blames.all(); len(got) != 0 {
				t.Error("blames", got)
			}
			t.Logf("%d lookups a request: %+v", lookups, session.Stats())
		})
	}
}

func TestTripsCountChains(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.join(newFakePeer("a", rtt))
		session := r.Session(sched.Urgent)
		var wg sync.WaitGroup
		for g := range 3 { // three goroutines, offset, each with four waits in a row
			wg.Go(func() {
				time.Sleep(time.Duration(g) * 30 * time.Millisecond)
				for i := range 4 {
					if _, err := session.FetchCode(r.ctx, theBag().code[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if stats := session.Stats(); stats.Trips != 4 || stats.Wait > 4*rtt+60*time.Millisecond {
			t.Errorf("stats %+v", stats)
		}
	})
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

func TestStoppedFetcherSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFetcher(FetcherConfig{Local: trie.NewCache(1<<20, nil)})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		go func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		if _, err := f.Session(sched.Urgent).FetchNode(t.Context(), rootFault(1)); !errors.Is(err, trie.ErrUnavailable) {
			t.Error(err)
		}
		if _, err := f.Headers(t.Context(), common.Hash{1}, 1); !errors.Is(err, trie.ErrUnavailable) {
			t.Error(err)
		}
		if err := f.Run(t.Context()); err == nil {
			t.Error("Run ran twice")
		}
	})
}

// TestBrokenStoreEndsRun: what cannot be kept is no reason to go on.
func TestBrokenStoreEndsRun(t *testing.T) {
	theBag()
	synctest.Test(t, func(t *testing.T) {
		disk := errors.New("disk full")
		f := NewFetcher(FetcherConfig{Local: brokenStore{trie.NewCache(1<<20, nil), disk}})
		ended := make(chan error, 1)
		go func() { ended <- f.Run(t.Context()) }()
		f.Join(newFakePeer("a", rtt))
		if _, err := f.Session(sched.Urgent).FetchNode(t.Context(), rootFault(1)); !errors.Is(err, trie.ErrUnavailable) {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, disk) {
			t.Error(err)
		}
	})
}

type brokenStore struct {
	*trie.Cache
	err error
}

func (b brokenStore) PutNodes([]trie.Node) error { return b.err }

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

func TestMetricsAreCounted(t *testing.T) {
	theBag()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := NewFetcher(FetcherConfig{Local: trie.NewCache(1<<20, nil), Registerer: reg})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		f.Join(newFakePeer("a", rtt))
		if _, err := f.Session(sched.Urgent).FetchNode(ctx, rootFault(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]float64{
			"beam_faults_total": 1, "beam_round_trips_total": 1, "beam_requests_total": 1,
			"beam_inflight_requests": 0, "beam_blames_total": 0,
		} {
			if got := sumOf(families, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if sumOf(families, "beam_nodes_total") < 3 || sumOf(families, "beam_bytes_total") < 500 {
			t.Error("nodes and bytes not counted")
		}
	})
}

func sumOf(families []*dto.MetricFamily, name string) (sum float64) {
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	return -1
}
