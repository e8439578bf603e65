// SPDX-License-Identifier: LGPL-3.0-or-later

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

// TestPathIndex walks a state by hash from its root: each node is at the path that its parent gave, in
// storage tries too. A depth-first walk, as geth's scheduler does it, requests last what it learnt first.
// Even then the index need not be larger than the number of nodes that are known and not requested.
func TestPathIndex(t *testing.T) {
	w := newStateWorld(t, 200)
	first := func(int) int { return 0 }
	last := func(n int) int { return n - 1 }
	walkByHash(t, w, NewPathIndex(), first)
	nodes, most := walkByHash(t, w, NewPathIndex(), last)
	if most > nodes/5 {
		t.Fatalf("%d of %d nodes are known at once: the test shows nothing", most, nodes)
	}
	walkByHash(t, w, newPathIndex(most, 1), last)
}

// walkByHash requests the nodes of a state one by one; next chooses among the known ones. It returns the number
// of nodes, and the largest number that were known and not requested.
func walkByHash(t *testing.T, w *stateWorld, index *PathIndex, next func(open int) int) (nodes, most int) {
	t.Helper()
	reader, err := w.db.TrieDB().NodeReader(w.root)
	if err != nil {
		t.Fatal(err)
	}
	open, slots := []common.Hash{w.root}, 0
	owners := make(map[common.Hash]common.Hash) // account that refers to a storage root; the last of several
	for ; len(open) > 0; nodes++ {
		most = max(most, len(open))
		i := next(len(open))
		hash := open[i]
		open = slices.Delete(open, i, i+1)
		at, ok := index.Lookup(hash)
		if !ok && hash != w.root {
			t.Fatalf("no path of %x", hash)
		}
		if owner, ok := owners[hash]; ok && (at.Owner != owner || at.Path != "") {
			t.Errorf("storage of %x is at %+v", owner, at)
		}
		at.Root = w.root
		blob, err := reader.Node(at.Owner, []byte(at.Path), hash)
		if err != nil || crypto.Keccak256Hash(blob) != hash {
			t.Fatalf("node %x at %x of %x: %v", hash, at.Path, at.Owner, err)
		}
		index.AddChildren(at, blob)
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
				owners[account.Root], _ = KeyRange(append([]byte(at.Path), c.Path...))
			}
		}
	}
	if nodes < 500 || slots < 500 {
		t.Errorf("%d nodes and %d slots are too few", nodes, slots)
	}
	return nodes, most
}

// TestPathIndexMalformed: blobs that are not nodes, or leaves that are not accounts, add nothing.
func TestPathIndexMalformed(t *testing.T) {
	index := NewPathIndex()
	for _, blob := range [][]byte{nil, {}, {0xc0}, bytes.Repeat([]byte{0xff}, 40), {0xc2, 0x20, 0x01}} {
		index.AddChildren(NodePath{}, blob)
	}
	if n := index.pending.Len(); n != 0 {
		t.Errorf("%d paths", n)
	}
}
