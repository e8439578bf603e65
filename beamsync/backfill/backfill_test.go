package backfill

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// leafState is a state of plain accounts.
type leafState struct {
	root   common.Hash
	keys   []common.Hash
	values [][]byte
	nodes  map[string][]byte // by path
}

func newLeafState(n int, salt uint64) *leafState {
	s := new(leafState)
	for i := range n {
		s.keys = append(s.keys, crypto.Keccak256Hash(binary.BigEndian.AppendUint64(nil, uint64(i))))
	}
	slices.SortFunc(s.keys, common.Hash.Cmp)
	for i := range s.keys {
		value, _ := rlp.EncodeToBytes(&types.StateAccount{
			Nonce: salt, Balance: uint256.NewInt(uint64(i)), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:],
		})
		s.values = append(s.values, value)
	}
	s.build()
	return s
}

// build makes the nodes.
func (s *leafState) build() {
	s.nodes = make(map[string][]byte)
	st := gethtrie.NewStackTrie(func(path []byte, _ common.Hash, blob []byte) { s.nodes[string(path)] = bytes.Clone(blob) })
	for i, key := range s.keys {
		if st.Update(key[:], s.values[i]) != nil {
			panic("unsorted")
		}
	}
	s.root = st.Hash()
}

// rangeServer serves states as go-ethereum does, after a delay.
type rangeServer struct {
	id     string
	states []*leafState
	delay  time.Duration
	asked  atomic.Int64
	dead   bool  // never answers
	leaves int64 // after so many requests only the last of its states is served; 0: all are, always
}

func (p *rangeServer) ID() string { return p.id }

func (p *rangeServer) ServesState() bool { return true }

func (p *rangeServer) StorageLeaves(context.Context, common.Hash, []common.Hash, common.Hash, common.Hash, uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	return nil, nil, nil, errors.New("no account has storage")
}

func (p *rangeServer) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error) {
	states := p.states
	if n := p.asked.Add(1); p.leaves > 0 && n > p.leaves {
		states = states[len(states)-1:]
	}
	answer := time.After(p.delay)
	if p.dead {
		answer = nil
	}
	select {
	case <-ctx.Done():
		return nil, nil, nil, ctx.Err()
	case <-answer:
	}
	for _, s := range states {
		if s.root != root {
			continue
		}
		from, _ := slices.BinarySearchFunc(s.keys, origin, common.Hash.Cmp)
		to, size := from, 0
		for to < len(s.keys) && size <= int(maxBytes) && (to == from || s.keys[to-1].Cmp(limit) < 0) {
			size += common.HashLength + len(s.values[to])
			to++
		}
		proof = s.prove(origin, nil)
		if to > from {
			proof = s.prove(s.keys[to-1], proof)
		}
		return s.keys[from:to], s.values[from:to], proof, nil
	}
	return nil, nil, nil, nil
}

func (s *leafState) prove(key common.Hash, proof [][]byte) [][]byte {
	nibbles := trie.Nibbles(key)
	for depth := 0; ; {
		blob := s.nodes[string(nibbles[:depth])]
		proof = append(proof, blob)
		step, err := trie.Descend(blob, nibbles[depth:])
		if err != nil || step.Kind != trie.StepChild {
			return proof
		}
		depth += step.Depth
	}
}

// accountStore is Complete and its writer in memory, for the account trie only.
type accountStore struct{ nodes map[string][]byte }

func (m *accountStore) Node(_ common.Hash, path []byte) ([]byte, error) {
	return m.nodes[string(path)], nil
}

func (m *accountStore) NextOwner(common.Hash) (common.Hash, bool, error) {
	return common.Hash{}, false, nil
}

func (m *accountStore) HasCode(common.Hash) (bool, error) { return true, nil }

func (m *accountStore) Delete(_ common.Hash, path []byte) error {
	delete(m.nodes, string(path))
	return nil
}

func (m *accountStore) DeleteOwner(common.Hash) error { return nil }

func (m *accountStore) Flush() error { return nil }

func (m *accountStore) Put(_ common.Hash, path, blob []byte) error {
	m.nodes[string(path)] = blob
	return nil
}

func (m *accountStore) NextNode(_ common.Hash, from []byte) (path []byte, ok bool, err error) {
	for at := range m.nodes {
		if at >= string(from) && (!ok || at < string(path)) {
			path, ok = []byte(at), true
		}
	}
	return path, ok, nil
}

func (m *accountStore) DeleteNodes(_ common.Hash, from, to []byte) error {
	for at := range m.nodes {
		if at >= string(from) && at < string(to) {
			delete(m.nodes, at)
		}
	}
	return nil
}

