// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const swarmRate = 400_000 // bytes per second that the full peer uploads

// swarmState is large enough that proofs do not outweigh leaves. It has a large storage trie, except in short tests.
func swarmState() *testState {
	if testing.Short() {
		return newTestState(10_000, 100, 0)
	}
	return newTestState(30_000, 40_000, 0)
}

// collectAlone measures a node without swarm peers.
func collectAlone(t *testing.T, state *testState) (bytes int, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, state)
		n := w.start("lone", state)
		n.finish(time.Hour)
		bytes, took = w.uploaded(), n.took
	})
	return bytes, took
}

// TestSwarm starts nodes together: the full peer sends little more than one state, and all nodes but the first
// receive most of it from swarm peers.
func TestSwarm(t *testing.T) {
	t.Parallel()
	state := swarmState()
	one, alone := collectAlone(t, state)
	counts := []int{2, 4, 8}
	if testing.Short() {
		counts = []int{3}
	}
	for _, count := range counts {
		t.Run(fmt.Sprint(count, " nodes"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { swarmOf(t, count, state, one, alone) })
		})
	}
}

// swarmOf starts a number of nodes together.
func swarmOf(t *testing.T, count int, state *testState, one int, alone time.Duration) {
	w := newSwarmNet(t, swarmRate, state)
	var nodes []*swarmNode
	for i := range count {
		nodes = append(nodes, w.start(fmt.Sprint("node", i), state))
		time.Sleep(20 * time.Millisecond)
	}
	last, least := time.Duration(0), 1.0
	for i, n := range nodes {
		n.finish(time.Hour)
		last = max(last, n.took)
		if i > 0 {
			least = min(least, n.share())
		}
		if len(n.blames) > 0 {
			t.Errorf("%s blames %v", n.id, n.blames)
		}
	}
	states := float64(w.uploaded()) / float64(one)
	t.Logf("%d nodes: %.2f states from the full peer, shares of the others at least %.2f, last after %v (alone %v)", count, states, least, last, alone)
	if states > 1.5 || least < 0.7 || last > 2*alone+2*time.Second {
		t.Error("too many bytes, or too long")
	}
}

// TestSwarmYields: two nodes that serve each other while blocks are executed now and then take longer, but not much.
func TestSwarmYields(t *testing.T) {
	t.Parallel()
	state := newTestState(8000, 100, 0)
	one, alone := collectAlone(t, state)
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, state)
		began := time.Now()
		w.busy = func() bool { return time.Since(began)%time.Second > 600*time.Millisecond }
		nodes := []*swarmNode{w.start("node0", state), w.start("node1", state)}
		for _, n := range nodes {
			n.finish(time.Hour)
			if n.took > 4*alone+5*time.Second || len(n.blames) > 0 {
				t.Errorf("%s after %v (alone %v) blames %v", n.id, n.took, alone, n.blames)
			}
		}
		if states := float64(w.uploaded()) / float64(one); states > 1.7 {
			t.Errorf("%.2f states from the full peer", states)
		}
	})
}

// TestSwarmLate: a node that starts when another one is half done receives nearly all from it.
func TestSwarmLate(t *testing.T) {
	t.Parallel()
	state := swarmState()
	one, alone := collectAlone(t, state)
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, state)
		first := w.start("first", state)
		time.Sleep(alone / 2)
		late := w.start("late", state)
		first.finish(time.Hour)
		late.finish(time.Hour)
		states := float64(w.uploaded()) / float64(one)
		t.Logf("%.2f states from the full peer, %.2f from the swarm peer, after %v (alone %v)", states, late.share(), late.took, alone)
		if states > 1.3 || late.share() < 0.75 || late.took > alone+time.Second {
			t.Error("too many bytes, or too long")
		}
	})
}

