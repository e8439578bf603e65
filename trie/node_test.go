// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/crypto"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
)

// bag is a built trie: its root and its nodes by hash.
type bag struct {
	root  common.Hash
	nodes map[common.Hash][]byte
	paths map[string]common.Hash // path in nibbles -> hash
}

// build makes a trie with go-ethereum.
func build(t testing.TB, values map[common.Hash][]byte) *bag {
	t.Helper()
	tr := gethtrie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	for key, value := range values {
		tr.MustUpdate(key[:], value)
	}
	root, set := tr.Commit(false)
	b := &bag{root: root, nodes: make(map[common.Hash][]byte), paths: make(map[string]common.Hash)}
	if set != nil {
		for path, n := range set.Nodes {
			b.nodes[n.Hash], b.paths[path] = n.Blob, n.Hash
		}
	}
	return b
}

// read walks b with Descend.
func (b *bag) read(key []byte) ([]byte, error) {
	hash, depth := b.root, 0
	for {
		blob, ok := b.nodes[hash]
		if !ok {
			return nil, errors.New("missing node")
		}
		step, err := Descend(blob, key[depth:])
		if err != nil || step.Kind != StepChild {
			return step.Value, err
		}
		hash, depth = step.Hash, depth+step.Depth
	}
}

// randomKey returns a key; clustered ones share all but their last nibbles, so that
// branches invalid deep and leaves are embedded.
func randomKey(rng *rand.Rand, clustered bool) (key common.Hash) {
	if clustered {
		key[30], key[31] = byte(rng.IntN(4)), byte(rng.Uint32())
		key[0] = byte(rng.IntN(3))
		return key
	}
	for i := range key {
		key[i] = byte(rng.Uint32())
	}
	return key
}

func randomValues(rng *rand.Rand, n int) map[common.Hash][]byte {
	values := make(map[common.Hash][]byte, n)
	for range n {
		value := make([]byte, 1+rng.IntN(60))
		if rng.IntN(2) == 0 {
			value = value[:1] // short enough to be embedded
		}
		for i := range value {
			value[i] = byte(1 + rng.IntN(255))
		}
		values[randomKey(rng, rng.IntN(2) == 0)] = value
	}
	return values
}

// TestDescend reads random tries, present and absent keys, against what was put in.
func TestDescend(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for size := 1; size <= 2000; size = size*3 + 1 {
		values := randomValues(rng, size)
		b := build(t, values)
		for key, want := range values {
			if got, err := b.read(Nibbles(key)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d keys: %x: %x, %v; want %x", size, key, got, err, want)
			}
		}
		for range 1000 {
			key := randomKey(rng, rng.IntN(2) == 0)
			if got, err := b.read(Nibbles(key)); err != nil || !bytes.Equal(got, values[key]) {
				t.Fatalf("%d keys: %x: %x, %v; want %x", size, key, got, err, values[key])
			}
		}
	}
}

// TestChildren walks whole tries and finds every node and every value once.
func TestChildren(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	values := randomValues(rng, 800)
	b := build(t, values)
	nodes, found := 0, 0
	var walk func(path []byte, hash common.Hash)
	walk = func(path []byte, hash common.Hash) {
		nodes++
		if b.paths[string(path)] != hash {
			t.Fatalf("no node %x at %x", hash, path)
		}
		children, err := Children(b.nodes[hash])
		if err != nil {
			t.Fatal(err)
		}
		var last []byte
		for _, c := range children {
			at := append(bytes.Clone(path), c.Path...)
			if bytes.Compare(at, last) < 0 {
				t.Fatalf("children out of order")
			}
			last = at
			if c.Value == nil {
				walk(at, c.Hash)
				continue
			}
			var key common.Hash
			for i := range key {
				key[i] = at[2*i]<<4 | at[2*i+1]
			}
			if !bytes.Equal(values[key], c.Value) {
				t.Fatalf("value of %x is %x, not %x", key, c.Value, values[key])
			}
			found++
		}
	}
	walk(nil, b.root)
	if nodes != len(b.nodes) || found != len(values) {
		t.Errorf("%d of %d nodes, %d of %d values", nodes, len(b.nodes), found, len(values))
	}
}

