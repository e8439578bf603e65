// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

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
	writer *CompleteWriter
	walker *trie.Walker
	out    []*trie.Need
}

func (w *stateWorld) begin(t *testing.T, v *version, disk ethdb.KeyValueStore, hot local, limit int) *run {
	var kept ethdb.KeyValueStore = keptOpen{disk}
	if tables, ok := disk.(*tabled); ok {
		kept = tables
	}
	complete := openOn(t, kept).Complete()
	writer := complete.Writer()
	writer.sizes = bulkSizes{batch: limit, least: limit / 2, most: 4 * limit, run: limit / 4}
	return &run{w: w, v: v, disk: disk, hot: hot, writer: writer, walker: trie.NewWalker(trie.WalkerConfig{
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
		if need := r.walker.Shared(parts, 1+rng.IntN(300)); need != nil {
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

// checkFlat checks that the flat state has exactly the leaves below the nodes that are there. What else it has is below no node.
func checkFlat(t *testing.T, disk ethdb.KeyValueStore) {
	t.Helper()
	nodes, leaves := make(map[string][]trie.Child), make(map[string][]byte)
	it := disk.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		switch it.Key()[0] {
		case 'A', 'O':
			children, err := trie.Children(bytes.Clone(it.Value()))
			if err != nil {
				t.Fatal(err)
			}
			nodes[string(it.Key())] = children
		case 'a', 'o':
			leaves[string(it.Key())] = bytes.Clone(it.Value())
		}
	}
	for key, children := range nodes {
		for _, c := range children {
			if c.Value == nil {
				continue
			}
			owner, path := common.Hash{}, []byte(key[1:])
			if key[0] == 'O' {
				owner, path = common.Hash(path[:32]), path[32:]
			}
			at, _ := trie.KeyRange(slices.Concat(path, c.Path))
			if got := leaves[flatEntry(owner, at)]; !bytes.Equal(got, flatValue(owner, c.Value)) {
				t.Fatalf("leaf %x of owner %x is %x in the flat state, %x in the trie", at, owner, got, c.Value)
			}
		}
	}
	for entry := range leaves {
		owner, prefix, key := common.Hash{}, "A", common.Hash([]byte(entry[len(entry)-32:]))
		if entry[0] == 'o' {
			owner = common.Hash([]byte(entry[1:33]))
			prefix = "O" + string(owner[:])
		}
		path, above, stored, below := trie.Nibbles(key), trie.Nibbles(owner), false, false
		for n := range len(path) + 1 {
			children, has := nodes[prefix+string(path[:n])]
			for _, c := range children {
				below = below || c.Value != nil && bytes.Equal(c.Path, path[n:])
			}
			if _, of := nodes["A"+string(above[:n])]; has || of && entry[0] == 'o' {
				stored = true
			}
		}
		if stored && !below {
			t.Fatalf("leaf %x of owner %x is in no node, but below one", key, owner)
		}
	}
}

// flat returns the flat state of a version.
func (v *version) flat() map[string][]byte {
	flat := make(map[string][]byte)
	for owner, list := range v.leaves {
		for _, l := range list {
			flat[flatEntry(owner, l.key)] = flatValue(owner, l.value)
		}
	}
	return flat
}

// flatEntry is the key of a leaf in go-ethereum's schema.
func flatEntry(owner, key common.Hash) string {
	if owner == (common.Hash{}) {
		return "a" + string(key[:])
	}
	return "o" + string(owner[:]) + string(key[:])
}

// flatValue is the value of a leaf there.
func flatValue(owner common.Hash, value []byte) []byte {
	if owner != (common.Hash{}) {
		return value
	}
	account := new(types.StateAccount)
	if err := rlp.DecodeBytes(value, account); err != nil {
		panic(err)
	}
	return types.SlimAccountRLP(*account)
}

// checkComplete checks that under every node there is everything, and nothing else.
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

// equals checks that there is one version in the path scheme, no other node, and exactly its flat state.
func equals(t *testing.T, disk ethdb.KeyValueStore, v *version) {
	t.Helper()
	leaves := make(map[string][]byte)
	got := make(map[string][]byte)
	it := disk.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		switch it.Key()[0] {
		case 'A', 'O':
			got[string(it.Key())] = bytes.Clone(it.Value())
		case 'a', 'o':
			leaves[string(it.Key())] = bytes.Clone(it.Value())
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
	if flat := v.flat(); !maps.EqualFunc(leaves, flat, bytes.Equal) {
		t.Fatalf("%d leaves in the flat state, want %d", len(leaves), len(flat))
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
	var completed, cuts int
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
		var store ethdb.KeyValueStore = kv
		if seed%2 == 1 {
			store = &tabled{flaky: kv}
		}
		r := w.begin(t, v, store, hot, 1+w.rng.IntN(1000))
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
			if err := r.writer.await(); err != nil && !errors.Is(err, errDisk) {
				t.Fatalf("life %d: %v", life, err)
			}
			if kv.writes > writes {
				writes = kv.writes
				checkComplete(t, disk)
				if writes%4 == 0 {
					checkFlat(t, disk)
				}
			}
			if p := r.walker.Progress(); p.Share < share || p.Share > 1 {
				t.Fatalf("share went from %g to %g", share, p.Share)
			} else {
				share = p.Share
			}
		}
		cuts += len(r.writer.cuts)
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
	if completed == 0 || cuts == 0 {
		t.Errorf("%d walks came to their end, %d cuts at large tries: this tests nothing", completed, cuts)
	}
	if root, err := openOn(t, keptOpen{disk}).Complete().Root(); err != nil || root != v.root {
		t.Errorf("root %x, %v", root, err)
	}
}
