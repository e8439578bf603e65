// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// world is a small state that changes, with all its versions.
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

// local is what Hot is: some nodes by hash.
type local map[common.Hash][]byte

func (l local) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) { return l[hash], nil }

func (l local) Code(common.Hash) ([]byte, error) { return nil, errors.New("not asked for") }

// run is one life of a node: one walker until it is done, killed or its disk fails.
type run struct {
	w      *stateWorld
	v      *version
	disk   ethdb.KeyValueStore
	hot    local
	walker *trie.Walker
	out    []*trie.Need
}

func (w *stateWorld) begin(t *testing.T, v *version, disk ethdb.KeyValueStore, hot local, limit int) *run {
	complete := openOn(t, keptOpen{disk}).Complete()
	writer := complete.Writer()
	writer.limit = limit
	return &run{w: w, v: v, disk: disk, hot: hot, walker: trie.NewWalker(trie.WalkerConfig{
		Root: v.root, Seed: w.key(), Complete: complete, Writer: writer, Local: hot, RangeLeaves: 1 + w.rng.IntN(20),
	})}
}

// step asks or delivers.
func (r *run) step() error {
	rng := r.w.rng
	switch rng.IntN(24) {
	case 0:
		r.divide()
	case 1:
		r.walker.HintLargeTrie(r.w.key())
	case 2:
		r.walker.ByNodes(rng.IntN(2) == 0)
	case 3, 4:
		parts := slices.DeleteFunc(r.walker.Delegated(), func(trie.Part) bool { return rng.IntN(4) == 0 })
		if need := r.walker.Shared(parts); need != nil {
			r.out = append(r.out, need)
		}
	}
	if len(r.out) < 4 && rng.IntN(2) == 0 || len(r.out) == 0 {
		need, _, err := r.walker.Next(rng.IntN(4) > 0, rng.IntN(4) > 0)
		if err == nil && need != nil {
			r.out = append(r.out, need)
		}
		return err
	}
	i := rng.IntN(len(r.out))
	need := r.out[i]
	r.out = slices.Delete(r.out, i, i+1)
	switch {
	case rng.IntN(8) == 0:
		r.walker.Return(need)
		return nil
	case need.Kind == trie.NeedNodes && rng.IntN(2) == 0:
		nodes := make(map[common.Hash][]byte)
		for _, want := range need.Refs {
			if rng.IntN(8) > 0 {
				nodes[want.Hash] = r.w.blobs[want.Hash]
			}
		}
		return r.walker.Give(need, nodes)
	case need.Kind == trie.NeedNodes:
		for _, want := range need.Refs {
			if rng.IntN(8) > 0 {
				if crypto.Keccak256Hash(r.w.blobs[want.Hash]) != want.Hash {
					return fmt.Errorf("wants node %x of no version", want.Hash)
				}
				r.hot[want.Hash] = r.w.blobs[want.Hash]
			}
		}
		return r.walker.Found(need)
	case need.Kind == trie.NeedCodes:
		for _, hash := range need.Codes {
			if rng.IntN(4) > 0 {
				rawdb.WriteCode(r.disk, hash, r.w.codes[hash])
			}
		}
		return r.walker.Found(need)
	}
	a := r.w.answer(r.v, need, rng.IntN(1500))
	if need.Kind == trie.NeedSubtrees {
		a = r.w.subtrees(r.v, need)
	}
	d, err := need.Match(a.keys, a.values, a.proof)
	if err != nil {
		return fmt.Errorf("true leaves of %s refused: %w", need.Kind, err)
	}
	return r.walker.Deliver(need, d)
}

