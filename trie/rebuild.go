// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// Rebuild returns the nodes of the subtree at path, built from its leaves: values by key, in
// increasing order of the keys, all of which begin with path. The order of the nodes is children
// first, so the last one is the node at path. If that node is so small that its parent embeds it,
// there is none at path: the last node is another one, or there are no nodes.
//
// Go-ethereum's StackTrie builds whole tries. From the given keys alone, the node at path would
// be part of a longer extension or leaf above it. So the trie gets one more leaf, with a sibling
// path: then there is a branch right above path, as in the trie that the subtree is part of, and
// the child of the branch is the node with the hash that its parent has.
func Rebuild(owner common.Hash, path []byte, keys []common.Hash, values [][]byte) ([]Node, error) {
	var (
		nodes = make([]Node, 0, len(keys)+len(keys)/2+1)
		room  arena
	)
	st := gethtrie.NewStackTrie(func(at []byte, hash common.Hash, blob []byte) {
		if bytes.HasPrefix(at, path) {
			nodes = append(nodes, Node{Owner: owner, Path: room.clone(at), Hash: hash, Blob: room.clone(blob)})
		}
	})
	if sibling, after := siblingKey(path); sibling != nil && !after {
		if err := st.Update(sibling[:], sibling[:]); err != nil {
			return nil, err
		}
	}
	for i := range keys {
		if err := st.Update(keys[i][:], values[i]); err != nil {
			return nil, fmt.Errorf("leaf %d, %x: %w", i, keys[i], err)
		}
	}
	if sibling, after := siblingKey(path); sibling != nil && after {
		if err := st.Update(sibling[:], sibling[:]); err != nil {
			return nil, err
		}
	}
	st.Hash()
	return nodes, nil
}

// siblingKey returns a key that differs from path in the last nibble of path, and whether it is after
// the keys below path. The root has no sibling.
func siblingKey(path []byte) (key *common.Hash, after bool) {
	if len(path) == 0 {
		return nil, false
	}
	sibling := bytes.Clone(path)
	last := &sibling[len(path)-1]
	if after = *last < 15; after {
		*last++
	} else {
		*last--
	}
	lo, hi := KeyRange(sibling)
	if after {
		return &hi, true
	}
	return &lo, false
}

// KeyRange returns the first and the last key that begin with path.
func KeyRange(path []byte) (first, last common.Hash) {
	for i := range last {
		last[i] = 0xff
	}
	for i, nibble := range path {
		if i%2 == 0 {
			first[i/2], last[i/2] = nibble<<4, nibble<<4|0x0f
		} else {
			first[i/2], last[i/2] = first[i/2]|nibble, last[i/2]&0xf0|nibble
		}
	}
	return first, last
}

// arena clones many small slices with few allocations.
type arena struct{ free []byte }

func (a *arena) clone(b []byte) []byte {
	if len(b) > cap(a.free)-len(a.free) {
		a.free = make([]byte, 0, max(16<<10, len(b)))
	}
	from := len(a.free)
	a.free = append(a.free, b...)
	return a.free[from:len(a.free):len(a.free)]
}

// NodeRef identifies a node, and so the subtree below it.
type NodeRef struct {
	Owner common.Hash
	Path  []byte
	Hash  common.Hash
}

// Leaves are leaves of one trie in a range of keys as a peer sent them, with the trie nodes of
// their proof.
type Leaves struct {
	Origin common.Hash // first key of the range
	Keys   []common.Hash
	Values [][]byte
	Proof  [][]byte
	Whole  bool // no leaf of the trie is after the last key
}

// InvalidRangeError says that leaves are not those of the trie: wrong, missing, made up or out of
// order. The peer that sent them is at fault.
type InvalidRangeError struct{ Detail string }

// UnprovedRangeError says that leaves that came as a whole trie, so without a range proof, are not that trie. That is
// no proof of a lie: while a geth node reads a storage trie, the layer that it reads may be merged into the one below.
// Its iterator then ends early, and the list is sent as if it were complete, or is left out so that the lists behind it
// take the places of others (eth/protocols/snap/handlers.go, ServiceGetStorageRangesQuery, up to v1.17.10 at least).
type UnprovedRangeError struct{ Detail string }

func (e *UnprovedRangeError) Error() string { return "range of leaves without a proof: " + e.Detail }

func (e *InvalidRangeError) Error() string { return "invalid range of leaves: " + e.Detail }

// Piece is a proved part of a subtree. Either all its nodes are known (Nodes, children first), or
// only its top node (Blob) and some pieces below it (Below, in the order of their keys).
type Piece struct {
	Path     []byte
	Nodes    []Node
	Accounts []Account     // in the account trie: the leaves below Nodes that have storage or code
	Keys     []common.Hash // of the leaves below Nodes
	Values   [][]byte      // likewise
	Blob     []byte
	Below    []*Piece
}