// TestSwarmOfOtherState: a swarm peer that collects another state serves most of ours all the same.
func TestSwarmOfOtherState(t *testing.T) {
	t.Parallel()
	old, recent := newTestState(8000, 100, 0), newTestState(8000, 100, 10)
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, old, recent)
		w.start("first", old).finish(time.Hour)
		before := w.uploaded()
		late := w.start("late", recent)
		late.finish(time.Hour)
		if after := w.uploaded() - before; late.share() < 0.8 || after > before/4 {
			t.Errorf("%.2f from the swarm peer, %d bytes from the full peer, which sent %d to the first one", late.share(), after, before)
		}
	})
}

// TestLoneWalk: without swarm peers the scan goes from the seed upward and around. A swarm peer that has
// nothing and collects nothing changes that in no way.
func TestLoneWalk(t *testing.T) {
	t.Parallel()
	state := newTestState(8000, 100, 0)
	var walks [2][]fullRequest
	seed := common.Hash{0x77}
	for i := range walks {
		synctest.Test(t, func(t *testing.T) {
			w := newSwarmNet(t, swarmRate, state)
			if i == 1 {
				w.nodes = append(w.nodes, &swarmNode{id: "idle", t: t, net: w, Backfill: New(Config{})})
			}
			w.start("lone", state).finish(time.Hour)
			walks[i] = slices.DeleteFunc(slices.Clone(w.full.requests), func(r fullRequest) bool { return r.lookup })
			slices.SortFunc(walks[i], func(a, b fullRequest) int {
				return cmp.Or(a.distance(seed).Cmp(b.distance(seed)), a.owner.Cmp(b.owner))
			})
		})
	}
	if len(walks[0]) != len(walks[1]) {
		t.Fatalf("%d requests alone, %d with an idle swarm peer", len(walks[0]), len(walks[1]))
	}
	for i, r := range walks[0] { // by key: requests of one moment arrive in any order
		if with := walks[1][i]; r.owner != with.owner || r.origin != with.origin {
			t.Fatalf("request %d alone is for %x %x, with an idle swarm peer for %x %x", i, r.owner, r.origin, with.owner, with.origin)
		}
	}
	var latest time.Time
	for _, r := range walks[0] {
		if r.owner != (common.Hash{}) {
			continue
		}
		if r.at.Before(latest) {
			t.Errorf("accounts from %x were requested before earlier ones", r.origin)
		}
		latest = r.at
	}
}

// distance is how far the first key is from the seed, upward and around.
func (r fullRequest) distance(seed common.Hash) common.Hash {
	d := new(big.Int).Sub(r.origin.Big(), seed.Big())
	return common.BigToHash(d.And(d, common.MaxHash.Big()))
}

// hostileLink is a connection to a peer that announces a whole state.
type hostileLink struct {
	nodeLink
	active bool
	reply  func(ctx context.Context, l nodeLink, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, error)
}

func (l hostileLink) Have() Have {
	return Have{Number: 204, Since: 1, Active: l.active, Accounts: allSlices(), Large: []common.Hash{{1}, {2}}, LargeSlices: make([][32]byte, 2)}
}

func (l hostileLink) Subtrees(ctx context.Context, wants []trie.NodeRef, _ uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	keys, values, err := l.reply(ctx, l.nodeLink, wants)
	return keys, values, nil, err
}

func (l hostileLink) ByteCodes(ctx context.Context, _ []common.Hash, _ uint64) ([][]byte, error) {
	_, _, err := l.reply(ctx, l.nodeLink, nil)
	return nil, err
}

