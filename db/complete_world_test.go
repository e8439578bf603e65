// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// stateWorld is a small state that changes, with all its versions.
type stateWorld struct {
	rng      *rand.Rand
	pool     []common.Hash // keys, of accounts and of slots
	accounts map[common.Hash]*stateAccount
	codes    map[common.Hash][]byte
	blobs    map[common.Hash][]byte // nodes of all versions
	versions []*version
}

type stateAccount struct {
	balance uint64
	code    common.Hash
	slots   map[common.Hash][]byte
}

// version is one state: its leaves and all entries of a database with only this state.
type version struct {
	root    common.Hash
	leaves  map[common.Hash][]leaf // by owner, sorted
	roots   map[common.Hash]common.Hash
	entries map[string][]byte // path scheme
}

type leaf struct {
	key   common.Hash
	value []byte
}

func newStateWorld(seed uint64) *stateWorld {
	w := &stateWorld{
		rng:      rand.New(rand.NewPCG(seed, 1)),
		accounts: make(map[common.Hash]*stateAccount), codes: make(map[common.Hash][]byte), blobs: make(map[common.Hash][]byte),
	}
	// Few nibbles at the front, so that keys share them; some keys differ at the very end only,
	// so that short leaves are embedded.
	for range 48 {
		var key common.Hash
		for i := range 3 {
			key[i] = []byte{0x00, 0x0f, 0x10, 0x11, 0xf0, 0xff}[w.rng.IntN(6)]
		}
		if w.rng.IntN(3) == 0 {
			key[30], key[31] = byte(w.rng.IntN(2)), byte(w.rng.IntN(64))
		} else {
			key[3], key[9], key[31] = byte(w.rng.IntN(256)), byte(w.rng.IntN(256)), byte(w.rng.IntN(256))
		}
		w.pool = append(w.pool, key)
	}
	w.pool = append(w.pool, common.Hash{31: 1}, common.MaxHash) // not zero: that is no owner
	return w
}

func (w *stateWorld) key() common.Hash { return w.pool[w.rng.IntN(len(w.pool))] }

// change makes a new version out of some changes.
func (w *stateWorld) change(n int) *version {
	for range n {
		key := w.key()
		a := w.accounts[key]
		switch {
		case a == nil:
			a = &stateAccount{slots: make(map[common.Hash][]byte)}
			w.accounts[key] = a
		case w.rng.IntN(4) == 0 && len(w.accounts) > 1:
			delete(w.accounts, key)
			continue
		}
		a.balance = w.rng.Uint64N(3)
		switch w.rng.IntN(6) {
		case 0:
			code := []byte{0xc0, byte(w.rng.IntN(12))}
			a.code = crypto.Keccak256Hash(code)
			w.codes[a.code] = code
		case 1: // shares its storage root with others
			a.slots = map[common.Hash][]byte{w.pool[0]: {1}, w.pool[1]: {2}, w.pool[2]: {3}}
		case 2:
			clear(a.slots)
		}
		for range w.rng.IntN(30) {
			slot := w.key()
			if w.rng.IntN(3) == 0 {
				delete(a.slots, slot)
			} else if w.rng.IntN(2) == 0 {
				a.slots[slot] = []byte{byte(1 + w.rng.IntN(2))}
			} else {
				a.slots[slot] = bytes.Repeat([]byte{byte(1 + w.rng.IntN(2))}, 33)
			}
		}
	}
	v := &version{leaves: make(map[common.Hash][]leaf), roots: make(map[common.Hash]common.Hash), entries: make(map[string][]byte)}
	var list []leaf
	for key, a := range w.accounts {
		slots := make([]leaf, 0, len(a.slots))
		for slot, value := range a.slots {
			slots = append(slots, leaf{slot, value})
		}
		account := types.StateAccount{Balance: uint256.NewInt(a.balance), Root: w.build(v, key, slots), CodeHash: types.EmptyCodeHash[:]}
		if a.code != (common.Hash{}) {
			account.CodeHash = a.code[:]
		}
		value, err := rlp.EncodeToBytes(&account)
		if err != nil {
			panic(err)
		}
		list = append(list, leaf{key, value})
	}
	v.root = w.build(v, common.Hash{}, list)
	w.versions = append(w.versions, v)
	return v
}

