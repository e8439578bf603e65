// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/ethdb"
)

// Writing through the log and the levels of an LSM tree costs several times the data, and the more the larger the state is. Most of
// what the backfill writes comes in runs of neighbouring keys where the database has nothing yet. A run can become a table file at
// once, which the engine takes over as it is, at its lowest level.

// tableStore is a database that takes over sorted tables.
type tableStore interface {
	// buildTables writes entries, in the order of their keys, to tables that are not part of the database yet: one for each run
	// of at least so many bytes, and some for the rest. No run goes on at a cut. It returns none if that is not worth it.
	buildTables(entries []entry, cuts [][]byte, shortest int) (tables []string, err error)
	// takeTables makes tables part of the database, all of them or none. They are durable then, and so is all that was
	// written before.
	takeTables(tables []string) error
}

// bulkSizes says what is written how, in bytes.
type bulkSizes struct {
	batch       int // of a batch
	least, most int // of changes that become tables; more are not kept in memory, and a kill may lose them
	run         int // of neighbours that become a table; shorter runs share one with what is next to them
}

// usualSizes: a batch is large enough that writing costs little per node, and small enough to fit into LevelDB's write buffer.
var usualSizes = bulkSizes{batch: completeBatch, least: 2 << 20, most: 32 << 20, run: 128 << 10}

const completeBatch = 1 << 20

// mostSeeks is how many runs are looked for.
const mostSeeks = 1024

// entry is a key with its value.
type entry struct{ key, value []byte }

func (e entry) size() int { return len(e.key) + len(e.value) }

func sizeOf(entries []entry) (n int) {
	for _, e := range entries {
		n += e.size()
	}
	return n
}

// change is a key with its new value, or one that is deleted.
type change struct {
	key, value []byte
	deleted    bool
}

// bulk is a list of changes. It can be written as tables if there are no deletions among them, and in batches always. In either
// case a crash leaves the result of the first changes, with tables that of none or all.
type bulk struct {
	disk    *disk
	tables  tableStore // nil: the database takes batches only
	sizes   *bulkSizes
	data    []byte // keys and values
	spans   []span
	deletes bool
	batch   ethdb.Batch // empty; nil: not made yet
}

// span is the place of a change in the data: of its key, its value, and the end.
type span struct {
	key, value, end int
	deleted         bool
}

func (b *bulk) at(s span) change {
	return change{b.data[s.key:s.value:s.value], b.data[s.value:s.end:s.end], s.deleted}
}

// add copies a change.
func (b *bulk) add(c change) {
	begin := len(b.data)
	b.data = append(append(b.data, c.key...), c.value...)
	b.spans = append(b.spans, span{begin, begin + len(c.key), len(b.data), c.deleted})
	b.deletes = b.deletes || c.deleted
}

func (b *bulk) empty() bool { return len(b.spans) == 0 }

func (b *bulk) reset() { b.data, b.spans, b.deletes = b.data[:0], b.spans[:0], false }

// full says whether it is time to write.
func (b *bulk) full() bool {
	return len(b.data) >= b.sizes.batch && (b.tables == nil || b.deletes || len(b.data) >= b.sizes.most)
}

// suitsTables says whether enough is there for tables, and nothing that they cannot have.
func (b *bulk) suitsTables() bool {
	return b.tables != nil && !b.deletes && len(b.data) >= b.sizes.least
}

// writeTables writes the changes as tables, if the engine finds that worth it. See buildTables for the cuts.
func (b *bulk) writeTables(cuts [][]byte) error {
	tables, err := b.tables.buildTables(b.sorted(), cuts, b.sizes.run)
	if err != nil {
		return b.disk.health.report(b.disk.path, err)
	}
	if len(tables) == 0 {
		return b.writeBatches()
	}
	return b.disk.write(func() error { return b.tables.takeTables(tables) })
}

// sorted returns the entries by key; of a key that was written twice, the last one.
func (b *bulk) sorted() []entry {
	entries := make([]entry, 0, len(b.spans))
	for _, s := range slices.Backward(b.spans) { // the last one is the first of its key
		c := b.at(s)
		entries = append(entries, entry{c.key, c.value})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	return slices.CompactFunc(entries, func(a, b entry) bool { return bytes.Equal(a.key, b.key) })
}

// writeBatches writes the changes in their order.
func (b *bulk) writeBatches() error {
	if b.batch == nil {
		b.batch = b.disk.NewBatchWithSize(b.sizes.batch + b.sizes.batch/8)
	}
	for i, s := range b.spans {
		c := b.at(s)
		var err error
		if c.deleted {
			err = b.batch.Delete(c.key)
		} else {
			err = b.batch.Put(c.key, c.value)
		}
		if err == nil && (b.batch.ValueSize() >= b.sizes.batch || i == len(b.spans)-1) {
			err = b.batch.Write()
			b.batch.Reset()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// divide makes tables of sorted entries, each in a range of keys of its own. Most are runs: the database has no key between two of a
// run, no cut is between them, and all of its keys begin with the same byte. next returns the first key of the database at or after a key, nil if
// there is none. What is in shorter runs is loose; neighbours of it share a table.
func divide(entries []entry, cuts [][]byte, shortest int, next func(key []byte) ([]byte, error)) (tables [][]entry, loose int, err error) {
	begin := 0 // of the loose entries before at
	add := func(at, end int) {
		if begin < at {
			tables = append(tables, entries[begin:at])
			loose += sizeOf(entries[begin:at])
		}
		if at < end {
			tables = append(tables, entries[at:end])
		}
		begin = end
	}
	for at, seeks := 0, 0; at < len(entries) && seeks < mostSeeks; seeks++ {
		first := entries[at].key
		follows, err := next(first)
		if err != nil {
			return nil, 0, err
		}
		end := at + 1 // the key itself may be there
		if !bytes.Equal(follows, first) {
			limit := nextCut(cuts, first)
			if follows != nil && (limit == nil || bytes.Compare(follows, limit) < 0) {
				limit = follows
			}
			for end < len(entries) && entries[end].key[0] == first[0] && (limit == nil || bytes.Compare(entries[end].key, limit) < 0) {
				end++
			}
		}
		if sizeOf(entries[at:end]) >= shortest {
			add(at, end)
		}
		at = end
	}
	add(len(entries), len(entries))
	return tables, loose, nil
}

// nextCut returns where a run that begins with a key has to end: before the next cut, and behind all keys that begin with the one before
// it, if the key is one of these. Nil: nowhere.
func nextCut(cuts [][]byte, key []byte) []byte {
	at, _ := slices.BinarySearchFunc(cuts, key, func(cut, key []byte) int {
		if bytes.HasPrefix(key, cut) {
			return -1
		}
		return bytes.Compare(cut, key)
	})
	if at > 0 && bytes.HasPrefix(key, cuts[at-1]) {
		return after(cuts[at-1])
	}
	if at < len(cuts) {
		return cuts[at]
	}
	return nil
}
