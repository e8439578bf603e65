// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// subtreesReply is what a stranger answers to GetSubtrees.
type subtreesReply func(ctx context.Context, s *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error)

// strangerKind is how a stranger behaves. What it leaves out is done in the worst way: no reply until the deadline.
type strangerKind struct {
	name   string
	every  time.Duration          // between two announcements
	have   func(n uint64) Have    // the n-th announcement; nil: it is a plain peer
	reply  subtreesReply          // nil: silent
	ranges func(s *stranger) bool // whether it serves ranges of leaves, empty ones otherwise; nil: silent
	blamed bool                   // for invalid data
	most   float64                // how many times as long the walk may take; 0: 1.5
}

// stranger is a connected node that nobody knows.
type stranger struct {
	kind  strangerKind
	id    string
	node  *swarmNode
	state *stateStore // complete
	tells atomic.Uint64
	asks  atomic.Int64 // requests
	bytes atomic.Int64 // that it sent
	mu    sync.Mutex
	turn  time.Time // when the last reply of a trickle ended
}

func (s *stranger) ID() string { return s.id }

func (s *stranger) ServesState() bool { return true }

func (s *stranger) ServesSubtrees() bool { return s.kind.have != nil }

func (s *stranger) Have() Have { return s.kind.have(s.tells.Load()) }

func (s *stranger) Subtrees(ctx context.Context, wants []trie.NodeRef, _ uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	s.asks.Add(1)
	if s.kind.reply == nil {
		return nil, nil, nil, silence(ctx)
	}
	keys, values, proof, err := s.kind.reply(ctx, s, wants)
	s.bytes.Add(int64(sizeOf(keys, values, proof)))
	return keys, values, proof, err
}

func (s *stranger) ByteCodes(ctx context.Context, _ []common.Hash, _ uint64) ([][]byte, error) {
	s.asks.Add(1)
	return nil, silence(ctx)
}

func (s *stranger) AccountLeaves(ctx context.Context, _, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error) {
	s.asks.Add(1)
	switch {
	case s.kind.ranges == nil:
		return nil, nil, nil, silence(ctx)
	case !s.kind.ranges(s):
		return nil, nil, nil, sleep(ctx, 100*time.Millisecond)
	}
	size := int(maxBytes)
	keys, values, proof = s.node.state.serve(common.Hash{}, origin, limit, &size)
	s.bytes.Add(int64(sizeOf([][]common.Hash{keys}, [][][]byte{values}, proof)))
	return keys, values, proof, sleep(ctx, 100*time.Millisecond)
}

func (s *stranger) StorageLeaves(ctx context.Context, _ common.Hash, _ []common.Hash, _, _ common.Hash, _ uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	s.asks.Add(1)
	return nil, nil, nil, silence(ctx)
}

