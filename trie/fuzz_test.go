// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// FuzzMatch changes a true answer of leaves and proof in any way and offers it to a walker's
// verifier: what it takes for proved is in the trie, or it says that it is a invalid.
func FuzzMatch(f *testing.F) {
	w := newStateWorld(f, 60)
	tries := map[common.Hash]common.Hash{{}: w.root} // owner -> root
	keys, values := w.leavesOf(f, gethtrie.StateTrieID(w.root))
	for i := range keys {
		if account, err := decodeAccount(keys[i], values[i]); err == nil && account.Storage != (common.Hash{}) && len(tries) < 6 {
			tries[keys[i]] = account.Storage
		}
	}
	owners := make([]common.Hash, 0, len(tries))
	for owner := range tries {
		owners = append(owners, owner)
	}
	slices.SortFunc(owners, common.Hash.Cmp)
	served := OpenServed(holes{stateWorld: w}, nil, w.root)

	f.Add(uint8(0), []byte{}, uint16(100), []byte{})
	f.Add(uint8(0), []byte{0x33}, uint16(7), []byte{1, 3, 0})
	f.Add(uint8(1), []byte{}, uint16(9), []byte{0, 2, 0, 4, 1, 1, 5, 0, 0})
	f.Add(uint8(2), []byte{0x80}, uint16(30), []byte{2, 1, 9, 3, 1, 7})
	f.Fuzz(func(t *testing.T, which uint8, from []byte, count uint16, changes []byte) {
		owner := owners[int(which)%len(owners)]
		leaves := Leaves{Origin: common.BytesToHash(common.RightPadBytes(from[:min(len(from), 32)], 32))}
		leaves.Whole = served.Leaves(owner, leaves.Origin, func(key common.Hash, value []byte) bool {
			if owner == (common.Hash{}) {
				value, _ = types.FullAccountRLP(value) // it was one
			}
			leaves.Keys, leaves.Values = append(leaves.Keys, key), append(leaves.Values, bytes.Clone(value))
			return len(leaves.Keys) <= int(count)
		}) && len(leaves.Keys) <= int(count)
		leaves.Proof = slices.Clone(served.Prove(owner, leaves.Origin))
		if n := len(leaves.Keys); n > 0 {
			leaves.Proof = append(leaves.Proof, served.Prove(owner, leaves.Keys[n-1])...)
		}
		for ; len(changes) >= 3; changes = changes[3:] {
			alter(&leaves, changes[0], int(changes[1]), changes[2])
		}
		piece, err := leaves.Match(NodeRef{Owner: owner, Hash: tries[owner]})
		var invalid *InvalidRangeError
		if err != nil && !errors.As(err, &invalid) {
			t.Fatalf("%v", err)
		}
		if piece != nil {
			checkPiece(t, w, owner, piece)
		}
	})
}

// alter does something to an answer at a place.
func alter(l *Leaves, what byte, at int, by byte) {
	n := len(l.Keys)
	if what%8 < 5 && n == 0 {
		return
	}
	at %= max(n, 1)
	switch what % 8 {
	case 0:
		l.Keys, l.Values = slices.Delete(l.Keys, at, at+1), slices.Delete(l.Values, at, at+1)
	case 1:
		l.Values[at] = append([]byte{by}, l.Values[at]...)
	case 2:
		if len(l.Values[at]) > 0 {
			l.Values[at][int(by)%len(l.Values[at])] ^= 1 + by
		}
	case 3:
		l.Keys[at][int(by)%32] ^= 1 + by
	case 4:
		l.Keys, l.Values = slices.Insert(l.Keys, at, l.Keys[at]), slices.Insert(l.Values, at, []byte{by})
		l.Keys[at][31] ^= by
	case 5:
		l.Origin[int(by)%32] ^= 1 + byte(at)
	case 6:
		if len(l.Proof) > 0 {
			at = int(by) % len(l.Proof)
			l.Proof = slices.Delete(l.Proof, at, at+1)
		}
	case 7:
		l.Whole = !l.Whole
	}
}

// checkPiece fails if something in a piece is not a node of the world.
func checkPiece(t *testing.T, w *stateWorld, owner common.Hash, piece *Piece) {
	t.Helper()
	real := func(blob []byte) {
		hash := crypto.Keccak256Hash(blob)
		if known, _ := w.disk.Get(hash[:]); !bytes.Equal(known, blob) {
			t.Fatalf("a node of %x that is not in the state was taken for proved: %x", owner, blob)
		}
	}
	for _, node := range piece.Nodes {
		real(node.Blob)
		if node.Hash != crypto.Keccak256Hash(node.Blob) {
			t.Fatalf("node at %x has another hash", node.Path)
		}
	}
	if piece.Blob != nil {
		real(piece.Blob)
	}
	for _, below := range piece.Below {
		checkPiece(t, w, owner, below)
	}
}

// FuzzServed takes any nodes away and asks for any part of a trie: go-ethereum's verifier accepts what
// is told.
func FuzzServed(f *testing.F) {
	w := newStateWorld(f, 60)
	keys, values := w.leavesOf(f, gethtrie.StateTrieID(w.root))
	f.Add(uint8(0), []byte{}, uint16(1000), []byte{})
	f.Add(uint8(3), []byte{0x33}, uint16(7), []byte{1, 3, 0})
	f.Add(uint8(30), []byte{0xff, 0xff}, uint16(0), []byte{9, 9, 9, 9, 9, 9, 8, 8})
	f.Fuzz(func(t *testing.T, which uint8, from []byte, count uint16, gone []byte) {
		owner, root := common.Hash{}, w.root
		if account, err := decodeAccount(keys[int(which)%len(keys)], values[int(which)%len(keys)]); which > 0 && err == nil && account.Storage != (common.Hash{}) {
			owner, root = account.Key, account.Storage
		}
		store, whole := holes{w, make(map[common.Hash]bool)}, OpenServed(holes{stateWorld: w}, nil, w.root)
		for ; len(gone) >= 2; gone = gone[2:] {
			nodes := whole.Prove(owner, common.Hash{gone[0]})
			if hash := crypto.Keccak256Hash(nodes[int(gone[1])%len(nodes)]); hash != w.root {
				store.missing[hash] = true
			}
		}
		served := OpenServed(store, nil, w.root)
		origin := common.BytesToHash(common.RightPadBytes(from[:min(len(from), 32)], 32))
		var leaves Leaves
		done := served.Leaves(owner, origin, func(key common.Hash, value []byte) bool {
			if owner == (common.Hash{}) {
				value, _ = types.FullAccountRLP(value) // it was one
			}
			leaves.Keys, leaves.Values = append(leaves.Keys, key), append(leaves.Values, value)
			return len(leaves.Keys) <= int(count)
		})
		if done || len(leaves.Keys) > 0 {
			checkRange(t, served, owner, root, origin, leaves.Keys, leaves.Values, done && len(leaves.Keys) <= int(count))
		}
	})
}
