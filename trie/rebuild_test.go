// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
)

// fullTrie is a trie of go-ethereum with all its nodes.
type fullTrie struct {
	keys   []common.Hash
	values [][]byte
	nodes  map[string]Node // by path
	root   common.Hash
}

// newFullTrie makes a trie with extensions, embedded leaves and branches at all depths; of accounts
// or of slots.
func newFullTrie(rng *rand.Rand, n int, accounts bool) *fullTrie {
	w := &fullTrie{nodes: make(map[string]Node)}
	for range n {
		var key common.Hash
		for i := range key {
			switch at := rng.IntN(8); {
			case i < 2 || i == 31:
				key[i] = byte(rng.IntN(256)) & []byte{0xff, 0x11, 0xf0, 0x0f}[at%4]
			case i == 7 && at == 0:
				key[i] = byte(rng.IntN(256))
			}
		}
		if i, found := slices.BinarySearchFunc(w.keys, key, common.Hash.Cmp); !found {
			w.keys = slices.Insert(w.keys, i, key)
		}
	}
	for i, key := range w.keys {
		value := bytes.Repeat([]byte{byte(i) | 1}, 1+33*rng.IntN(2))
		if accounts {
			a := types.StateAccount{Balance: uint256.NewInt(uint64(i)), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
			if i%3 == 0 {
				a.Root = key
			}
			value, _ = rlp.EncodeToBytes(&a)
		}
		w.values = append(w.values, value)
	}
	st := gethtrie.NewStackTrie(func(path []byte, hash common.Hash, blob []byte) {
		w.nodes[string(path)] = Node{Path: bytes.Clone(path), Hash: hash, Blob: bytes.Clone(blob)}
	})
	for i := range w.keys {
		if err := st.Update(w.keys[i][:], w.values[i]); err != nil {
			panic(err)
		}
	}
	w.root = st.Hash()
	return w
}

// under returns the leaves whose keys begin with path.
func (w *fullTrie) under(path []byte) (keys []common.Hash, values [][]byte) {
	for i, key := range w.keys {
		if bytes.HasPrefix(Nibbles(key), path) {
			keys, values = append(keys, key), append(values, w.values[i])
		}
	}
	return keys, values
}

func (w *fullTrie) prove(keys ...common.Hash) (proof [][]byte) {
	for _, key := range keys {
		nibbles := Nibbles(key)
		for depth := 0; ; {
			blob := w.nodes[string(nibbles[:depth])].Blob
			proof = append(proof, blob)
			step, err := Descend(blob, nibbles[depth:])
			if err != nil || step.Kind != StepChild {
				break
			}
			depth += step.Depth
		}
	}
	return proof
}

// TestRebuild: at every node of random tries, the subtree rebuilt from its leaves alone is the
// part of the whole trie.
func TestRebuild(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 17, 300} {
		w := newFullTrie(rng, n, false)
		for at, want := range w.nodes {
			keys, values := w.under([]byte(at))
			nodes, err := Rebuild(common.Hash{1}, []byte(at), keys, values)
			if err != nil {
				t.Fatal(err)
			}
			if len(nodes) == 0 || nodes[len(nodes)-1].Hash != want.Hash || !bytes.Equal(nodes[len(nodes)-1].Path, want.Path) {
				t.Fatalf("path %x: the last node is not the wanted one", at)
			}
			seen := make(map[string]bool)
			for _, node := range nodes {
				if truth := w.nodes[string(node.Path)]; truth.Hash != node.Hash || !bytes.Equal(truth.Blob, node.Blob) || node.Owner != (common.Hash{1}) {
					t.Fatalf("path %x: another node at %x", at, node.Path)
				}
				children, err := Children(node.Blob)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range children {
					if c.Value == nil && !seen[string(slices.Concat(node.Path, c.Path))] {
						t.Fatalf("path %x: node %x comes before its child", at, node.Path)
					}
				}
				seen[string(node.Path)] = true
			}
			for path := range w.nodes {
				if bytes.HasPrefix([]byte(path), []byte(at)) && !seen[path] {
					t.Fatalf("path %x: no node at %x", at, path)
				}
			}
		}
	}
}

// proved collects a piece's nodes and checks each of them, and that parts that are not whole
// are only what the leaves do not reach.
func (w *fullTrie) proved(t *testing.T, p *Piece, into map[string]bool) {
	t.Helper()
	if p == nil {
		return
	}
	for _, n := range p.Nodes {
		if w.nodes[string(n.Path)].Hash != n.Hash || hashOf(n.Blob) != n.Hash {
			t.Fatalf("proved node at path %x is not of the trie", n.Path)
		}
		into[string(n.Path)] = true
	}
	if p.Nodes == nil {
		if hashOf(p.Blob) != w.nodes[string(p.Path)].Hash {
			t.Fatalf("opened node at path %x is not of the trie", p.Path)
		}
		into[string(p.Path)] = true
	}
	for _, below := range p.Below {
		w.proved(t, below, into)
	}
}

