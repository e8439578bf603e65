package db

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Solid keeps complete parts of one state in chaindata, in go-ethereum's path scheme:
//
//	A<path>         -> node of the account trie
//	O<owner><path>  -> node of a storage trie
//
// A node is there only if everything under it is: that is the promise of whoever writes, the
// trie.Walker. Solid implements trie.Solid.
type Solid struct{ disk *disk }

var (
	_ trie.Solid       = (*Solid)(nil)
	_ trie.SolidWriter = (*SolidWriter)(nil)
)

// Solid is the store of complete state.
func (d *DB) Solid() *Solid { return &Solid{disk: d.chain.disk} }

// solidPrefix is what the keys of an owner's nodes begin with.
func solidPrefix(owner common.Hash) []byte {
	if owner == (common.Hash{}) {
		return bytes.Clone(rawdb.TrieNodeAccountPrefix)
	}
	return append(bytes.Clone(rawdb.TrieNodeStoragePrefix), owner[:]...)
}

func solidKey(owner common.Hash, path []byte) []byte {
	return append(solidPrefix(owner), path...)
}

// Node implements trie.Solid.
func (s *Solid) Node(owner common.Hash, path []byte) ([]byte, error) {
	return s.disk.lookup(solidKey(owner, path))
}

// HasCode implements trie.Solid.
func (s *Solid) HasCode(hash common.Hash) (bool, error) {
	return s.disk.Has(append(bytes.Clone(rawdb.CodePrefix), hash[:]...))
}

// NextNode implements trie.Solid.
func (s *Solid) NextNode(owner common.Hash, from []byte) (path []byte, ok bool, err error) {
	prefix := solidPrefix(owner)
	it := s.disk.NewIterator(prefix, from)
	defer it.Release()
	if it.Next() {
		return bytes.Clone(it.Key()[len(prefix):]), true, nil
	}
	return nil, false, s.check(it)
}

// NextOwner implements trie.Solid.
func (s *Solid) NextOwner(from common.Hash) (owner common.Hash, ok bool, err error) {
	prefix := bytes.Clone(rawdb.TrieNodeStoragePrefix)
	it := s.disk.NewIterator(prefix, from[:])
	defer it.Release()
	for it.Next() {
		if key := it.Key()[len(prefix):]; len(key) >= common.HashLength {
			return common.Hash(key[:common.HashLength]), true, nil
		}
	}
	return common.Hash{}, false, s.check(it)
}

// Root is the hash of the root node, zero if there is none: the state that is complete.
func (s *Solid) Root() (common.Hash, error) {
	blob, err := s.Node(common.Hash{}, nil)
	if err != nil || blob == nil {
		return common.Hash{}, err
	}
	return crypto.Keccak256Hash(blob), nil
}

func (s *Solid) check(it ethdb.Iterator) error {
	if err := it.Error(); err != nil {
		return s.disk.health.report(s.disk.path, err)
	}
	return nil
}

// Writer returns a writer that holds nothing. There is one at a time.
func (s *Solid) Writer() *SolidWriter { return &SolidWriter{solid: s, limit: solidBatch} }

// solidBatch is the size at which a batch is written, in bytes: large enough that writing
// costs little per node, small enough to fit into LevelDB's write buffer.
const solidBatch = 1 << 20

// SolidWriter collects changes of Solid in batches, in order: a batch is written when it is
// large, and never one before another, so that a crash leaves the outcome of the first changes.
// Once a write has failed, nothing more is written. It implements trie.SolidWriter.
type SolidWriter struct {
	solid *Solid
	limit int // bytes
	batch ethdb.Batch
	err   error
}

// Put implements trie.SolidWriter.
func (w *SolidWriter) Put(owner common.Hash, path, blob []byte) error {
	return w.change(func(b ethdb.Batch) error { return b.Put(solidKey(owner, path), blob) })
}

// Delete implements trie.SolidWriter.
func (w *SolidWriter) Delete(owner common.Hash, path []byte) error {
	return w.change(func(b ethdb.Batch) error { return b.Delete(solidKey(owner, path)) })
}

// DeleteNodes implements trie.SolidWriter. It reads which keys there are: what waits in the
// batch to be written is not deleted.
func (w *SolidWriter) DeleteNodes(owner common.Hash, from, to []byte) error {
	return w.deleteRange(solidPrefix(owner), from, to)
}

// DeleteOwner implements trie.SolidWriter, as DeleteNodes does.
func (w *SolidWriter) DeleteOwner(owner common.Hash) error {
	return w.deleteRange(solidPrefix(owner), nil, nil)
}

// deleteRange deletes in the order of the keys, so parents first: the promise holds after
// each single deletion.
func (w *SolidWriter) deleteRange(prefix, from, to []byte) error {
	it := w.solid.disk.NewIterator(prefix, from)
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
	return w.solid.check(it)
}

func (w *SolidWriter) change(do func(ethdb.Batch) error) error {
	if w.err != nil {
		return w.err
	}
	if w.batch == nil {
		w.batch = w.solid.disk.NewBatchWithSize(w.limit + w.limit/8)
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

// Flush implements trie.SolidWriter.
func (w *SolidWriter) Flush() error {
	if w.err != nil || w.batch == nil || w.batch.ValueSize() == 0 {
		return w.err
	}
	if w.err = w.batch.Write(); w.err == nil {
		w.batch.Reset()
	}
	return w.err
}