// Account is what a leaf of the account trie refers to.
type Account struct {
	Key      common.Hash
	Storage  common.Hash // root, zero if there is no storage
	CodeHash common.Hash // zero if there is no code
}

// Match proves as much of a wanted subtree as the leaves cover. A subtree that they cover is
// rebuilt: it must have the hash that its parent has for it, and needs no other proof. Where the
// leaves end within a subtree, its top node must be in the proof, and its children are matched.
// The result is nil if nothing is proved. The error is an *[InvalidRangeError], or wraps
// [ErrMalformed] if the root of the trie is not that of a state.
func (l *Leaves) Match(ref NodeRef) (*Piece, error) {
	m := matcher{Leaves: l, blobs: make(map[common.Hash][]byte, len(l.Proof))}
	for _, blob := range l.Proof {
		m.blobs[hashOf(blob)] = blob
	}
	for i := range l.Keys {
		if l.Keys[i].Cmp(l.Origin) < 0 || i > 0 && l.Keys[i].Cmp(l.Keys[i-1]) <= 0 {
			return nil, &InvalidRangeError{fmt.Sprintf("key %d, %x, is out of order", i, l.Keys[i])}
		}
	}
	return m.match(ref)
}

type matcher struct {
	*Leaves
	blobs map[common.Hash][]byte
}

// covers says whether all leaves from first to last must be among the leaves.
func (m *matcher) covers(first, last common.Hash) bool {
	if m.Origin.Cmp(first) > 0 {
		return false
	}
	return m.Whole || len(m.Keys) > 0 && m.Keys[len(m.Keys)-1].Cmp(last) >= 0
}

func (m *matcher) match(ref NodeRef) (*Piece, error) {
	first, last := KeyRange(ref.Path)
	if m.covers(first, last) {
		return m.rebuild(ref, first, last)
	}
	blob, ok := m.blobs[ref.Hash]
	if !ok {
		return nil, nil
	}
	children, err := Children(blob)
	if err != nil {
		return nil, fmt.Errorf("node %x at path %x of owner %x: %w", ref.Hash, ref.Path, ref.Owner, err)
	}
	piece := &Piece{Path: ref.Path, Blob: blob}
	for _, c := range children {
		if c.Value != nil {
			continue
		}
		below, err := m.match(NodeRef{Owner: ref.Owner, Path: slices.Concat(ref.Path, c.Path), Hash: c.Hash})
		if err != nil {
			return nil, err
		}
		if below != nil {
			piece.Below = append(piece.Below, below)
		}
	}
	return piece, nil
}

func (m *matcher) rebuild(ref NodeRef, first, last common.Hash) (*Piece, error) {
	from, _ := slices.BinarySearchFunc(m.Keys, first, common.Hash.Cmp)
	to, found := slices.BinarySearchFunc(m.Keys, last, common.Hash.Cmp)
	if found {
		to++
	}
	keys, values := m.Keys[from:to], m.Values[from:to]
	nodes, err := Rebuild(ref.Owner, ref.Path, keys, values)
	if err != nil {
		return nil, &InvalidRangeError{err.Error()}
	}
	if len(nodes) == 0 || nodes[len(nodes)-1].Hash != ref.Hash || len(nodes[len(nodes)-1].Path) != len(ref.Path) {
		return nil, &InvalidRangeError{fmt.Sprintf("%d leaves do not make node %x at path %x of owner %x", len(keys), ref.Hash, ref.Path, ref.Owner)}
	}
	piece := &Piece{Path: ref.Path, Nodes: nodes, Keys: keys, Values: values}
	if ref.Owner != (common.Hash{}) {
		return piece, nil
	}
	for i, key := range keys {
		account, err := decodeAccount(key, values[i])
		if err != nil {
			return nil, err
		}
		if account.Storage != (common.Hash{}) || account.CodeHash != (common.Hash{}) {
			piece.Accounts = append(piece.Accounts, account)
		}
	}
	return piece, nil
}

// total estimates the number of leaves of the whole trie from the density of these; 0 if they are
// too few.
func (l *Leaves) total() float64 {
	if len(l.Keys) < 2 || l.Whole {
		return 0
	}
	return float64(len(l.Keys)) / (position(l.Keys[len(l.Keys)-1]) - position(l.Origin))
}

// position is where a key lies in the key space, from 0 to 1.
func position(key common.Hash) float64 {
	var x float64
	for i := 7; i >= 0; i-- {
		x = (x + float64(key[i])) / 256
	}
	return x
}
