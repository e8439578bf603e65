// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"

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

// Writer returns a writer with an empty batch. There must be only one at a time. If nothing of a state is there yet, flat state is
// kept from now on.
func (s *Complete) Writer() *CompleteWriter {
	err := s.chain.beginFlat()
	return &CompleteWriter{store: s, limit: completeBatch, err: err, flat: s.chain.flat.Load()}
}

// completeBatch is the size at which a batch is written, in bytes: large enough that writing
// costs little per node, small enough to fit into LevelDB's write buffer.
const completeBatch = 1 << 20

// CompleteWriter collects changes of a [Complete] in batches. A batch is written when it is large, and batches
// are written in order, so that a crash leaves the result of the first changes. After a write has
// failed, nothing more is written. It implements trie.CompleteWriter.
type CompleteWriter struct {
	store *Complete
	limit int // bytes
	batch ethdb.Batch
	err   error

	flat      bool   // leaves are written
	key, slim []byte // for the next entry; a batch copies them
}

// Put implements trie.CompleteWriter.
func (w *CompleteWriter) Put(owner common.Hash, path, blob []byte) error {
	return w.change(func(b ethdb.Batch) error { return b.Put(nodeKey(owner, path), blob) })
}

// Delete implements trie.CompleteWriter.
func (w *CompleteWriter) Delete(owner common.Hash, path []byte) error {
	return w.change(func(b ethdb.Batch) error { return b.Delete(nodeKey(owner, path)) })
}

// DeleteNodes implements trie.CompleteWriter. It deletes the keys that are on disk, not those
// that are still in the batch.
func (w *CompleteWriter) DeleteNodes(owner common.Hash, from, to []byte) error {
	return w.deleteRange(nodePrefix(owner), from, to)
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
		key := bytes.Clone(it.Key())
		if err := w.change(func(b ethdb.Batch) error { return b.Delete(key) }); err != nil {
			return err
		}
	}
	return w.store.check(it)
}

func (w *CompleteWriter) change(do func(ethdb.Batch) error) error {
	if w.err != nil {
		return w.err
	}
	if w.batch == nil {
		w.batch = w.store.disk.NewBatchWithSize(w.limit + w.limit/8)
	}
	if err := do(w.batch); err != nil {
		w.err = err
		return err
	}
	if w.batch.ValueSize() < w.limit {
		return nil
	}
	return w.Flush()
}

// Flush implements trie.CompleteWriter.
func (w *CompleteWriter) Flush() error {
	if w.err != nil || w.batch == nil || w.batch.ValueSize() == 0 {
		return w.err
	}
	if w.err = w.batch.Write(); w.err == nil {
		w.batch.Reset()
	}
	return w.err
}
