// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ServedState reads one state from a store on behalf of other nodes. Every read descends from the root
// by hash, so it returns only verified and reachable nodes. A node that is not in the store is absent.
// It never fetches.
//
// It serves one request: it keeps the path of the last read, because the next read is usually close
// to it. It is not safe for concurrent use.
type ServedState struct {
	store   Store
	flat    FlatState // may be nil
	root    common.Hash
	cursors [2]pathCursor // in the account trie, and in the storage trie of the last owner
}

// FlatState iterates over the leaves of one state without its trie nodes, which is faster. Its leaves are
// not verified: a corrupt disk can change them.
type FlatState interface {
	// Leaves calls each with the leaves at and after origin in the account trie, or in the owner's
	// storage trie, in order of their keys. done is true if each returned false or there are no more
	// leaves, and false if the state is not available, or no longer. Values are encoded as in
	// [ServedState.Leaves].
	Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool)
}

// OpenServed returns the state under root, nil if the root node is not in the store. flat may be nil.
func OpenServed(store Store, flat FlatState, root common.Hash) *ServedState {
	h := &ServedState{store: store, flat: flat, root: root}
	if !h.cursors[0].reset(store, common.Hash{}, root) {
		return nil
	}
	return h
}

// pathCursor is a position in a trie, with all nodes from the root down to it.
type pathCursor struct {
	owner  common.Hash
	path   []byte // of the last read
	frames []frame
}

// frame is one node on the path of a cursor.
type frame struct {
	depth int // nibbles
	blob  []byte
}

func (c *pathCursor) reset(store Store, owner, root common.Hash) bool {
	*c = pathCursor{owner: owner}
	blob, err := store.Node(owner, nil, root)
	if err != nil || len(blob) == 0 {
		return false
	}
	c.frames = append(c.frames, frame{0, blob})
	return true
}

// descend moves down along path as far as the trie and the store allow. It returns the value if path is
// a key with one. ok is false if a node on the path is not in the store.
func (c *pathCursor) descend(store Store, path []byte) (value []byte, ok bool) {
	shared := commonPrefix(c.path, path)
	for len(c.frames) > 1 && c.frames[len(c.frames)-1].depth > shared {
		c.frames = c.frames[:len(c.frames)-1]
	}
	c.path = append(c.path[:0], path...)
	for {
		at := c.frames[len(c.frames)-1]
		if at.depth == len(path) {
			return nil, true
		}
		next, err := Descend(at.blob, path[at.depth:])
		if err != nil {
			return nil, false
		}
		if next.Kind != StepChild {
			return next.Value, true
		}
		depth := at.depth + next.Depth
		blob, err := store.Node(c.owner, path[:depth:depth], next.Hash)
		if err != nil || len(blob) == 0 {
			return nil, false
		}
		c.frames = append(c.frames, frame{depth, blob})
	}
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// cursor returns the cursor in the account trie or in the owner's storage trie; nil if that trie is
// unknown, not in the store, or empty.
func (h *ServedState) cursor(owner common.Hash) *pathCursor {
	if owner == (common.Hash{}) {
		return &h.cursors[0]
	}
	if h.cursors[1].owner == owner && len(h.cursors[1].frames) > 0 {
		return &h.cursors[1]
	}
	root, known := h.StorageRoot(owner)
	if !known || root == types.EmptyRootHash || !h.cursors[1].reset(h.store, owner, root) {
		return nil
	}
	return &h.cursors[1]
}

// StorageRoot returns the root of an account's storage trie, that of the empty trie if there is no such
// account. known is false if a node on the path to the account is not in the store.
func (h *ServedState) StorageRoot(owner common.Hash) (root common.Hash, known bool) {
	value, ok := h.cursors[0].descend(h.store, Nibbles(owner))
	switch {
	case !ok:
		return common.Hash{}, false
	case len(value) == 0:
		return types.EmptyRootHash, true
	}
	account, err := decodeAccount(owner, value)
	switch {
	case err != nil:
		return common.Hash{}, false
	case account.Storage == (common.Hash{}):
		return types.EmptyRootHash, true
	}
	return account.Storage, true
}

// TrieNode returns the node that is exactly at path (nibbles) in the account trie or in the owner's
// storage trie. It returns nil if there is none, if it is embedded in its parent, or if it is not in
// the store.
func (h *ServedState) TrieNode(owner common.Hash, path []byte) []byte {
	c := h.cursor(owner)
	if c == nil {
		return nil
	}
	if _, ok := c.descend(h.store, path); !ok {
		return nil
	}
	if last := c.frames[len(c.frames)-1]; last.depth == len(path) {
		return last.blob
	}
	return nil
}

// Prove returns the nodes on the path to a key, from the root down: the proof of its value or of its
// absence. It returns nil if one is not in the store. The proof in an empty trie has no nodes.
func (h *ServedState) Prove(owner, key common.Hash) [][]byte {
	c := h.cursor(owner)
	if c == nil {
		return nil
	}
	if _, ok := c.descend(h.store, Nibbles(key)); !ok {
		return nil
	}
	proof := make([][]byte, len(c.frames))
	for i, s := range c.frames {
		proof[i] = s.blob
	}
	return slices.Clip(proof)
}