func (w *stateWorld) build(v *version, owner common.Hash, list []leaf) common.Hash {
	slices.SortFunc(list, func(a, b leaf) int { return a.key.Cmp(b.key) })
	st := gethtrie.NewStackTrie(func(path []byte, hash common.Hash, blob []byte) {
		w.blobs[hash] = bytes.Clone(blob)
		v.entries[string(nodeKey(owner, path))] = bytes.Clone(blob)
	})
	for _, l := range list {
		if err := st.Update(l.key[:], l.value); err != nil {
			panic(err)
		}
	}
	v.leaves[owner], v.roots[owner] = list, st.Hash()
	return v.roots[owner]
}

// prove adds the nodes on the way to a key, as go-ethereum's servers do.
func (w *stateWorld) prove(root, key common.Hash, proof [][]byte) [][]byte {
	nibbles := trie.Nibbles(key)
	for {
		blob := w.blobs[root]
		proof = append(proof, blob)
		step, err := trie.Descend(blob, nibbles)
		if err != nil || step.Kind != trie.StepChild {
			return proof
		}
		root, nibbles = step.Hash, nibbles[step.Depth:]
	}
}

// serve answers a range as go-ethereum does: the last leaf is the first at or above the limit, or
// the one that crosses the size.
func (w *stateWorld) serve(v *version, owner, origin, limit common.Hash, size int) (keys []common.Hash, values [][]byte, cut bool) {
	for _, l := range v.leaves[owner] {
		if l.key.Cmp(origin) < 0 {
			continue
		}
		if owner != (common.Hash{}) && size <= 0 {
			return keys, values, true
		}
		keys, values = append(keys, l.key), append(values, l.value)
		size -= 32 + len(l.value)
		if l.key.Cmp(limit) >= 0 {
			return keys, values, true
		}
		if owner == (common.Hash{}) && size < 0 {
			return keys, values, true
		}
	}
	return keys, values, false
}

type answer struct {
	keys   [][]common.Hash
	values [][][]byte
	proof  [][]byte
}

func (w *stateWorld) answer(v *version, n *trie.Need, size int) (a answer) {
	if n.Kind == trie.NeedAccounts {
		keys, values, _ := w.serve(v, common.Hash{}, n.Origin, n.Limit, size)
		a.proof = w.prove(v.root, n.Origin, nil)
		if len(keys) > 0 {
			a.proof = w.prove(v.root, keys[len(keys)-1], a.proof)
		}
		a.keys, a.values = [][]common.Hash{keys}, [][][]byte{values}
		return a
	}
	for _, want := range n.Refs {
		limit := common.MaxHash
		if n.Kind == trie.NeedSlots {
			limit = n.Limit
		}
		keys, values, cut := w.serve(v, want.Owner, n.Origin, limit, size)
		if len(keys) > 0 {
			a.keys, a.values = append(a.keys, keys), append(a.values, values)
		}
		for _, value := range values {
			size -= 32 + len(value)
		}
		if n.Origin != (common.Hash{}) || cut && len(keys) > 0 {
			a.proof = w.prove(v.roots[want.Owner], n.Origin, nil)
			if len(keys) > 0 {
				a.proof = w.prove(v.roots[want.Owner], keys[len(keys)-1], a.proof)
			}
			return a
		}
		if size <= 0 || n.Kind == trie.NeedSlots {
			return a
		}
	}
	return a
}

// subtrees answers as a swarm peer does: some subtrees whole, some not at all, and the last one cut perhaps.
func (w *stateWorld) subtrees(v *version, n *trie.Need) (a answer) {
	for _, want := range n.Refs {
		var (
			keys   []common.Hash
			values [][]byte
		)
		first, last := trie.KeyRange(want.Path)
		for _, l := range v.leaves[want.Owner] {
			if l.key.Cmp(first) >= 0 && l.key.Cmp(last) <= 0 {
				keys, values = append(keys, l.key), append(values, l.value)
			}
		}
		switch w.rng.IntN(5) {
		case 0:
			keys, values = nil, nil
		case 1:
			n := 1 + w.rng.IntN(len(keys))
			a.keys, a.values = append(a.keys, keys[:n]), append(a.values, values[:n])
			if n < len(keys) {
				a.proof = w.prove(v.roots[want.Owner], keys[n-1], nil)
			}
			return a
		}
		a.keys, a.values = append(a.keys, keys), append(a.values, values)
	}
	return a
}