// divide lets others bring some parts, or none.
func (r *run) divide() {
	if salt := byte(r.w.rng.IntN(256)); salt < 64 {
		r.walker.Divide(nil)
	} else {
		r.walker.Divide(func(p trie.Part) bool { return (p.Slice^p.Owner[0]^p.Owner[31]^salt)%3 > 0 })
	}
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

// promised checks that under every node there is everything, and nothing else.
func checkComplete(t *testing.T, disk ethdb.KeyValueStore) {
	t.Helper()
	wanted := make(map[string]bool) // keys that some node refers to
	has := func(owner common.Hash, path []byte, hash common.Hash, of []byte) {
		key := nodeKey(owner, path)
		wanted[string(key)] = true
		blob, _ := disk.Get(key)
		if blob == nil || crypto.Keccak256Hash(blob) != hash {
			t.Fatalf("entry %x: node %x at path %x of owner %x is not there", of, hash, path, owner)
		}
	}
	present := make(map[string]bool)
	it := disk.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		var owner common.Hash
		path := it.Key()[1:]
		switch it.Key()[0] {
		case 'A':
		case 'O':
			owner, path = common.Hash(path[:32]), path[32:]
		default:
			continue
		}
		present[string(it.Key())] = true
		children, err := trie.Children(it.Value())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range children {
			at := slices.Concat(path, c.Path)
			if c.Value == nil {
				has(owner, at, c.Hash, it.Key())
				continue
			}
			if owner != (common.Hash{}) {
				continue
			}
			var account types.StateAccount
			if err := rlp.DecodeBytes(c.Value, &account); err != nil {
				t.Fatal(err)
			}
			key, _ := trie.KeyRange(at)
			if account.Root != types.EmptyRootHash {
				has(key, nil, account.Root, it.Key())
			}
			if code := common.Hash(account.CodeHash); code != types.EmptyCodeHash && !rawdb.HasCode(disk, code) {
				t.Fatalf("entry %x: code %x of account %x is not there", it.Key(), code, key)
			}
		}
	}
	for key := range present {
		if wanted[key] {
			continue
		}
		// Unreferenced: then no node above it may be stored.
		var above []string
		if key[0] == 'O' {
			nibbles := trie.Nibbles(common.Hash([]byte(key[1:33])))
			for n := range len(nibbles) + 1 {
				above = append(above, "A"+string(nibbles[:n]))
			}
		}
		for n := map[byte]int{'A': 1, 'O': 33}[key[0]]; n < len(key); n++ {
			above = append(above, key[:n])
		}
		for _, other := range above {
			if present[other] {
				t.Fatalf("entry %x does not refer to %x under it", other, key)
			}
		}
	}
}

// equals checks that there is one version in the path scheme and no other node.
func equals(t *testing.T, disk ethdb.KeyValueStore, v *version) {
	t.Helper()
	got := make(map[string][]byte)
	it := disk.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		if c := it.Key()[0]; c == 'A' || c == 'O' {
			got[string(it.Key())] = bytes.Clone(it.Value())
		}
	}
	for key := range got {
		if _, ok := v.entries[key]; !ok {
			t.Errorf("dangling: %x", key)
		}
	}
	if !maps.EqualFunc(got, v.entries, bytes.Equal) {
		t.Fatalf("%d nodes, want %d", len(got), len(v.entries))
	}
}

// TestWalkProperties drives random states through changes, walks, crashes, disks that fail and
// reorgs, and checks Complete's promise after each step.
func TestWalkProperties(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { walkProperties(t, seed) })
	}
}

func walkProperties(t *testing.T, seed uint64) {
	w := newStateWorld(seed)
	w.change(40)
	disk, hot := memorydb.New(), local{}
	var completed int
	for life := range 40 {
		v := w.versions[len(w.versions)-1]
		switch w.rng.IntN(6) {
		case 0, 1:
			v = w.change(1 + w.rng.IntN(10))
			for _, hash := range slices.SortedFunc(maps.Keys(w.blobs), common.Hash.Cmp) {
				if w.rng.IntN(3) == 0 {
					hot[hash] = w.blobs[hash]
				}
			}
		case 2:
			v = w.versions[w.rng.IntN(len(w.versions))] // a reorg back
		case 3:
			clear(hot)
		}
		kv, writes := &flaky{Database: disk}, 0
		if life%3 == 1 {
			kv.failAt = 1 + w.rng.IntN(40)
		}
		r := w.begin(t, v, kv, hot, 1+w.rng.IntN(1000))
		share := 0.0
		for range w.rng.IntN(400) {
			if r.walker.Done() {
				break
			}
			if err := r.step(); err != nil {
				if !errors.Is(err, errDisk) {
					t.Fatalf("life %d: %v", life, err)
				}
				break
			}
			if kv.writes > writes {
				writes = kv.writes
				checkComplete(t, disk)
			}
			if p := r.walker.Progress(); p.Share < share || p.Share > 1 {
				t.Fatalf("share went from %g to %g", share, p.Share)
			} else {
				share = p.Share
			}
		}
		if r.walker.Done() {
			completed++
			equals(t, disk, v)
			if p := r.walker.Progress(); p.Share < 0.999999 || p.Buffered != 0 || p.Queued != 0 {
				t.Fatalf("done at %+v", p)
			}
		}
	}
	v := w.versions[w.rng.IntN(len(w.versions))]
	r := w.begin(t, v, disk, hot, 500)
	for steps := 0; !r.walker.Done(); steps++ {
		if err := r.step(); err != nil || steps > 100_000 {
			t.Fatalf("after %d steps: %v", steps, err)
		}
	}
	equals(t, disk, v)
	if completed == 0 {
		t.Error("no walk came to its end: this tests nothing")
	}
	if root, err := openOn(t, keptOpen{disk}).Complete().Root(); err != nil || root != v.root {
		t.Errorf("root %x, %v", root, err)
	}
}
