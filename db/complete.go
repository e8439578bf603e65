// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Complete is the complete-subtree store: parts of one state in chaindata, in go-ethereum's path scheme:
//
//	A<path>         -> node of the account trie
//	O<owner><path>  -> node of a storage trie
//
// A node is there only if its whole subtree is: package trie has the rules, and trie.Walker, the only
// writer, keeps them. Complete implements trie.CompleteStore, with flat state if the database keeps it (flat.go).
type Complete struct {
	disk  *disk
	chain *Chain // knows whether flat state is kept
}

var (
	_ trie.CompleteStore  = (*Complete)(nil)
	_ trie.CompleteWriter = (*CompleteWriter)(nil)
)

// Complete returns the complete-subtree store.
func (d *DB) Complete() *Complete { return &Complete{disk: d.chain.disk, chain: d.chain} }

// nodePrefix returns the prefix of the keys of an owner's nodes.
func nodePrefix(owner common.Hash) []byte {
	if owner == (common.Hash{}) {
		return bytes.Clone(rawdb.TrieNodeAccountPrefix)
	}
	return append(bytes.Clone(rawdb.TrieNodeStoragePrefix), owner[:]...)
}

func nodeKey(owner common.Hash, path []byte) []byte {
	return append(nodePrefix(owner), path...)
}

// Node implements trie.Complete.
func (s *Complete) Node(owner common.Hash, path []byte) ([]byte, error) {
	return s.disk.lookup(nodeKey(owner, path))
}

// HasCode implements trie.Complete.
func (s *Complete) HasCode(hash common.Hash) (bool, error) {
	return s.disk.Has(append(bytes.Clone(rawdb.CodePrefix), hash[:]...))
}

// NextNode implements trie.Complete.
func (s *Complete) NextNode(owner common.Hash, from []byte) (path []byte, ok bool, err error) {
	prefix := nodePrefix(owner)
	it := s.disk.NewIterator(prefix, from)
	defer it.Release()
	if it.Next() {
		return bytes.Clone(it.Key()[len(prefix):]), true, nil
	}
	return nil, false, s.check(it)
}

// NextOwner implements trie.Complete.
func (s *Complete) NextOwner(from common.Hash) (owner common.Hash, ok bool, err error) {
	owner, ok, err = s.nextHash(rawdb.TrieNodeStoragePrefix, from, 1+common.HashLength)
	if err != nil || !s.chain.flat.Load() {
		return owner, ok, err
	}
	flat, found, err := s.nextHash(rawdb.SnapshotStoragePrefix, from, 1+2*common.HashLength)
	if found && (!ok || flat.Cmp(owner) < 0) {
		return flat, true, err
	}
	return owner, ok, err
}

// Root returns the root of the state that is complete: that of the empty state if there is no other.
func (s *Complete) Root() (common.Hash, error) {
	blob, err := s.Node(common.Hash{}, nil)
	if err != nil {
		return common.Hash{}, err
	}
	if blob == nil {
		return types.EmptyRootHash, nil
	}
	return crypto.Keccak256Hash(blob), nil
}

func (s *Complete) check(it ethdb.Iterator) error {
	if err := it.Error(); err != nil {
		return s.disk.health.report(s.disk.path, err)
	}
	return nil
}

// Writer returns a writer of no changes. There must be only one at a time. If nothing of a state is there yet, flat state is
// kept from now on.
func (s *Complete) Writer() *CompleteWriter {
	err := s.chain.beginFlat()
	tables, _ := s.disk.KeyValueStore.(tableStore)
	w := &CompleteWriter{store: s, sizes: usualSizes, err: err, flat: s.chain.flat.Load()}
	w.pending = &bulk{disk: s.disk, tables: tables, sizes: &w.sizes}
	w.spare = &bulk{disk: s.disk, tables: tables, sizes: &w.sizes}
	return w
}

// CompleteWriter collects changes of a [Complete], and writes them when they are many, in their order, so that a crash leaves the
// result of the first changes. After a write has failed, nothing more is written. It implements trie.CompleteWriter.
type CompleteWriter struct {
	store   *Complete
	sizes   bulkSizes
	cuts    [][]byte // sorted keys at which no table may go on
	pending *bulk
	spare   *bulk
	writing chan error // has the result of the write of spare, which goes on; nil: none does
	err     error

	flat      bool   // leaves are written
	key, slim []byte // for the next change, which copies them
}

// Put implements trie.CompleteWriter.
func (w *CompleteWriter) Put(owner common.Hash, path, blob []byte) error {
	return w.change(change{key: nodeKey(owner, path), value: blob})
}

// Delete implements trie.CompleteWriter.
func (w *CompleteWriter) Delete(owner common.Hash, path []byte) error {
	return w.change(change{key: nodeKey(owner, path), deleted: true})
}

// DeleteNodes implements trie.CompleteWriter. It deletes the keys that are on disk, not those
// that were not written yet.
func (w *CompleteWriter) DeleteNodes(owner common.Hash, from, to []byte) error {
	return w.deleteRange(nodePrefix(owner), from, to)
}

// Large implements trie.CompleteWriter: no table has keys on both sides of that storage.
func (w *CompleteWriter) Large(owner common.Hash) {
	for _, key := range [][]byte{nodePrefix(owner), leafPrefix(owner)} {
		if at, known := slices.BinarySearchFunc(w.cuts, key, bytes.Compare); !known {
			w.cuts = slices.Insert(w.cuts, at, key)
		}
	}
}

// DeleteOwner implements trie.CompleteWriter, as DeleteNodes does.
func (w *CompleteWriter) DeleteOwner(owner common.Hash) error {
	err := w.deleteRange(nodePrefix(owner), nil, nil)
	if err != nil || !w.flat {
		return err
	}
	return w.deleteRange(leafPrefix(owner), nil, nil)
}

// deleteRange deletes in the order of the keys, which is parents first: after each deletion the store
// still has only complete subtrees.
func (w *CompleteWriter) deleteRange(prefix, from, to []byte) error {
	it := w.store.disk.NewIterator(prefix, from)
	defer it.Release()
	for it.Next() {
		if to != nil && bytes.Compare(it.Key()[len(prefix):], to) >= 0 {
			return nil
		}
		if err := w.change(change{key: it.Key(), deleted: true}); err != nil {
			return err
		}
	}
	return w.store.check(it)
}

func (w *CompleteWriter) change(c change) error {
	if w.err != nil {
		return w.err
	}
	w.pending.add(c)
	if !w.pending.full() {
		return nil
	}
	return w.write()
}

// write begins to write what is pending. Only tables are written concurrently: that takes a while.
func (w *CompleteWriter) write() error {
	if err := w.await(); err != nil {
		return err
	}
	w.pending, w.spare = w.spare, w.pending
	w.pending.reset()
	if !w.spare.suitsTables() {
		w.err = w.spare.writeBatches()
		return w.err
	}
	written, cuts, writing := w.spare, slices.Clone(w.cuts), make(chan error, 1)
	go func() { writing <- written.writeTables(cuts) }()
	w.writing = writing
	return nil
}

// await ends when nothing is being written.
func (w *CompleteWriter) await() error {
	if w.writing != nil {
		w.err, w.writing = <-w.writing, nil
	}
	return w.err
}

// Flush implements trie.CompleteWriter.
func (w *CompleteWriter) Flush() error {
	if w.err != nil {
		return w.err
	}
	if !w.pending.empty() {
		if err := w.write(); err != nil {
			return err
		}
	}
	return w.await()
}
