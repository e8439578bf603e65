// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
	"github.com/prometheus/client_golang/prometheus"

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

// build computes the nodes.
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

// accountStore is a CompleteStore and its writer in memory, for the account trie only, without flat state.
type accountStore struct{ nodes map[string][]byte }

func (m *accountStore) Node(_ common.Hash, path []byte) ([]byte, error) {
	return m.nodes[string(path)], nil
}

func (m *accountStore) NextOwner(common.Hash) (common.Hash, bool, error) {
	return common.Hash{}, false, nil
}

func (m *accountStore) NextLeaf(common.Hash, common.Hash) (common.Hash, bool, error) {
	return common.Hash{}, false, nil
}

func (m *accountStore) PutLeaf(common.Hash, common.Hash, []byte) error { return nil }

func (m *accountStore) DeleteLeaf(common.Hash, common.Hash) error { return nil }

func (m *accountStore) DeleteLeaves(common.Hash, common.Hash, common.Hash) error { return nil }

func (m *accountStore) HasCode(common.Hash) (bool, error) { return true, nil }

func (m *accountStore) Delete(_ common.Hash, path []byte) error {
	delete(m.nodes, string(path))
	return nil
}

func (*accountStore) Large(common.Hash) {}

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

// nodeSource is a StateSource that finds nodes in states, and the local store of what it found.
type nodeSource struct {
	mu     sync.Mutex
	states []*leafState
	found  map[common.Hash][]byte
}

func (s *nodeSource) FetchMany(ctx context.Context, faults []trie.Fault, _ []common.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		at := slices.IndexFunc(s.states, func(state *leafState) bool {
			return crypto.Keccak256Hash(state.nodes[string(f.Path)]) == f.Hash
		})
		if at < 0 { // no peer has it: wait, as sessions do
			s.mu.Unlock()
			<-ctx.Done()
			s.mu.Lock()
			return ctx.Err()
		}
		s.found[f.Hash] = s.states[at].nodes[string(f.Path)]
	}
	return nil
}

func (s *nodeSource) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found[hash], nil
}

func (s *nodeSource) Code(common.Hash) ([]byte, error) { return nil, nil }

func (s *nodeSource) PutCode(common.Hash, []byte) error { return nil }

func (s *nodeSource) PutNodes([]trie.Node) error { return nil }

// rig is a backfill with simulated surroundings, within a synctest bubble.
type rig struct {
	*Backfill
	store    *accountStore
	target   atomic.Pointer[Target]
	busy     atomic.Bool
	blames   atomic.Int64
	invalid  atomic.Int64 // blames for invalid data; -1: none are expected
	registry *prometheus.Registry
}

func (r *rig) Blame(_ string, reason peer.Blame, _ string) {
	if reason == peer.BlameInvalid && r.invalid.Load() >= 0 {
		r.invalid.Add(1)
		return
	}
	if reason != peer.BlameTimeout {
		panic("only time-outs are expected")
	}
	r.blames.Add(1)
}

// newRig starts a backfill of the state with a root. Single nodes are fetched from the states.
func newRig(t *testing.T, root common.Hash, rate uint64, states []*leafState, peers ...*rangeServer) *rig {
	t.Helper()
	source := &nodeSource{states: states, found: make(map[common.Hash][]byte)}
	r := &rig{store: &accountStore{nodes: make(map[string][]byte)}, registry: prometheus.NewRegistry()}
	r.invalid.Store(-1)
	r.target.Store(&Target{Root: root, Number: 204, Seed: common.Hash{0x77}})
	r.Backfill = New(Config{
		Complete: r.store, Writer: func() trie.CompleteWriter { return r.store }, Local: source, Source: source,
		Recent: func() (Target, bool) {
			target := r.target.Load()
			return *target, target.Root != (common.Hash{})
		},
		Busy: r.busy.Load, Rate: rate, Book: peer.NewBook(peer.BookConfig{Blamer: r}), Registerer: r.registry,
	})
	for _, p := range peers {
		r.Join(p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return r
}

// within waits for completion and checks the store.
func (r *rig) within(t *testing.T, most time.Duration, state *leafState) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-r.Done():
	case <-time.After(most):
		t.Fatalf("not complete: %+v", r.Progress())
	}
	if root, _ := r.Root(); root != state.root || len(r.store.nodes) != len(state.nodes) {
		t.Fatalf("root %x, %d nodes, want %d", root, len(r.store.nodes), len(state.nodes))
	}
	return time.Since(began)
}
