// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Flat state is what go-ethereum keeps beside the tries, and serves ranges from:
//
//	a<account hash>             -> the account in slim form: an empty storage root and code hash are left out
//	o<account hash><slot hash>  -> the slot's value, as in the trie
//
// While flatKey is in the database, Complete keeps it: exactly the leaves below the stored nodes are there (package trie has the
// rule). Then it is complete together with the state, and go-ethereum adopts it. A database of before that, or one that was
// damaged, has no such key. Its flat state means nothing, and go-ethereum derives it anew from the tries.

// statePrefixes are those of all keys of a state, but for codes.
var statePrefixes = [][]byte{rawdb.TrieNodeAccountPrefix, rawdb.TrieNodeStoragePrefix, rawdb.SnapshotAccountPrefix, rawdb.SnapshotStoragePrefix}

// loadFlat reads whether flat state is kept.
func (c *Chain) loadFlat() error {
	raw, err := c.disk.lookup([]byte(flatKey))
	c.flat.Store(raw != nil)
	return err
}

// beginFlat has flat state kept from now on if there is no state yet.
func (c *Chain) beginFlat() error {
	if c.flat.Load() {
		return nil
	}
	for _, prefix := range statePrefixes {
		it := c.disk.NewIterator(prefix, nil)
		found, err := it.Next(), it.Error()
		it.Release()
		if err != nil {
			return c.disk.health.report(c.disk.path, err)
		}
		if found {
			return nil
		}
	}
	b := c.disk.NewBatch()
	if err := b.Put([]byte(flatKey), []byte{1}); err != nil {
		return err
	}
	return c.writeFlat(b, true)
}

// dropFlat has flat state kept no more.
func (c *Chain) dropFlat() error {
	b := c.disk.NewBatch()
	if err := b.Delete([]byte(flatKey)); err != nil {
		return err
	}
	return c.writeFlat(b, false)
}

// writeFlat writes a batch that says whether flat state is kept. All later writes are after it on disk.
func (c *Chain) writeFlat(b ethdb.Batch, kept bool) error {
	if err := b.Write(); err != nil {
		return err
	}
	c.flat.Store(kept)
	return nil
}

// endGeneration writes a batch that also forgets what go-ethereum noted about flat state: the state on disk is to become another
// one. If its generator had derived all of the flat state of the state on disk, that is kept from now on.
func (d *DB) endGeneration(b ethdb.Batch) error {
	root, err := d.Complete().Root()
	if err != nil {
		return err
	}
	kept := d.chain.flat.Load()
	if noted, ok := d.chain.generation(); ok && noted.Done && rawdb.ReadSnapshotRoot(d.chain.disk) == root && !kept {
		kept = true
		if err := b.Put([]byte(flatKey), []byte{1}); err != nil {
			return err
		}
	}
	rawdb.DeleteSnapshotRoot(b)
	rawdb.DeleteSnapshotGenerator(b)
	return d.chain.writeFlat(b, kept)
}

// flatGeneration is what go-ethereum notes of its generator of flat state: pathdb's journalGenerator.
type flatGeneration struct {
	Wiping, Done             bool
	Marker                   []byte // the key up to which flat state is there
	Accounts, Slots, Storage uint64
}

func (c *Chain) generation() (g flatGeneration, ok bool) {
	return g, rlp.DecodeBytes(rawdb.ReadSnapshotGenerator(c.disk), &g) == nil
}

// leafPrefix returns the prefix of the keys of an owner's leaves.
func leafPrefix(owner common.Hash) []byte {
	if owner == (common.Hash{}) {
		return bytes.Clone(rawdb.SnapshotAccountPrefix)
	}
	return append(bytes.Clone(rawdb.SnapshotStoragePrefix), owner[:]...)
}

// NextLeaf implements trie.CompleteStore.
func (s *Complete) NextLeaf(owner, from common.Hash) (key common.Hash, ok bool, err error) {
	if !s.chain.flat.Load() {
		return common.Hash{}, false, nil
	}
	return s.nextHash(leafPrefix(owner), from, len(leafPrefix(owner))+common.HashLength)
}

// nextHash returns the hash after a prefix in the first key at or after from. Keys have at least so many bytes; shorter ones are
// not of this kind.
func (s *Complete) nextHash(prefix []byte, from common.Hash, least int) (hash common.Hash, ok bool, err error) {
	it := s.disk.NewIterator(prefix, from[:])
	defer it.Release()
	for it.Next() {
		if key := it.Key(); len(key) >= least {
			return common.Hash(key[len(prefix):][:common.HashLength]), true, nil
		}
	}
	return common.Hash{}, false, s.check(it)
}

// PutLeaf implements trie.CompleteWriter.
func (w *CompleteWriter) PutLeaf(owner, key common.Hash, value []byte) error {
	if !w.flat {
		return nil
	}
	if owner == (common.Hash{}) {
		var err error
		if w.slim, err = slimAccount(w.slim[:0], value); err != nil {
			return err
		}
		value = w.slim
	}
	w.key = leafKey(w.key[:0], owner, key)
	return w.change(change{key: w.key, value: value})
}

// DeleteLeaf implements trie.CompleteWriter.
func (w *CompleteWriter) DeleteLeaf(owner, key common.Hash) error {
	if !w.flat {
		return nil
	}
	w.key = leafKey(w.key[:0], owner, key)
	return w.change(change{key: w.key, deleted: true})
}

// DeleteLeaves implements trie.CompleteWriter, as DeleteNodes does.
func (w *CompleteWriter) DeleteLeaves(owner, first, last common.Hash) error {
	if !w.flat {
		return nil
	}
	return w.deleteRange(leafPrefix(owner), first[:], append(last[:], 0))
}

func leafKey(buf []byte, owner, key common.Hash) []byte {
	if owner == (common.Hash{}) {
		buf = append(buf, rawdb.SnapshotAccountPrefix...)
	} else {
		buf = append(append(buf, rawdb.SnapshotStoragePrefix...), owner[:]...)
	}
	return append(buf, key[:]...)
}

// slimAccount appends an account in go-ethereum's slim form (core/types, SlimAccount) to buf: four fields, of which the root of an
// empty storage trie and the hash of no code are empty. value is the account in the trie.
func slimAccount(buf, value []byte) ([]byte, error) {
	fields, _, err := rlp.SplitList(value)
	if err != nil {
		return nil, fmt.Errorf("account %x: %w", value, err)
	}
	rest := fields // behind nonce and balance
	for range 2 {
		if _, _, rest, err = rlp.Split(rest); err != nil {
			return nil, fmt.Errorf("account %x: %w", value, err)
		}
	}
	const hash = 1 + common.HashLength // encoded
	if len(rest) != 2*hash {
		return nil, fmt.Errorf("account %x: %w", value, trie.ErrMalformed)
	}
	head := fields[:len(fields)-len(rest)]
	root, code := rest[:hash], rest[hash:]
	if common.Hash(root[1:]) == types.EmptyRootHash {
		root = rlp.EmptyString
	}
	if common.Hash(code[1:]) == types.EmptyCodeHash {
		code = rlp.EmptyString
	}
	size := len(head) + len(root) + len(code)
	if size < 56 {
		buf = append(buf, 0xc0+byte(size))
	} else {
		buf = append(buf, 0xf8, byte(size)) // at most 9 + 33 + 2*33 bytes
	}
	return append(append(append(buf, head...), root...), code...), nil
}