// TestFollow verifies bags that are complete, cut, and lying.
func TestFollow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	values := randomValues(rng, 600)
	b := build(t, values)
	for key := range values {
		nibbles := Nibbles(key)
		nodes := Follow(common.Hash{9}, nil, b.root, nibbles, b.nodes)
		if len(nodes) == 0 || nodes[0].Hash != b.root {
			t.Fatalf("root is not first of %d", len(nodes))
		}
		for _, n := range nodes {
			if b.paths[string(n.Path)] != n.Hash || crypto.Keccak256Hash(n.Blob) != n.Hash || n.Owner != (common.Hash{9}) {
				t.Fatalf("%x is not at %x", n.Hash, n.Path)
			}
		}
		last := nodes[len(nodes)-1]
		if step, err := Descend(last.Blob, nibbles[len(last.Path):]); err != nil || step.Kind != StepValue {
			t.Fatalf("%x stopped at %x: %v", key, last.Path, err)
		}
		// From the middle on, with the middle missing, and with no key.
		mid := nodes[len(nodes)/2]
		if got := Follow(common.Hash{9}, mid.Path, mid.Hash, nibbles, b.nodes); len(got) != len(nodes)-len(nodes)/2 {
			t.Fatalf("%d nodes from the middle of %d", len(got), len(nodes))
		}
		cut := make(map[common.Hash][]byte)
		for _, n := range nodes {
			if n.Hash != mid.Hash {
				cut[n.Hash] = n.Blob
			}
		}
		if got := Follow(common.Hash{9}, nil, b.root, nibbles, cut); len(got) != len(nodes)/2 {
			t.Fatalf("%d nodes above a gap at %d", len(got), len(nodes)/2)
		}
		if got := Follow(common.Hash{9}, mid.Path, mid.Hash, nil, b.nodes); len(got) != 1 {
			t.Fatalf("%d nodes without a key", len(got))
		}
	}
	if got := Follow(common.Hash{}, nil, common.Hash{1}, nil, b.nodes); got != nil {
		t.Errorf("%d nodes for an unknown hash", len(got))
	}
}

// TestMalformed refuses what is no canonical node.
func TestMalformed(t *testing.T) {
	for what, blob := range map[string]string{
		"nothing":                   "",
		"string":                    "83616263",
		"empty list":                "c0",
		"three elements":            "c3010203",
		"bytes after":               "c2200100",
		"cut":                       "c320",
		"no path":                   "c28001",
		"odd padding":               "c22101",
		"flag 4":                    "c24001",
		"empty leaf":                "c22080",
		"list for a value":          "c420c22001",
		"extension of nothing":      "c21180",
		"extension of no path":      "e200a0" + "11223344556677889900112233445566778899001122334455667788990011aa",
		"short hash":                "c41182aabb",
		"list for a path":           "c3c12001",
		"embedded rubbish":          "c411c20080",
		"non-canonical single byte": "c4812081aa",
		"path too long":             "e5a2" + "3" + "0000000000000000000000000000000000000000000000000000000000000000000" + "81aa",
	} {
		t.Run(what, func(t *testing.T) {
			for _, key := range [][]byte{nil, {1}, Nibbles(common.Hash{0x12})} {
				if step, err := Descend(common.FromHex(blob), key); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%v, %v", step, err)
				}
			}
			if _, err := Children(common.FromHex(blob)); !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
		})
	}
}

// FuzzDescend looks for panics, and for blobs that Descend takes and go-ethereum's
// trie cannot decode (it would panic).
func FuzzDescend(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, blob := range build(f, randomValues(rng, 40)).nodes {
		f.Add(blob, []byte{1, 2, 3})
	}
	f.Add(common.FromHex("c22001"), []byte{})
	f.Add(common.FromHex("d1"+"80808080808080808080808080808080c22001"), []byte{16})
	f.Fuzz(func(t *testing.T, blob, key []byte) {
		step, err := Descend(blob, key)
		if _, other := Children(blob); (err == nil) != (other == nil) {
			t.Fatalf("Descend: %v, Children: %v", err, other)
		}
		if err != nil {
			return
		}
		if step.Kind == StepChild && (step.Depth > len(key) || step.Depth == 0) {
			t.Fatalf("depth %d of %d", step.Depth, len(key))
		}
		hash := crypto.Keccak256Hash(blob)
		db := nodeDatabase{Open(t.Context(), hash, &bag{nodes: map[common.Hash][]byte{hash: blob}}, nil)}
		tr, err := gethtrie.New(gethtrie.StateTrieID(hash), db)
		if err != nil {
			t.Fatalf("go-ethereum refuses it: %v", err)
		}
		_, _ = tr.Get(crypto.Keccak256(key))
	})
}

// Node implements Store.
func (b *bag) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return b.nodes[hash], nil
}

// Code implements Store.
func (b *bag) Code(common.Hash) ([]byte, error) { return nil, nil }
