// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// counted counts what is looked up in Complete, and the ranges that are deleted.
type counted struct {
	trie.CompleteStore
	trie.CompleteWriter
	lookups atomic.Int64 // side by side
	deletes int
}

func (c *counted) Node(owner common.Hash, path []byte) ([]byte, error) {
	c.lookups.Add(1)
	return c.CompleteStore.Node(owner, path)
}

func (c *counted) NextNode(owner common.Hash, from []byte) ([]byte, bool, error) {
	c.lookups.Add(1)
	return c.CompleteStore.NextNode(owner, from)
}

func (c *counted) NextOwner(from common.Hash) (common.Hash, bool, error) {
	c.lookups.Add(1)
	return c.CompleteStore.NextOwner(from)
}

func (c *counted) NextLeaf(owner, from common.Hash) (common.Hash, bool, error) {
	c.lookups.Add(1)
	return c.CompleteStore.NextLeaf(owner, from)
}

func (c *counted) HasCode(hash common.Hash) (bool, error) {
	c.lookups.Add(1)
	return c.CompleteStore.HasCode(hash)
}

func (c *counted) DeleteNodes(owner common.Hash, from, to []byte) error {
	c.deletes++
	return c.CompleteWriter.DeleteNodes(owner, from, to)
}

func (c *counted) DeleteLeaves(owner, first, last common.Hash) error {
	c.deletes++
	return c.CompleteWriter.DeleteLeaves(owner, first, last)
}

func (c *counted) DeleteOwner(owner common.Hash) error {
	c.deletes++
	return c.CompleteWriter.DeleteOwner(owner)
}

// TestRewalk: a complete state that blocks have changed becomes the new one without a look at what
// did not change.
func TestRewalk(t *testing.T) {
	w := newStateWorld(11)
	for range 1000 {
		w.pool = append(w.pool, common.Hash(slices.Concat(w.key().Bytes()[:1], randomBytes(w, 31))))
	}
	first := w.change(1500)
	disk, err := leveldb.New(t.TempDir(), 16, 16, "", false) // a memory database sorts all its keys for each iterator
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	hot := local(maps.Clone(w.blobs))
	for hash, code := range w.codes {
		rawdb.WriteCode(disk, hash, code)
	}
	walk := func(v *version) *counted {
		complete := openOn(t, keptOpen{disk}).Complete()
		c := &counted{CompleteStore: complete, CompleteWriter: complete.Writer()}
		walker := trie.NewWalker(trie.WalkerConfig{Root: v.root, Seed: w.key(), Complete: c, Writer: c, Local: hot})
		walker.ByNodes(true)
		for !walker.Done() {
			need, more, err := walker.Next(true, true)
			if err != nil {
				t.Fatal(err)
			}
			if need != nil || !more && !walker.Done() {
				t.Fatal(errors.New("a need although all nodes are local"))
			}
		}
		equals(t, disk, v)
		return c
	}
	walk(first)
	for range 3 {
		v := w.change(60)
		maps.Copy(hot, w.blobs)
		for hash, code := range w.codes {
			rawdb.WriteCode(disk, hash, code)
		}
		old := w.versions[len(w.versions)-2]
		changed := 0
		for key, blob := range v.entries {
			if string(old.entries[key]) != string(blob) {
				changed++
			}
		}
		c := walk(v)
		lookups := int(c.lookups.Load())
		t.Logf("%d of %d nodes changed: %d lookups, %d ranges deleted", changed, len(v.entries), lookups, c.deletes)
		if lookups > 3*changed/2 || c.deletes > changed/4 {
			t.Errorf("%d lookups and %d deleted ranges for %d changed nodes", lookups, c.deletes, changed)
		}
	}
}

func randomBytes(w *stateWorld, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.IntN(256))
	}
	return b
}

// slow is a store on a disk that takes its time.
type slow struct {
	*counted
}

const readTime = 4 * time.Millisecond

func (s slow) Node(owner common.Hash, path []byte) ([]byte, error) {
	time.Sleep(readTime)
	return s.counted.Node(owner, path)
}

func (s slow) NextNode(owner common.Hash, from []byte) ([]byte, bool, error) {
	time.Sleep(readTime)
	return s.counted.NextNode(owner, from)
}

func (s slow) NextOwner(from common.Hash) (common.Hash, bool, error) {
	time.Sleep(readTime)
	return s.counted.NextOwner(from)
}

func (s slow) NextLeaf(owner, from common.Hash) (common.Hash, bool, error) {
	time.Sleep(readTime)
	return s.counted.NextLeaf(owner, from)
}

// TestRewalkOnSlowDisk: a walk over changed nodes waits for many reads of the disk at the same time, unless it is to be gentle.
func TestRewalkOnSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := func(parallel int) (time.Duration, int64) {
			w := newStateWorld(12)
			for range 1000 {
				w.pool = append(w.pool, common.Hash(randomBytes(w, 32)))
			}
			d := openOn(t, memorydb.New())
			w.complete(t, d, w.change(600))
			v := w.change(80)
			for hash, code := range w.codes {
				rawdb.WriteCode(d.chain.disk, hash, code)
			}
			store := slow{counted: &counted{CompleteStore: d.Complete(), CompleteWriter: d.Complete().Writer()}}
			walker := trie.NewWalker(trie.WalkerConfig{Root: v.root, Seed: w.key(), Complete: store, Writer: store, Local: local(w.blobs)})
			walker.ByNodes(true)
			walker.Parallel(parallel)
			began := time.Now()
			for !walker.Done() {
				if need, more, err := walker.Next(true, true); err != nil || need != nil || !more && !walker.Done() {
					t.Fatalf("walk: %v, needs %v", err, need)
				}
			}
			equals(t, d.chain.disk.KeyValueStore, v)
			return time.Since(began), store.lookups.Load()
		}
		serial, lookups := took(1)
		together, same := took(0)
		t.Logf("%d lookups of %v: %v one by one, %v together", lookups, readTime, serial, together)
		if lookups != same || together > serial/8 {
			t.Errorf("%d lookups one by one took %v, %d together %v", lookups, serial, same, together)
		}
	})
}
