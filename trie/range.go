package trie

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// Leaves calls each with the leaves at origin and after it, of the account trie or of the owner's
// storage trie, in order, until each returns false. done is false if the next leaf is not
// held, or a node on the way to it: then nothing is known about what follows, and nothing
// may be concluded. Otherwise each has seen all that there is, or said that it has enough.
//
// An account's value is in the slim encoding of snap/1 (devp2p, caps/snap.md), a slot's is that in
// the trie. An account that does not exist has no storage. The way to every leaf that
// each has seen, and the one to origin if done or if there was a leaf, is held ([Held.Prove]).
func (h *Held) Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool) {
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
	return h.walk(owner, root, origin, each)
}

// walk goes through the leaves from node to node.
func (h *Held) walk(owner, root, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool) {
	from := Nibbles(origin)
	for ahead := []Child{{Hash: root}}; len(ahead) > 0; {
		at := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		if at.Value != nil {
			key, value, ok := leafAt(owner, at)
			if !ok {
				return false
			}
			if !each(key, value) {
				return true
			}
			continue
		}
		blob, err := h.store.Node(owner, at.Path, at.Hash)
		if err != nil || len(blob) == 0 {
			return false
		}
		children, err := Children(blob)
		if err != nil {
			return false
		}
		for _, child := range slices.Backward(children) {
			child.Path = slices.Concat(at.Path, child.Path)
			if len(child.Path) > KeyLen {
				return false
			}
			if bytes.Compare(child.Path, from[:len(child.Path)]) >= 0 {
				ahead = append(ahead, child)
			}
		}
	}
	return true
}

// leafAt is a leaf as [Held.Leaves] tells it. ok is false if a trie of a state cannot have it.
func leafAt(owner common.Hash, at Child) (key common.Hash, value []byte, ok bool) {
	if len(at.Path) != KeyLen {
		return common.Hash{}, nil, false
	}
	key, _ = Span(at.Path)
	if owner != (common.Hash{}) {
		return key, at.Value, true
	}
	var account types.StateAccount
	if err := rlp.DecodeBytes(at.Value, &account); err != nil {
		return common.Hash{}, nil, false
	}
	return key, types.SlimAccountRLP(account), true
}
