package trie

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Held is what a store has of one state: as much as others can be given. Everything is found
// from the root down by hash, so only true and reachable nodes leave, and what is not held is
// absent, never guessed. It never fetches.
//
// It serves one request: it remembers the way to what was asked for last, because what is
// asked for next lies close to it. It is not safe for concurrent use.
type Held struct {
	store Store
	flat  Flat // may be nil
	root  common.Hash
	ways  [2]way // in the account trie, and in the storage trie of the last owner
}

// Flat goes through leaves without their trie: faster than from node to node. What it says is
// that of the state that it stands for, but for what a disk does to it.
type Flat interface {
	// Leaves calls each with what is at origin and after it in the account trie, or in the
	// owner's storage trie, in order, until each returns false: then done is true, as it is at
	// the end. It is false if this cannot be said, or can be no longer. Values are as
	// those of [Held.Leaves].
	Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool)
}

// Hold returns what the store has of the state under a root, nil if it lacks even the root
// node. flat may be nil.
func Hold(store Store, flat Flat, root common.Hash) *Held {
	h := &Held{store: store, flat: flat, root: root}
	if !h.ways[0].begin(store, common.Hash{}, root) {
		return nil
	}
	return h
}

// way is how one came down in a trie: the nodes from the root to where one stands.
type way struct {
	owner common.Hash
	path  []byte // of the last node, or as far as was asked
	steps []step
}

type step struct {
	depth int // nibbles
	blob  []byte
}

func (w *way) begin(store Store, owner, root common.Hash) bool {
	*w = way{owner: owner}
	blob, err := store.Node(owner, nil, root)
	if err != nil || len(blob) == 0 {
		return false
	}
	w.steps = append(w.steps, step{0, blob})
	return true
}

// descend goes as far down along path as the trie and the store allow. It returns the
// value, if path is a key that has one. ok is false if a node on the way is not held.
func (w *way) descend(store Store, path []byte) (value []byte, ok bool) {
	common := commonPrefix(w.path, path)
	for len(w.steps) > 1 && w.steps[len(w.steps)-1].depth > common {
		w.steps = w.steps[:len(w.steps)-1]
	}
	w.path = append(w.path[:0], path...)
	for {
		at := w.steps[len(w.steps)-1]
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
		blob, err := store.Node(w.owner, path[:depth:depth], next.Hash)
		if err != nil || len(blob) == 0 {
			return nil, false
		}
		w.steps = append(w.steps, step{depth, blob})
	}
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// way returns the way into a trie: that of the accounts, or an account's storage trie, if that is
// known, held and not empty.
func (h *Held) way(owner common.Hash) *way {
	if owner == (common.Hash{}) {
		return &h.ways[0]
	}
	if h.ways[1].owner == owner && len(h.ways[1].steps) > 0 {
		return &h.ways[1]
	}
	root, known := h.StorageRoot(owner)
	if !known || root == types.EmptyRootHash || !h.ways[1].begin(h.store, owner, root) {
		return nil
	}
	return &h.ways[1]
}

// StorageRoot returns the root of an account's storage trie, that of an empty trie if there is no
// such account. known is false if the account is not held.
func (h *Held) StorageRoot(owner common.Hash) (root common.Hash, known bool) {
	value, ok := h.ways[0].descend(h.store, Nibbles(owner))
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

// TrieNode returns the node that is exactly at path (nibbles) in the account trie, or in
// the owner's storage trie, nil if there is none, it is embedded in its parent, or it is not held.
func (h *Held) TrieNode(owner common.Hash, path []byte) []byte {
	w := h.way(owner)
	if w == nil {
		return nil
	}
	if _, ok := w.descend(h.store, path); !ok {
		return nil
	}
	if last := w.steps[len(w.steps)-1]; last.depth == len(path) {
		return last.blob
	}
	return nil
}

// Prove returns the nodes on the way to a key, from the root down: the proof of its value, or
// of there being none. nil if one is not held. The proof of an empty trie is no node.
func (h *Held) Prove(owner, key common.Hash) [][]byte {
	w := h.way(owner)
	if w == nil {
		return nil
	}
	if _, ok := w.descend(h.store, Nibbles(key)); !ok {
		return nil
	}
	proof := make([][]byte, len(w.steps))
	for i, s := range w.steps {
		proof[i] = s.blob
	}
	return slices.Clip(proof)
}
