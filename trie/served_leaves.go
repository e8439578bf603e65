// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// Leaves calls each with the leaves at and after origin, in the account trie or in the owner's storage
// trie, in order of their keys, until each returns false. done is false if a node on the path to the
// next leaf is not in the store: then nothing is known about the rest of the range. Otherwise each
// has been called for all leaves, or has returned false.
//
// Values of accounts have the slim encoding of snap/1 (devp2p, caps/snap.md); those of slots are as
// in the trie. An account that does not exist has no storage. For every leaf that each was called
// with, and for origin if done or if there was a leaf, [ServedState.Prove] has a proof.
func (h *ServedState) Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool) {
	root := h.root
	if owner != (common.Hash{}) {
		var known bool
		if root, known = h.StorageRoot(owner); !known {
			return false
		}
	}
	if root == types.EmptyRootHash {
		return true
	}
	if h.flat != nil {
		seen := false
		done := h.flat.Leaves(owner, origin, func(key common.Hash, value []byte) bool {
			seen = true
			return each(key, value)
		})
		if done || seen {
			return done
		}
	}
	w := leafWalk{store: h.store, owner: owner, from: Nibbles(origin), each: each}
	ok, _ := w.node(root[:], 0)
	return ok
}

// leafWalk iterates over the leaves of a trie without allocations: a peer may ask for 20,000 at once.
type leafWalk struct {
	store Store
	owner common.Hash
	from  []byte // nibbles of the first wanted key
	each  func(key common.Hash, value []byte) bool
	path  [KeyLen]byte // of the current node
}

// node visits the subtree of the node at path[:depth]. ref is its hash or, if it is embedded, its encoding. ok is
// false if a node is missing or cannot be in the trie of a state; over is true if ok is false or each returned false.
func (w *leafWalk) node(ref []byte, depth int) (ok, over bool) {
	if bytes.Compare(w.path[:depth], w.from[:depth]) < 0 {
		return true, false // all keys are below the first wanted one
	}
	if len(ref) == common.HashLength {
		blob, err := w.store.Node(w.owner, w.path[:depth:depth], common.Hash(ref))
		if err != nil || len(blob) == 0 {
			return false, true
		}
		ref = blob
	}
	var n element
	if n.decode(ref) != nil || depth+n.pathLen > KeyLen {
		return false, true
	}
	depth += copy(w.path[depth:], n.path[:n.pathLen])
	switch {
	case n.kind == extension:
		return w.node(n.children[0], depth)
	case n.kind == leaf && depth == KeyLen:
		return w.leaf(n.value)
	case n.kind == leaf || depth == KeyLen || len(n.value) > 0:
		return false, true // keys are hashes
	}
	for i, child := range n.children {
		if len(child) == 0 {
			continue
		}
		w.path[depth] = byte(i)
		if ok, over = w.node(child, depth+1); over {
			return ok, true
		}
	}
	return true, false
}

// leaf calls each with the leaf at path.
func (w *leafWalk) leaf(value []byte) (ok, over bool) {
	if bytes.Compare(w.path[:], w.from) < 0 {
		return true, false
	}
	if w.owner == (common.Hash{}) {
		var ok bool
		if value, ok = slimAccount(value); !ok {
			return false, true
		}
	}
	key, _ := KeyRange(w.path[:])
	return true, !w.each(key, value)
}

// slimAccount translates the encoding of an account in the trie to the slim one, in which the hashes of no
// storage and of no code are empty (devp2p, caps/snap.md). ok is false if full does not encode an account.
func slimAccount(full []byte) (slim []byte, ok bool) {
	list, rest, err := rlp.SplitList(full)
	if err != nil || len(rest) > 0 {
		return nil, false
	}
	slim = make([]byte, 2, len(full)+2) // room for a header
	for i, most := range [4]int{8, 32, common.HashLength, common.HashLength} {
		content, rest, err := rlp.SplitString(list)
		if err != nil || len(content) > most || i >= 2 && len(content) < most {
			return nil, false
		}
		if i == 2 && common.Hash(content) == types.EmptyRootHash || i == 3 && common.Hash(content) == types.EmptyCodeHash {
			slim = append(slim, 0x80)
		} else {
			slim = append(slim, list[:len(list)-len(rest)]...)
		}
		list = rest
	}
	if size := len(slim) - 2; size > 55 {
		slim[0], slim[1] = 0xf8, byte(size)
	} else {
		slim = slim[1:]
		slim[0] = 0xc0 + byte(size)
	}
	return slim, len(list) == 0
}
