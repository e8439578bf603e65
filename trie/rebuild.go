package trie

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// Rebuild makes the nodes of the subtree at path from its leaves: values by key, keys
// increasing and all of them beginning with path. The nodes come children first; the last
// one is the node at path. There is none at path, and the last one is something else or
// there are no nodes at all, if that node is so small that its parent embeds it.
//
// Go-ethereum's StackTrie builds whole tries. Over the given keys alone, the node at path
// would be a part of a longer extension or leaf above it. So the trie is given one leaf
// more, beside the subtree: then a branch ends right above path, as it does in the trie that
// the subtree was cut from, and what hangs below the branch is the node as its parent names it.
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
	if beside, after := besidePath(path); beside != nil && !after {
		if err := st.Update(beside[:], beside[:]); err != nil {
			return nil, err
		}
	}
	for i := range keys {
		if err := st.Update(keys[i][:], values[i]); err != nil {
			return nil, fmt.Errorf("leaf %d, %x: %w", i, keys[i], err)
		}
	}
	if beside, after := besidePath(path); beside != nil && after {
		if err := st.Update(beside[:], beside[:]); err != nil {
			return nil, err
		}
	}
	st.Hash()
	return nodes, nil
}

// besidePath is a key that leaves path at its last nibble, and whether it comes after the
// keys under path. At the root nothing is beside.
func besidePath(path []byte) (key *common.Hash, after bool) {
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
	lo, hi := Span(sibling)
	if after {
		return &hi, true
	}
	return &lo, false
}

// Span returns the first and the last key that begin with path.
func Span(path []byte) (first, last common.Hash) {
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

// Want names a node whose subtree is wanted.
type Want struct {
	Owner common.Hash
	Path  []byte
	Hash  common.Hash
}

// Leaves are the leaves of one trie in a part of the key space, as a peer sent them, with
// whatever trie nodes came along.
type Leaves struct {
	Origin common.Hash // the first key of the part
	Keys   []common.Hash
	Values [][]byte
	Proof  [][]byte
	Whole  bool // there is nothing behind the last key
}

// Lie is an error that shows that leaves are not those of the trie: wrong, missing, invented
// or out of order.
type Lie struct{ Detail string }

func (l *Lie) Error() string { return "leaves are not those of the trie: " + l.Detail }

// Piece is a part of a wanted subtree that is proved. Either all of it is known (Nodes,
// children first), or only its topmost node (Blob) and some of what is under it (Below, in
// key order).
type Piece struct {
	Path     []byte
	Nodes    []Node
	Accounts []Account // of the account trie: the leaves under Nodes that have storage or code
	Leaves   int       // under Nodes
	Blob     []byte
	Below    []*Piece
}

// Account is what a leaf of the account trie refers to.
type Account struct {
	Key      common.Hash
	Storage  common.Hash // root, zero if there is no storage
	CodeHash common.Hash // zero if there is no code
}

// Match proves what the leaves tell about a wanted subtree. A part that the leaves cover is
// rebuilt; it must have the hash that its parent names, and no other proof is needed. Where the
// leaves end within a subtree, its node is looked for in the proof, and its children are
// matched. nil means that nothing is proved. The error is a *[Lie], or wraps [ErrMalformed] when the
// trie's root is not that of a state.
func (l *Leaves) Match(want Want) (*Piece, error) {
	m := matcher{Leaves: l, blobs: make(map[common.Hash][]byte, len(l.Proof))}
	for _, blob := range l.Proof {
		m.blobs[hashOf(blob)] = blob
	}
	for i := range l.Keys {
		if l.Keys[i].Cmp(l.Origin) < 0 || i > 0 && l.Keys[i].Cmp(l.Keys[i-1]) <= 0 {
			return nil, &Lie{fmt.Sprintf("key %d, %x, is out of order", i, l.Keys[i])}
		}
	}
	return m.match(want)
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

func (m *matcher) match(want Want) (*Piece, error) {
	first, last := Span(want.Path)
	if m.covers(first, last) {
		return m.rebuild(want, first, last)
	}
	blob, ok := m.blobs[want.Hash]
	if !ok {
		return nil, nil
	}
	children, err := Children(blob)
	if err != nil {
		return nil, fmt.Errorf("node %x at path %x of owner %x: %w", want.Hash, want.Path, want.Owner, err)
	}
	piece := &Piece{Path: want.Path, Blob: blob}
	for _, c := range children {
		if c.Value != nil {
			continue
		}
		below, err := m.match(Want{Owner: want.Owner, Path: slices.Concat(want.Path, c.Path), Hash: c.Hash})
		if err != nil {
			return nil, err
		}
		if below != nil {
			piece.Below = append(piece.Below, below)
		}
	}
	return piece, nil
}

func (m *matcher) rebuild(want Want, first, last common.Hash) (*Piece, error) {
	from, _ := slices.BinarySearchFunc(m.Keys, first, common.Hash.Cmp)
	to, found := slices.BinarySearchFunc(m.Keys, last, common.Hash.Cmp)
	if found {
		to++
	}
	keys, values := m.Keys[from:to], m.Values[from:to]
	nodes, err := Rebuild(want.Owner, want.Path, keys, values)
	if err != nil {
		return nil, &Lie{err.Error()}
	}
	if len(nodes) == 0 || nodes[len(nodes)-1].Hash != want.Hash || len(nodes[len(nodes)-1].Path) != len(want.Path) {
		return nil, &Lie{fmt.Sprintf("%d leaves do not make node %x at path %x of owner %x", len(keys), want.Hash, want.Path, want.Owner)}
	}
	piece := &Piece{Path: want.Path, Nodes: nodes, Leaves: len(keys)}
	if want.Owner != (common.Hash{}) {
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

// total estimates the leaves of the whole trie from the density of these; 0 if they
// are too few to tell.
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
