package trie

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// TestPlaces walks a state by hash from its root: each node is where the one above it led to, in
// storage tries too. Who walks depth first, as geth's scheduler does, asks last for what it knew first; yet
// the index need not be larger than what is known and not asked for.
func TestPlaces(t *testing.T) {
	w := newWorld(t, 200)
	first := func(int) int { return 0 }
	last := func(n int) int { return n - 1 }
	walkByHash(t, w, NewPlaces(), first)
	nodes, most := walkByHash(t, w, NewPlaces(), last)
	if most > nodes/5 {
		t.Fatalf("%d of %d nodes are open at once: no test", most, nodes)
	}
	walkByHash(t, w, newPlaces(most, 1), last)
}

// walkByHash asks for the nodes of a state one by one, next for which of those that are open, and returns how many
// there are and how many were open at most.
func walkByHash(t *testing.T, w *world, places *Places, next func(open int) int) (nodes, most int) {
	t.Helper()
	reader, err := w.db.TrieDB().NodeReader(w.root)
	if err != nil {
		t.Fatal(err)
	}
	open, slots := []common.Hash{w.root}, 0
	owners := make(map[common.Hash]common.Hash) // who refers to a storage root; of several, the last
	for ; len(open) > 0; nodes++ {
		most = max(most, len(open))
		i := next(len(open))
		hash := open[i]
		open = slices.Delete(open, i, i+1)
		at, ok := places.Of(hash)
		if !ok && hash != w.root {
			t.Fatalf("no place of %x", hash)
		}
		if owner, ok := owners[hash]; ok && (at.Owner != owner || at.Path != "") {
			t.Errorf("storage of %x is at %+v", owner, at)
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
				slots++
			case rlp.DecodeBytes(c.Value, &account) != nil:
				t.Fatalf("no account: %x", c.Value)
			case account.Root != types.EmptyRootHash:
				open = append(open, account.Root)
				owners[account.Root], _ = Span(append([]byte(at.Path), c.Path...))
			}
		}
	}
	if nodes < 500 || slots < 500 {
		t.Errorf("%d nodes and %d slots are too few", nodes, slots)
	}
	return nodes, most
}

// TestPlacesOfNothing: what is no node, or no account, leads nowhere and does no harm.
func TestPlacesOfNothing(t *testing.T) {
	places := NewPlaces()
	for _, blob := range [][]byte{nil, {}, {0xc0}, bytes.Repeat([]byte{0xff}, 40), {0xc2, 0x20, 0x01}} {
		places.Opened(Place{}, blob)
	}
	if n := places.open.Len(); n != 0 {
		t.Errorf("%d places", n)
	}
}