// TestMatchCuts: an answer from anywhere to anywhere proves what it covers and claims nothing else.
func TestMatchCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := newFullTrie(rng, 150, true)
	want := NodeRef{Hash: w.root}
	for from := range w.keys {
		for _, to := range []int{from, from + 1, from + rng.IntN(20), len(w.keys) - 1} {
			to = min(to, len(w.keys)-1)
			l := Leaves{Origin: w.keys[from], Keys: w.keys[from : to+1], Values: w.values[from : to+1], Proof: w.prove(w.keys[from], w.keys[to])}
			if from == 0 {
				l.Origin = common.Hash{}
			}
			piece, err := l.Match(want)
			if err != nil {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
			nodes := make(map[string]bool)
			w.proved(t, piece, nodes)
			for path := range w.nodes { // what is wholly inside must have been proved
				first, last := KeyRange([]byte(path))
				if l.Origin.Cmp(first) <= 0 && last.Cmp(w.keys[to]) <= 0 && !nodes[path] {
					t.Fatalf("%d to %d: node at path %x is covered, but not proved", from, to, path)
				}
			}
		}
	}
	l := Leaves{Keys: w.keys, Values: w.values, Whole: true}
	piece, err := l.Match(want)
	if err != nil || len(piece.Nodes) != len(w.nodes) || len(piece.Keys) != len(w.keys) || len(piece.Accounts) != (len(w.keys)+2)/3 {
		t.Fatalf("whole trie: %v", err)
	}
}

// TestMatchInvalid: whatever is changed in the leaves is found; what a part proves stays true.
func TestMatchInvalid(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	w := newFullTrie(rng, 120, true)
	want := NodeRef{Hash: w.root}
	tampered := map[string]func(l *Leaves, i int){
		"slot left out": func(l *Leaves, i int) {
			l.Keys, l.Values = slices.Delete(l.Keys, i, i+1), slices.Delete(l.Values, i, i+1)
		},
		"other value":  func(l *Leaves, i int) { l.Values[i] = l.Values[(i+1)%len(l.Values)] },
		"empty value":  func(l *Leaves, i int) { l.Values[i] = nil },
		"out of order": func(l *Leaves, i int) { l.Keys[i], l.Keys[i+1] = l.Keys[i+1], l.Keys[i] },
		"twice": func(l *Leaves, i int) {
			l.Keys, l.Values = slices.Insert(l.Keys, i, l.Keys[i]), slices.Insert(l.Values, i, l.Values[i])
		},
		"extra account": func(l *Leaves, i int) {
			key := l.Keys[i]
			key[29] ^= 1
			at, _ := slices.BinarySearchFunc(l.Keys, key, common.Hash.Cmp)
			l.Keys, l.Values = slices.Insert(l.Keys, at, key), slices.Insert(l.Values, at, l.Values[i])
		},
		"before the origin": func(l *Leaves, _ int) { l.Origin, _ = increment(l.Keys[0]) },
	}
	for name, invalid := range tampered {
		for i := range len(w.keys) - 3 {
			for _, cut := range []bool{false, true} {
				l := Leaves{Keys: slices.Clone(w.keys), Values: slices.Clone(w.values), Whole: !cut}
				if cut { // the change is well before the end
					l.Proof = w.prove(common.Hash{}, w.keys[len(w.keys)-1])
				}
				invalid(&l, i)
				piece, err := l.Match(want)
				if invalid := (*InvalidRangeError)(nil); errors.As(err, &invalid) {
					continue
				}
				// A leaf that is embedded in a proved node may be left out without harm.
				if err != nil || !cut {
					t.Fatalf("%s, leaf %d, cut %v: %v", name, i, cut, err)
				}
				w.proved(t, piece, make(map[string]bool))
			}
		}
	}
	l := Leaves{Keys: w.keys[:50], Values: w.values[:50]}
	if piece, err := l.Match(want); piece != nil || err != nil {
		t.Fatalf("a part without proof: %v, %v", piece, err)
	}
	l = Leaves{Whole: true}
	if _, err := l.Match(NodeRef{Hash: crypto.Keccak256Hash(nil)}); err == nil {
		t.Fatal("nothing was taken for a whole trie")
	}
}