func silence(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// truth answers with what is true.
func (s *stranger) truth(wants []trie.NodeRef) (keys [][]common.Hash, values [][][]byte, proof [][]byte) {
	for _, want := range wants {
		k, v, p := s.state.subtree(want, rangeBytes)
		keys, values, proof = append(keys, k), append(values, v), p
		if len(proof) > 0 {
			break
		}
	}
	return keys, values, proof
}

// after is a reply that is true and takes so long.
func after(d time.Duration) subtreesReply {
	return func(ctx context.Context, s *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error) {
		keys, values, proof := s.truth(wants)
		return keys, values, proof, sleep(ctx, d)
	}
}

// allOf announces the whole state.
func allOf(active bool) func(uint64) Have {
	return func(uint64) Have { return Have{Number: 204, Since: 1, Active: active, Accounts: allSlices()} }
}

// strangerKinds are the ways in which strangers waste a node's time.
func strangerKinds() []strangerKind {
	second := time.Second
	growing := func(n uint64) Have { // one part more with each announcement
		have := Have{Number: 204, Since: 1, Active: true}
		for i := range min(n, 256) {
			have.Accounts[i/8] |= 0x80 >> (i % 8)
		}
		return have
	}
	flood := func(n uint64) Have { // other roots, parts and large tries each time
		have := Have{Number: 100 + n, Since: n % 3, Active: n%5 > 0, Accounts: allSlices()}
		binary.BigEndian.PutUint64(have.Root[:], n)
		for i := range uint64(maxLargeTries) {
			have.Large = append(have.Large, numbered(n*maxLargeTries+i, 9))
		}
		have.LargeSlices = make([][32]byte, len(have.Large))
		if n%2 == 0 {
			have.Accounts = [32]byte{byte(n)}
		}
		return have
	}
	refuse := func(ctx context.Context, _ *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error) {
		return make([][]common.Hash, len(wants)), make([][][]byte, len(wants)), nil, sleep(ctx, 100*time.Millisecond)
	}
	lie := func(ctx context.Context, _ *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error) {
		keys, values := make([][]common.Hash, len(wants)), make([][][]byte, len(wants))
		for i, want := range wants {
			first, _ := trie.KeyRange(want.Path)
			keys[i], values[i] = []common.Hash{first}, [][]byte{{1}}
		}
		return keys, values, nil, sleep(ctx, 100*time.Millisecond)
	}
	proved := func(n int64) subtreesReply { // serves n requests, and no more
		return func(ctx context.Context, s *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error) {
			if s.asks.Load() > n {
				return nil, nil, nil, silence(ctx)
			}
			return after(100*time.Millisecond)(ctx, s, wants)
		}
	}
	every := func(n int64) subtreesReply { // serves one request in n
		return func(ctx context.Context, s *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error) {
			if s.asks.Load()%n != 1 {
				return nil, nil, nil, silence(ctx)
			}
			return after(100*time.Millisecond)(ctx, s, wants)
		}
	}
	trickle := func(ctx context.Context, s *stranger, wants []trie.NodeRef) ([][]common.Hash, [][][]byte, [][]byte, error) {
		s.mu.Lock() // one subtree each second
		s.turn = later(time.Now(), s.turn).Add(second)
		wait := time.Until(s.turn)
		s.mu.Unlock()
		return after(wait)(ctx, s, wants[:1])
	}
	return []strangerKind{
		{name: "silent, active", every: second, have: allOf(true)},
		{name: "silent, complete", every: second, have: allOf(false)},
		{name: "idle", every: second, have: func(uint64) Have { return Have{Number: 204, Since: 1, Active: true} }},
		{name: "growing", every: 900 * time.Millisecond, have: growing},
		{name: "growing, slow", every: 900 * time.Millisecond, have: growing, reply: after(9 * second)},
		{name: "slow", every: second, have: allOf(true), reply: after(9 * second)},
		{name: "trickle", every: second, have: allOf(true), reply: trickle, most: 2},
		{name: "refuses", every: second, have: allOf(true), reply: refuse},
		{name: "lies", every: second, have: allOf(true), reply: lie, blamed: true},
		{name: "served one", every: second, have: allOf(true), reply: proved(1)},
		{name: "served twenty", every: second, have: allOf(true), reply: proved(20)},
		{name: "serves one in two", every: second, have: allOf(true), reply: every(2)},
		{name: "serves one in nine", every: second, have: allOf(true), reply: every(9)},
		{name: "floods", every: 10 * time.Millisecond, have: flood},
		{name: "silent ranges"},
		{name: "empty ranges", ranges: func(*stranger) bool { return false }},
		{name: "served a range", ranges: func(s *stranger) bool { return s.asks.Load() == 1 }},
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// among measures a node with one good full peer and strangers of these kinds in turn, who joined before it. The figures are what
// the good peer sent, and what the strangers were asked and sent.
func among(t *testing.T, state *testState, n int, kinds ...strangerKind) (took time.Duration, good, asks, bytes int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newSwarmNet(t, swarmRate, state)
		node := w.prepare("node", state)
		complete := &stateStore{nodes: state.nodes}
		over := make(chan struct{})
		defer close(over)
		var strangers []*stranger
		for i := range n {
			s := &stranger{kind: kinds[i%len(kinds)], id: fmt.Sprintf("stranger %02d", i), node: node, state: complete}
			strangers = append(strangers, s)
			node.Join(s)
			if s.kind.have != nil {
				go s.announce(over)
			}
		}
		w.launch(node)
		defer node.stop()
		node.finish(10 * time.Minute)
		took, good = node.took, w.uploaded()
		for _, s := range strangers {
			asks, bytes = asks+int(s.asks.Load()), bytes+int(s.bytes.Load())
			if reason, blamed := node.blames[s.id]; blamed && reason == peer.BlameInvalid && !s.kind.blamed {
				t.Errorf("%s (%s) was banned", s.id, s.kind.name)
			}
		}
	})
	return took, good, asks, bytes
}

func (s *stranger) announce(over <-chan struct{}) {
	tick := time.NewTicker(s.kind.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tells.Add(1)
			s.node.OnHave(s)
		case <-over:
			return
		}
	}
}

// TestStrangers: however many strangers are connected and whatever they claim, a node with one good full peer completes its state
// within 1.5 times what it takes without them, or twice if they deliver a little all the time. Neither that peer nor the strangers send much for nothing.
func TestStrangers(t *testing.T) {
	t.Parallel()
	accounts, counts, more := 60_000, []int{1, 3, 12, 24}, time.Duration(0) // some 24 s alone
	if testing.Short() {                                                    // some 8 s alone: what it takes to know the strangers weighs more
		accounts, counts, more = 20_000, []int{24}, 6*time.Second
	}
	state := newTestState(accounts, 2000, 0)
	alone, one, _, _ := among(t, state, 0)
	t.Logf("alone: %v, %d bytes", alone, one)
	check := func(name string, n int, kinds ...strangerKind) {
		t.Run(fmt.Sprint(n, " ", name), func(t *testing.T) {
			t.Parallel()
			took, good, asks, bytes := among(t, state, n, kinds...)
			t.Logf("%v (%.2f), %.2f states from the good peer, %d requests to strangers, who sent %.2f states",
				took, float64(took)/float64(alone), float64(good)/float64(one), asks, float64(bytes)/float64(one))
			most := 1.5
			if len(kinds) == 1 && kinds[0].most > 0 {
				most = kinds[0].most
			}
			if took.Seconds() > most*alone.Seconds()+more.Seconds() {
				t.Errorf("%v instead of %v", took, alone)
			}
			if 2*good > 3*one {
				t.Errorf("the good peer sent %d bytes instead of %d", good, one)
			}
		})
	}
	kinds := strangerKinds()
	for _, n := range counts {
		for _, kind := range kinds {
			check(kind.name, n, kind)
		}
	}
	check("mixed", 24, kinds...)
	slices.Reverse(kinds)
	check("mixed, reversed", 24, kinds...)
}