// nodeSource finds nodes in states, and is their local store.
type nodeSource struct {
	mu     sync.Mutex
	states []*leafState
	held   map[common.Hash][]byte
}

func (s *nodeSource) FetchMany(ctx context.Context, faults []trie.Fault, _ []common.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		at := slices.IndexFunc(s.states, func(state *leafState) bool {
			return crypto.Keccak256Hash(state.nodes[string(f.Path)]) == f.Hash
		})
		if at < 0 { // nobody has it: wait, as sessions do
			s.mu.Unlock()
			<-ctx.Done()
			s.mu.Lock()
			return ctx.Err()
		}
		s.held[f.Hash] = s.states[at].nodes[string(f.Path)]
	}
	return nil
}

func (s *nodeSource) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[hash], nil
}

func (s *nodeSource) Code(common.Hash) ([]byte, error) { return nil, nil }

func (s *nodeSource) PutCode(common.Hash, []byte) error { return nil }

func (s *nodeSource) PutNodes([]trie.Node) error { return nil }

// rig is a backfill with everything around it, in a bubble.
type rig struct {
	*Backfill
	solid    *accountStore
	target   atomic.Pointer[Target]
	busy     atomic.Bool
	blames   atomic.Int64
	lies     atomic.Int64 // -1: none are expected
	registry *prometheus.Registry
}

func (b *rig) Blame(_ string, reason peer.Blame, _ string) {
	if reason == peer.BlameLie && b.lies.Load() >= 0 {
		b.lies.Add(1)
		return
	}
	if reason != peer.BlameTimeout {
		panic("only time-outs are expected")
	}
	b.blames.Add(1)
}

// newRig starts a backfill of the state with a root. Nodes come from the states.
func newRig(t *testing.T, root common.Hash, rate uint64, states []*leafState, peers ...*rangeServer) *rig {
	t.Helper()
	source := &nodeSource{states: states, held: make(map[common.Hash][]byte)}
	bed := &rig{solid: &accountStore{nodes: make(map[string][]byte)}, registry: prometheus.NewRegistry()}
	bed.lies.Store(-1)
	bed.target.Store(&Target{Root: root, Number: 204, Seed: common.Hash{0x77}})
	bed.Backfill = New(Config{
		Complete: bed.solid, Writer: func() trie.CompleteWriter { return bed.solid }, Local: source, Source: source,
		Recent: func() (Target, bool) {
			target := bed.target.Load()
			return *target, target.Root != (common.Hash{})
		},
		Busy: bed.busy.Load, Rate: rate, Blamer: bed, Registerer: bed.registry,
	})
	for _, p := range peers {
		bed.Join(p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- bed.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return bed
}

// within waits for completion and checks what was written.
func (b *rig) within(t *testing.T, most time.Duration, state *leafState) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-b.Done():
	case <-time.After(most):
		t.Fatalf("not complete: %+v", b.Progress())
	}
	if root, _ := b.Root(); root != state.root || len(b.solid.nodes) != len(state.nodes) {
		t.Fatalf("root %x, %d nodes, want %d", root, len(b.solid.nodes), len(state.nodes))
	}
	return time.Since(began)
}