// TestSwarmHostile: a swarm peer that sends invalid data, stalls, refuses or disconnects costs seconds, and little more
// than one state from the full peer.
func TestSwarmHostile(t *testing.T) {
	t.Parallel()
	state := newTestState(6000, 100, 0)
	one, alone := collectAlone(t, state)
	none := func(n int) ([][]common.Hash, [][][]byte) { return make([][]common.Hash, n), make([][][]byte, n) }
	for _, test := range []struct {
		name  string
		blame bool
		reply func(ctx context.Context, l nodeLink, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, error)
	}{
		{"invalid data", true, func(_ context.Context, _ nodeLink, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, error) {
			keys, values := none(len(wants))
			for i, want := range wants {
				first, _ := trie.KeyRange(want.Path)
				keys[i], values[i] = []common.Hash{first}, [][]byte{{1}}
			}
			return keys, values, nil
		}},
		{"stalls", false, func(ctx context.Context, _ nodeLink, _ []trie.NodeRef) ([][]common.Hash, [][][]byte, error) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}},
		{"refuses", false, func(_ context.Context, _ nodeLink, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, error) {
			keys, values := none(len(wants))
			return keys, values, nil
		}},
		{"answers nothing", false, func(context.Context, nodeLink, []trie.NodeRef) ([][]common.Hash, [][][]byte, error) {
			return nil, nil, nil
		}},
		{"disconnects", false, func(_ context.Context, l nodeLink, _ []trie.NodeRef) ([][]common.Hash, [][][]byte, error) {
			l.from.Leave(l.to.id)
			return nil, nil, fmt.Errorf("gone")
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newSwarmNet(t, swarmRate, state)
			n := w.start("node", state)
			n.Join(hostileLink{nodeLink{n, &swarmNode{id: "hostile"}}, false, test.reply})
			n.finish(time.Hour)
			states := float64(w.uploaded()) / float64(one)
			t.Logf("%s: %.2f states, %v (alone %v), blames %v", test.name, states, n.took, alone, n.blames)
			if _, blamed := n.blames["hostile"]; blamed != test.blame {
				t.Errorf("%s: blames %v", test.name, n.blames)
			}
			if n.took > alone+30*time.Second || states > 1.6 {
				t.Errorf("%s: %v instead of %v, %.2f states", test.name, n.took, alone, states)
			}
		})
	}
}

// TestSwarmIdle: a swarm peer that announces a walk and makes no progress delays us by seconds only.
func TestSwarmIdle(t *testing.T) {
	t.Parallel()
	state := newTestState(6000, 100, 0)
	one, alone := collectAlone(t, state)
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, state)
		n := w.start("node", state)
		n.Join(idlePeer{nodeLink{n, &swarmNode{id: "idle"}}})
		waits := func() bool { return n.Progress().Waiting == "for parts assigned to swarm peers" }
		for began := time.Now(); !waits(); time.Sleep(100 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("the progress does not name the wait: %+v", n.Progress())
			}
		}
		n.finish(time.Hour)
		states := float64(w.uploaded()) / float64(one)
		t.Logf("%.2f states, %v (alone %v)", states, n.took, alone)
		if n.took > alone+40*time.Second || states > 1.6 {
			t.Errorf("%v instead of %v, %.2f states", n.took, alone, states)
		}
	})
}

type idlePeer struct{ nodeLink }

func (idlePeer) Have() Have { return Have{Number: 204, Since: 1, Active: true} }

// TestSwarmPretends: nor does one that announces another block, or one part more or less, every second.
func TestSwarmPretends(t *testing.T) {
	t.Parallel()
	state := newTestState(6000, 100, 0)
	one, alone := collectAlone(t, state)
	for name, pretend := range map[string]func(have *Have, n int){
		"blocks": func(have *Have, n int) { have.Number += uint64(n) },
		"parts":  func(have *Have, n int) { have.Accounts[31] = byte(n) & 1 },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newSwarmNet(t, swarmRate, state)
			n := w.start("node", state)
			var announced atomic.Int64
			p := pretendingPeer{idlePeer{nodeLink{n, &swarmNode{id: "pretending"}}}, func(have *Have) { pretend(have, int(announced.Load())) }}
			n.Join(p)
			over := make(chan struct{})
			go func() {
				for tick := time.Tick(time.Second); ; announced.Add(1) {
					select {
					case <-tick:
						n.OnHave(p)
					case <-over:
						return
					}
				}
			}()
			n.finish(24 * time.Hour)
			close(over)
			states := float64(w.uploaded()) / float64(one)
			t.Logf("%s: %.2f states, %v (alone %v)", name, states, n.took, alone)
			if n.took > alone+20*time.Second || states > 1.6 {
				t.Errorf("%s: %v instead of %v, %.2f states", name, n.took, alone, states)
			}
		})
	}
}

