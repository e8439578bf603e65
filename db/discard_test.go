// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// stateNodes returns all trie nodes on disk.
func stateNodes(d *DB) map[string][]byte {
	found := make(map[string][]byte)
	for _, prefix := range [][]byte{rawdb.TrieNodeAccountPrefix, rawdb.TrieNodeStoragePrefix} {
		it := d.chain.disk.NewIterator(prefix, nil)
		for it.Next() {
			found[string(it.Key())] = bytes.Clone(it.Value())
		}
		it.Release()
	}
	return found
}

// subtreeComplete says, node by node, whether everything below a node is on disk.
func subtreeComplete(t *testing.T, d *DB, owner common.Hash, path []byte, hash common.Hash) bool {
	t.Helper()
	blob, err := d.Complete().Node(owner, path)
	if err != nil {
		t.Fatal(err)
	}
	if blob == nil || crypto.Keccak256Hash(blob) != hash {
		return false
	}
	children, err := trie.Children(blob)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		at := slices.Concat(path, c.Path)
		if c.Value == nil {
			if !subtreeComplete(t, d, owner, at, c.Hash) {
				return false
			}
			continue
		}
		if owner != (common.Hash{}) {
			continue
		}
		account := accountOf(t, c.Value)
		key, _ := trie.KeyRange(at)
		if account.Root != types.EmptyRootHash && !subtreeComplete(t, d, key, nil, account.Root) {
			return false
		}
		if code, err := d.chain.Code(common.Hash(account.CodeHash)); err != nil || code == nil && common.Hash(account.CodeHash) != types.EmptyCodeHash {
			return false
		}
	}
	return true
}

// onlyComplete checks the rule of the store for all that is in it.
func onlyComplete(t *testing.T, d *DB) {
	t.Helper()
	for key, blob := range stateNodes(d) {
		owner, path, _ := nodeOf([]byte(key))
		if !subtreeComplete(t, d, owner, path, crypto.Keccak256Hash(blob)) {
			t.Fatalf("node at %x is kept, and something below it is missing", key)
		}
	}
}

// completeFrom walks to a version with all of its nodes at hand, and wants the store to have these and no others.
func completeFrom(t *testing.T, d *DB, w *stateWorld, v *version) {
	t.Helper()
	complete := d.Complete()
	walker := trie.NewWalker(trie.WalkerConfig{Root: v.root, Complete: complete, Writer: complete.Writer(), Local: local(w.blobs)})
	walker.ByNodes(true)
	for !walker.Done() {
		if need, more, err := walker.Next(false, false); err != nil || need != nil || !more && !walker.Done() {
			t.Fatalf("walk: need %+v, more %v, error %v", need, more, err)
		}
	}
	if report, err := d.VerifyState(t.Context(), nil); err != nil || !report.Complete() || report.Root != v.root {
		t.Fatalf("after the walk: %v, %v", report, err)
	}
}

func accountOf(t *testing.T, value []byte) (account types.StateAccount) {
	t.Helper()
	if err := rlp.DecodeBytes(value, &account); err != nil {
		t.Fatal(err)
	}
	return account
}

// TestDiscardIncomplete removes, changes and adds each node and code of a state in turn: what remains is complete, a walk
// over it brings the whole state back, and little was given up.
func TestDiscardIncomplete(t *testing.T) {
	w := newStateWorld(5)
	older, v := w.change(8), w.change(4)
	damaged := func(what, key string, mostLost int, change func(*DB) error) {
		t.Helper()
		d := completeWith(t, w, v.entries)
		if err := change(d); err != nil {
			t.Fatal(err)
		}
		if err := d.damage.record(&Damage{What: what}); err != nil {
			t.Fatal(err)
		}
		if err := d.MarkFull(); !errors.Is(err, trie.ErrDamaged) {
			t.Fatalf("%s %x: full although the damage is not repaired: %v", what, key, err)
		}
		found, err := d.DiscardIncomplete(t.Context())
		if err != nil {
			t.Fatalf("%s %x: %v", what, key, err)
		}
		onlyComplete(t, d)
		if damage, _ := d.Damage(); !damage.StateChecked {
			t.Errorf("%s %x: not recorded as checked", what, key)
		}
		if lost := len(v.entries) - len(stateNodes(d)); mostLost >= 0 && lost > mostLost || found.Incomplete+found.BadCodes == 0 && lost != 1 {
			t.Errorf("%s %x: %d of %d nodes are given up, want at most %d: %+v", what, key, lost, len(v.entries), mostLost, found)
		}
		for hash, code := range w.codes { // as a peer would deliver them
			rawdb.WriteCode(d.chain.disk, hash, code)
		}
		completeFrom(t, d, w, v)
		if err := d.MarkFull(); err != nil {
			t.Errorf("%s %x: not full after the repair: %v", what, key, err)
		}
		if _, known := d.Damage(); known {
			t.Errorf("%s %x: still damaged after the repair", what, key)
		}
	}
	for key, blob := range v.entries {
		deep := 2 * trie.KeyLen // a node and all nodes above it, those of the account's too
		damaged("missing", key, deep, func(d *DB) error { return d.chain.disk.Delete([]byte(key)) })
		wrong := bytes.Clone(blob)
		wrong[len(key)%len(wrong)] ^= 1
		damaged("changed", key, deep, func(d *DB) error { return d.chain.disk.Put([]byte(key), wrong) })
	}
	for key, blob := range older.entries { // an older value came back
		if !bytes.Equal(v.entries[key], blob) {
			damaged("older", key, -1, func(d *DB) error { return d.chain.disk.Put([]byte(key), blob) })
		}
	}
	needed := 0
	for hash := range w.codes {
		if slices.ContainsFunc(slices.Collect(maps.Values(v.entries)), func(blob []byte) bool { return bytes.Contains(blob, hash[:]) }) {
			needed++
			damaged("no code", string(hash[:]), -1, func(d *DB) error { rawdb.DeleteCode(d.chain.disk, hash); return nil })
			damaged("wrong code", string(hash[:]), -1, func(d *DB) error { rawdb.WriteCode(d.chain.disk, hash, []byte{1}); return nil })
		}
	}
	if needed == 0 {
		t.Error("no account has code")
	}
}

// TestDiscardIncompleteKeepsWhatIsWhole: nothing of a whole state, or of a part of one, is given up.
func TestDiscardIncompleteKeepsWhatIsWhole(t *testing.T) {
	w := newStateWorld(6)
	w.change(20)
	v := w.change(10)
	d := completeWith(t, w, v.entries)
	found, err := d.DiscardIncomplete(t.Context())
	if err != nil || found.Incomplete != 0 || found.BadCodes != 0 || found.Nodes != len(v.entries) || len(stateNodes(d)) != len(v.entries) {
		t.Errorf("a whole state of %d nodes: %+v, %v", len(v.entries), found, err)
	}
	if err := d.chain.disk.Delete(rawdb.TrieNodeAccountPrefix); err != nil { // an unfinished walk: no root yet
		t.Fatal(err)
	}
	if found, err = d.DiscardIncomplete(t.Context()); err != nil || found.Incomplete != 0 {
		t.Errorf("a state without its root: %+v, %v", found, err)
	}
}
