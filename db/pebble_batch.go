// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/ethdb"
)

// NewBatch implements ethdb.Batcher.
func (p *pebbleStore) NewBatch() ethdb.Batch { return p.NewBatchWithSize(0) }

// NewBatchWithSize implements ethdb.Batcher.
func (p *pebbleStore) NewBatchWithSize(size int) ethdb.Batch {
	return &pebbleBatch{Batch: p.db.NewBatchWithSize(size), store: p}
}

// pebbleBatch implements ethdb.Batch.
type pebbleBatch struct {
	*pebble.Batch
	store *pebbleStore
	size  int // of keys and values
}

// add counts what was added.
func (b *pebbleBatch) add(err error, parts ...[]byte) error {
	if err == nil {
		for _, part := range parts {
			b.size += len(part)
		}
	}
	return err
}

// Put implements ethdb.KeyValueWriter.
func (b *pebbleBatch) Put(key, value []byte) error { return b.add(b.Set(key, value, nil), key, value) }

// Delete implements ethdb.KeyValueWriter.
func (b *pebbleBatch) Delete(key []byte) error { return b.add(b.Batch.Delete(key, nil), key) }

// DeleteRange implements ethdb.KeyValueRangeDeleter.
func (b *pebbleBatch) DeleteRange(start, end []byte) error {
	return b.add(b.Batch.DeleteRange(start, endOf(end), nil), start, end)
}

// ValueSize implements ethdb.Batch.
func (b *pebbleBatch) ValueSize() int { return b.size }

// Write implements ethdb.Batch. After an error the batch may still be in use, and this one is an empty one.
func (b *pebbleBatch) Write() error {
	committed := b.Batch
	err := b.store.write(func() error { return committed.Commit(pebble.NoSync) })
	if err != nil {
		b.Batch, b.size = b.store.db.NewBatch(), 0
	}
	return err
}

// Reset implements ethdb.Batch.
func (b *pebbleBatch) Reset() {
	b.Batch.Reset()
	b.size = 0
}

// Close implements ethdb.Batch.
func (b *pebbleBatch) Close() { _ = b.Batch.Close() } // returns memory to a pool, which cannot fail

// Replay implements ethdb.Batch.
func (b *pebbleBatch) Replay(to ethdb.KeyValueWriter) error {
	for reader := b.Reader(); ; {
		kind, key, value, ok, err := reader.Next()
		if err != nil || !ok {
			return err
		}
		switch kind {
		case pebble.InternalKeyKindSet:
			err = to.Put(key, value)
		case pebble.InternalKeyKindDelete:
			err = to.Delete(key)
		case pebble.InternalKeyKindRangeDelete:
			deleter, can := to.(ethdb.KeyValueRangeDeleter)
			if !can {
				return errors.New("replay: ranges cannot be deleted there")
			}
			err = deleter.DeleteRange(key, value)
		default:
			return fmt.Errorf("replay: unexpected operation %v", kind)
		}
		if err != nil {
			return err
		}
	}
}

// NewIterator implements ethdb.Iteratee.
func (p *pebbleStore) NewIterator(prefix, start []byte) ethdb.Iterator {
	bounds := &pebble.IterOptions{LowerBound: slices.Concat(prefix, start), UpperBound: after(prefix)}
	it := &pebbleIterator{}
	it.err = p.use(func() (err error) {
		it.Iterator, err = p.db.NewIter(bounds)
		return err
	})
	return it
}

// after returns the first key that is greater than all keys with a prefix, nil if there is none.
func after(prefix []byte) []byte {
	short := bytes.TrimRight(prefix, "\xff")
	if len(short) == 0 {
		return nil
	}
	next := bytes.Clone(short)
	next[len(next)-1]++
	return next
}

// pebbleIterator implements ethdb.Iterator.
type pebbleIterator struct {
	*pebble.Iterator // nil after an error and after Release
	begun            bool
	err              error
}

// Next implements ethdb.Iterator.
func (i *pebbleIterator) Next() bool {
	switch {
	case i.Iterator == nil:
		return false
	case i.begun:
		return i.Iterator.Next()
	}
	i.begun = true
	return i.First()
}

// Error implements ethdb.Iterator.
func (i *pebbleIterator) Error() error {
	if i.Iterator == nil {
		return i.err
	}
	return i.Iterator.Error()
}

// Release implements ethdb.Iterator. It may be called twice.
func (i *pebbleIterator) Release() {
	if i.Iterator != nil {
		i.err = i.Iterator.Error()
		_ = i.Iterator.Close() // that error again
		i.Iterator = nil
	}
}