type pretendingPeer struct {
	idlePeer
	pretend func(*Have)
}

func (p pretendingPeer) Have() Have {
	have := p.idlePeer.Have()
	p.pretend(&have)
	return have
}

// TestSwarmLeave: when one of two nodes leaves half-way, the other one requests the rest.
func TestSwarmLeave(t *testing.T) {
	t.Parallel()
	state := newTestState(8000, 100, 0)
	one, alone := collectAlone(t, state)
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, state)
		leaving, staying := w.start("leaving", state), w.start("staying", state)
		time.Sleep(alone / 2)
		w.leave(leaving)
		staying.finish(time.Hour)
		if states := float64(w.uploaded()) / float64(one); states > 1.7 || staying.took > 2*alone+2*time.Second {
			t.Errorf("%.2f states, %v (alone %v)", states, staying.took, alone)
		}
	})
}

// TestSwarmThrottle: frequent announcements do not keep the walk busy, and the last one counts.
func TestSwarmThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSwarm("self", peer.NewBook(peer.BookConfig{}), slog.New(slog.DiscardHandler))
		s.join(announcer{have: Have{Number: 1, Active: true}})
		<-s.change
		const span = 10 * time.Second
		tokens := 0
		for began := time.Now(); time.Since(began) < span; time.Sleep(time.Millisecond) {
			s.onHave("announcer", time.Now())
			select {
			case <-s.change:
				tokens++
			default:
			}
		}
		if tokens > int(span/changeInterval) {
			t.Errorf("%d changes in %v", tokens, span)
		}
		s.onHave("announcer", time.Now())
		last := time.Now()
		<-s.change
		if waited := time.Since(last); waited > changeInterval {
			t.Errorf("the last announcement was noticed after %v", waited)
		}
	})
}

// TestSwarmAdopts: a new walk takes the state that a swarm peer collects, if it is canonical and not too old.
func TestSwarmAdopts(t *testing.T) {
	t.Parallel()
	recent := Target{Root: common.Hash{9}, Number: 140, Seed: common.Hash{1}}
	for _, test := range []struct {
		number   uint64
		known    bool
		complete bool
		adopted  bool
	}{
		{138, true, false, true},
		{138, false, false, false},
		{138, true, true, false},
		{107, true, false, false},
		{108, true, false, true},
		{141, false, false, false},
	} {
		b := New(Config{StateOf: func(number uint64) common.Hash {
			if test.known && number == test.number {
				return common.Hash{8}
			}
			return common.Hash{byte(number)}
		}})
		b.Join(announcer{have: Have{Number: test.number, Root: common.Hash{8}, Active: true}})
		if test.complete {
			b.mu.complete = Target{Root: common.Hash{7}}
		}
		want := recent
		if test.adopted {
			want.Root, want.Number = common.Hash{8}, test.number
		}
		if got := b.adopt(recent); got != want {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

// TestSwarmAdoptsNothing: no state is adopted from a swarm peer that announces unknown blocks without a root.
func TestSwarmAdoptsNothing(t *testing.T) {
	t.Parallel()
	recent := Target{Root: common.Hash{9}, Number: 140, Seed: common.Hash{1}}
	for _, number := range []uint64{139, 140, 141, 1000, math.MaxUint64 - maxAdoptLag, math.MaxUint64} {
		b := New(Config{StateOf: func(uint64) common.Hash { return common.Hash{} }})
		b.Join(announcer{have: Have{Number: number, Active: true}})
		if got := b.adopt(recent); got != recent {
			t.Errorf("block %d: adopted %+v", number, got)
		}
	}
}

type announcer struct {
	nodeLink
	have Have
}

func (announcer) ID() string { return "announcer" }

func (l announcer) Have() Have { return l.have }
