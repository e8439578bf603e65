// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// swarmNode is a node that collects a state.
type swarmNode struct {
	*Backfill
	id     string
	t      *testing.T
	state  *testState
	store  *stateStore
	net    *swarmNet
	stop   func()
	blames map[string]peer.Blame
	took   time.Duration
	got    map[string]int // bytes, by swarm peer
}

func (n *swarmNode) Blame(peer string, reason peer.Blame, _ string) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.blames[peer] = reason
}

// swarmNet is a simulated network of such nodes and a full peer, within a synctest bubble.
type swarmNet struct {
	t     *testing.T
	full  *fullPeer
	delay time.Duration // between two nodes, one way
	busy  func() bool   // whether a block is being executed; nil: never
	mu    sync.Mutex
	nodes []*swarmNode
}

func newSwarmNet(t *testing.T, rate int, states ...*testState) *swarmNet {
	return &swarmNet{t: t, delay: 50 * time.Millisecond, full: &fullPeer{states: states, delay: 100 * time.Millisecond, rate: rate, sent: make(map[string]int)}}
}

// start starts a node that collects a state, and connects it with all others.
func (w *swarmNet) start(id string, state *testState) *swarmNode {
	n := w.prepare(id, state)
	w.launch(n)
	return n
}

// prepare makes a node that is connected with the full peer and all others, and does not run yet.
func (w *swarmNet) prepare(id string, state *testState) *swarmNode {
	link := fullLink{w.full, id}
	source := &stateSource{full: link, blobs: make(map[common.Hash][]byte)}
	n := &swarmNode{
		id: id, t: w.t, state: state, net: w, blames: make(map[string]peer.Blame), got: make(map[string]int),
		store: &stateStore{source: source, nodes: make(map[string][]byte)},
	}
	n.Backfill = New(Config{
		Complete: n.store, Writer: func() trie.CompleteWriter { return n.store }, Local: source, Source: source, Book: peer.NewBook(peer.BookConfig{Blamer: n}),
		Recent: func() (Target, bool) { return Target{Root: state.root, Number: 204, Seed: common.Hash{0x77}}, true },
		Self:   id, Busy: w.busy,
		Announce: func() { w.announce(n) },
	})
	n.Join(link)
	w.mu.Lock()
	others := slices.Clone(w.nodes)
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	for _, other := range others {
		n.Join(nodeLink{n, other})
		other.Join(nodeLink{other, n})
	}
	return n
}

// launch lets a node run.
func (w *swarmNet) launch(n *swarmNode) {
	ctx, cancel := context.WithCancel(w.t.Context())
	over := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(over)
		if err := n.Run(ctx); err != nil {
			w.t.Error(err)
		}
		n.took = time.Since(began)
	}()
	n.stop = func() {
		cancel()
		<-over
	}
}

// announce lets all other nodes know, a delay later.
func (w *swarmNet) announce(n *swarmNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.nodes {
		if other != n {
			time.AfterFunc(w.delay, func() { other.OnHave(nodeLink{other, n}) })
		}
	}
}

// leave disconnects and stops a node.
func (w *swarmNet) leave(n *swarmNode) {
	n.stop()
	w.mu.Lock()
	w.nodes = slices.DeleteFunc(w.nodes, func(other *swarmNode) bool { return other == n })
	others := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, other := range others {
		other.Leave(n.id)
	}
}

// finish waits for completion and checks that the node has all of the state.
func (n *swarmNode) finish(most time.Duration) {
	n.t.Helper()
	select {
	case <-n.Done():
	case <-time.After(most):
		n.t.Fatalf("%s is not complete: %+v", n.id, n.Progress())
	}
	n.stop()
	if !maps.EqualFunc(n.store.nodes, n.state.nodes, bytes.Equal) {
		n.t.Fatalf("%s has %d nodes, want %d", n.id, len(n.store.nodes), len(n.state.nodes))
	}
	for hash := range n.state.codes {
		if has, _ := n.store.HasCode(hash); !has {
			n.t.Errorf("%s lacks code %x", n.id, hash)
		}
	}
}

// share is the part of a node's bytes that came from swarm peers.
func (n *swarmNode) share() float64 {
	swarm := 0
	n.net.mu.Lock()
	for _, bytes := range n.got {
		swarm += bytes
	}
	n.net.mu.Unlock()
	n.net.full.mu.Lock()
	defer n.net.full.mu.Unlock()
	return float64(swarm) / float64(swarm+n.net.full.sent[n.id])
}

// uploaded is what the full peer sent, in bytes.
func (w *swarmNet) uploaded() (sum int) {
	w.full.mu.Lock()
	defer w.full.mu.Unlock()
	for _, bytes := range w.full.sent {
		sum += bytes
	}
	return sum
}

// nodeLink is the connection of one node to another one.
type nodeLink struct{ from, to *swarmNode }

func (l nodeLink) ID() string { return l.to.id }

func (l nodeLink) ServesState() bool { return true }

func (l nodeLink) ServesSubtrees() bool { return true }

func (l nodeLink) Have() Have { return l.to.Have() }

func (l nodeLink) trip(ctx context.Context, size int) error {
	l.from.net.mu.Lock()
	l.from.got[l.to.id] += size
	l.from.net.mu.Unlock()
	select {
	case <-time.After(2 * l.from.net.delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l nodeLink) Subtrees(ctx context.Context, wants []trie.NodeRef, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	left := int(maxBytes)
	for _, want := range wants {
		if left <= 0 || len(proof) > 0 {
			break
		}
		k, v, p := l.to.store.subtree(want, left)
		left -= sizeOf([][]common.Hash{k}, [][][]byte{v}, p)
		keys, values, proof = append(keys, k), append(values, v), p
	}
	return keys, values, proof, l.trip(ctx, sizeOf(keys, values, proof))
}

func (l nodeLink) ByteCodes(ctx context.Context, hashes []common.Hash, _ uint64) (codes [][]byte, err error) {
	size := 0
	for _, hash := range hashes {
		if code, _ := l.to.store.source.Code(hash); len(code) > 0 {
			codes = append(codes, code)
			size += len(code)
		}
	}
	return codes, l.trip(ctx, size)
}

func (l nodeLink) AccountLeaves(context.Context, common.Hash, common.Hash, common.Hash, uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}

func (l nodeLink) StorageLeaves(context.Context, common.Hash, []common.Hash, common.Hash, common.Hash, uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}
