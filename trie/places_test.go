package trie

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// TestPlaces walks a state by hash from its root: each node is where the one above it led to, in
// storage tries too.
func TestPlaces(t *testing.T) {
	w := newWorld(t, 200)
	nodes := w.db.TrieDB()
	reader, err := nodes.NodeReader(w.root)
	if err != nil {
		t.Fatal(err)
	}
	places, open := NewPlaces(), []common.Hash{w.root}
	seen, storage := make(map[common.Hash]bool), 0
	for len(open) > 0 {
		hash := open[0]
		open = open[1:]
		if seen[hash] {
			continue
		}
		seen[hash] = true
		at, ok := places.Of(hash)
		if !ok && hash != w.root {
			t.Fatalf("no place of %x", hash)
		}
		at.Root = w.root
		blob, err := reader.Node(at.Owner, []byte(at.Path), hash)
		if err != nil || crypto.Keccak256Hash(blob) != hash {
			t.Fatalf("node %x at %x of %x: %v", hash, at.Path, at.Owner, err)
		}
		places.Opened(at, blob)
		children, err := Children(blob)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range children {
			var account types.StateAccount
			switch {
			case c.Value == nil:
				open = append(open, c.Hash)
			case at.Owner != (common.Hash{}):
				storage++
			case rlp.DecodeBytes(c.Value, &account) != nil:
				t.Fatalf("no account: %x", c.Value)
			case account.Root != types.EmptyRootHash:
				open = append(open, account.Root)
				place, ok := places.Of(account.Root)
				if key, _ := Span(append([]byte(at.Path), c.Path...)); !ok || place.Owner != key || place.Path != "" {
					t.Errorf("storage of %x is at %+v", key, place)
				}
			}
		}
	}
	if len(seen) < 500 || storage < 500 {
		t.Errorf("%d nodes and %d slots are too few", len(seen), storage)
	}
}

// TestPlacesOfNothing: what is no node, or no account, leads nowhere and does no harm.
func TestPlacesOfNothing(t *testing.T) {
	places := NewPlaces()
	for _, blob := range [][]byte{nil, {}, {0xc0}, bytes.Repeat([]byte{0xff}, 40), {0xc2, 0x20, 0x01}} {
		places.Opened(Place{}, blob)
	}
	if n := places.byHash.Len(); n != 0 {
		t.Errorf("%d places", n)
	}
}