func TestBackfillYields(t *testing.T) {
	state := newLeafState(20_000, 0)
	synctest.Test(t, func(t *testing.T) {
		peer := &rangeServer{id: "a", states: []*leafState{state}, delay: 50 * time.Millisecond}
		bed := newRig(t, state.root, 0, peer.states, peer)
		bed.busy.Store(true)
		time.Sleep(100 * time.Millisecond) // the first request may have left before
		before := peer.asked.Load()
		time.Sleep(maxYield - 200*time.Millisecond)
		if peer.asked.Load() != before {
			t.Error("requests while a block is in work")
		}
		if p := bed.Progress(); !strings.Contains(p.Waiting, "block") {
			t.Errorf("waits %q", p.Waiting)
		}
		time.Sleep(turnTime + time.Second)
		if peer.asked.Load() == before {
			t.Error("no turn although blocks never end")
		}
		bed.busy.Store(false)
		took := bed.within(t, time.Minute, state)
		if took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestBackfillRate(t *testing.T) {
	state := newLeafState(30_000, 0) // about 3.2 MB
	synctest.Test(t, func(t *testing.T) {
		peer := &rangeServer{id: "a", states: []*leafState{state}, delay: 10 * time.Millisecond}
		bed := newRig(t, state.root, 200_000, peer.states, peer)
		took := bed.within(t, time.Minute, state)
		p := bed.Progress()
		if rate := float64(p.Bytes) / took.Seconds(); rate > 250_000 || rate < 120_000 {
			t.Errorf("%.0f bytes per second, %d in %v", rate, p.Bytes, took)
		}
		if p.Share != 1 || p.Accounts != 30_000 || p.Nodes != uint64(len(state.nodes)) {
			t.Errorf("%+v", p)
		}
		if n := testutil.ToFloat64(bed.metrics.accounts); n != 30_000 {
			t.Errorf("%v accounts counted", n)
		}
	})
}

// TestBackfillPeers: nobody, one that has another state only, one that never answers, one that serves.
func TestBackfillPeers(t *testing.T) {
	state, other := newLeafState(5000, 0), newLeafState(5000, 1)
	synctest.Test(t, func(t *testing.T) {
		bed := newRig(t, state.root, 0, nil)
		time.Sleep(5 * time.Second)
		if p := bed.Progress(); p.Waiting != "for peers" {
			t.Errorf("without peers: %+v", p)
		}
		bed.Join(&rangeServer{id: "other", states: []*leafState{other}})
		bed.Join(&rangeServer{id: "dead", dead: true})
		time.Sleep(time.Minute)
		if bed.blames.Load() == 0 {
			t.Error("who never answers was not blamed")
		}
		bed.Leave("dead")
		bed.Join(&rangeServer{id: "good", states: []*leafState{state}, delay: 50 * time.Millisecond})
		bed.within(t, time.Minute, state)
	})
}

// TestBackfillFollows: when no peer has the state any longer, the head's is taken.
func TestBackfillFollows(t *testing.T) {
	old, recent := newLeafState(5000, 0), newLeafState(5000, 1)
	synctest.Test(t, func(t *testing.T) {
		peer := &rangeServer{id: "a", states: []*leafState{recent}, delay: 50 * time.Millisecond}
		bed := newRig(t, old.root, 0, []*leafState{recent}, peer)
		time.Sleep(3 * time.Second)
		bed.target.Store(&Target{Root: recent.root, Number: 206, Seed: common.Hash{0x77}})
		bed.within(t, time.Minute, recent)
		if p := bed.Progress(); p.Restarts != 1 || p.Number != 206 {
			t.Errorf("%+v", p)
		}
	})
}

// TestBackfillLosesRoot: in the middle of a walk the state leaves the peers' window, because the chain
// went on or because it was reorganised across a seed block. The walk goes on in the head's state,
// and nothing of the old one is left.
func TestBackfillLosesRoot(t *testing.T) {
	old, recent := newLeafState(60_000, 0), newLeafState(60_000, 0)
	for i := 0; i < len(recent.keys); i += 1000 { // changed here and there
		account := types.StateAccount{Nonce: 7, Balance: uint256.NewInt(1), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
		recent.values[i], _ = rlp.EncodeToBytes(&account)
	}
	recent.build()
	for what, number := range map[string]uint64{"the chain goes on": 290, "a reorg across a seed block": 198} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer := &rangeServer{id: "a", states: []*leafState{old, recent}, delay: 100 * time.Millisecond, leaves: 5}
				bed := newRig(t, old.root, 0, peer.states, peer)
				time.Sleep(500 * time.Millisecond)
				bed.target.Store(&Target{Root: recent.root, Number: number, Seed: common.Hash{0x31}})
				bed.within(t, time.Minute, recent)
				p := bed.Progress()
				if p.Restarts != 1 || p.Number != number || p.Share != 1 {
					t.Errorf("%+v", p)
				}
				// What was complete before and is the same in both states is not fetched again.
				if p.Accounts > 61_000 {
					t.Errorf("%d accounts of 60,000", p.Accounts)
				}
			})
		})
	}
}

func TestOutdated(t *testing.T) {
	for _, c := range []struct {
		from, to uint64
		want     bool
	}{
		{104, 105, true}, {105, 204, false}, {105, 205, true}, {3, 4, false}, {4, 5, true}, {100, 99, false}, {205, 205, false}, {206, 317, true},
	} {
		if got := outdated(Target{Root: common.Hash{1}, Number: c.from}, Target{Root: common.Hash{2}, Number: c.to}); got != c.want {
			t.Errorf("from %d to %d: %v", c.from, c.to, got)
		}
	}
	if outdated(Target{Root: common.Hash{1}, Number: 1}, Target{Root: common.Hash{1}, Number: 500}) {
		t.Error("the same state")
	}
}
