// SPDX-License-Identifier: LGPL-3.0-or-later

package powercut

import (
	"bytes"
	"errors"

	"github.com/ethereum/go-ethereum/ethdb"
)

var errAbsent = errors.New("not found")

// change is a value to set, a key to delete, or a range to delete.
type change struct {
	key, value, end []byte
	kind            kind
}

type kind int

const (
	put kind = iota
	remove
	removeRange
)

// store is LevelDB as an ethdb.KeyValueStore.
type store struct{ levelEngine }

func (s store) Has(key []byte) (bool, error) {
	_, err := s.get(key)
	if errors.Is(err, errAbsent) {
		return false, nil
	}
	return err == nil, err
}

func (s store) Get(key []byte) ([]byte, error) { return s.get(key) }

func (s store) Put(key, value []byte) error {
	return s.apply([]change{{key: key, value: value, kind: put}})
}

func (s store) Delete(key []byte) error { return s.apply([]change{{key: key, kind: remove}}) }

func (s store) DeleteRange(start, end []byte) error {
	return s.apply([]change{{key: start, end: end, kind: removeRange}})
}

func (s store) NewBatch() ethdb.Batch            { return &batch{store: s} }
func (s store) NewBatchWithSize(int) ethdb.Batch { return &batch{store: s} }
func (s store) Stat() (string, error)            { return "", nil }
func (s store) Compact([]byte, []byte) error     { return nil }
func (s store) SyncKeyValue() error              { return s.sync() }

func (s store) NewIterator(prefix, start []byte) ethdb.Iterator {
	lower := append(bytes.Clone(prefix), start...)
	upper := bytes.Clone(prefix)
	for len(upper) > 0 {
		if upper[len(upper)-1]++; upper[len(upper)-1] > 0 {
			break
		}
		upper = upper[:len(upper)-1] // the byte was 0xff
	}
	if len(upper) == 0 {
		upper = nil
	}
	return s.iterate(lower, upper)
}

// batch implements ethdb.Batch.
type batch struct {
	store   store
	changes []change
	size    int
}

func (b *batch) add(c change) error {
	b.changes = append(b.changes, c)
	b.size += len(c.key) + len(c.value) + len(c.end)
	return nil
}

func (b *batch) Put(key, value []byte) error {
	return b.add(change{key: bytes.Clone(key), value: bytes.Clone(value), kind: put})
}

func (b *batch) Delete(key []byte) error { return b.add(change{key: bytes.Clone(key), kind: remove}) }

func (b *batch) DeleteRange(start, end []byte) error {
	return b.add(change{key: bytes.Clone(start), end: bytes.Clone(end), kind: removeRange})
}

func (b *batch) ValueSize() int { return b.size }
func (b *batch) Write() error   { return b.store.apply(b.changes) }
func (b *batch) Reset()         { b.changes, b.size = nil, 0 }
func (b *batch) Close()         {}

func (b *batch) Replay(w ethdb.KeyValueWriter) error {
	for _, c := range b.changes {
		var err error
		switch c.kind {
		case put:
			err = w.Put(c.key, c.value)
		case remove:
			err = w.Delete(c.key)
		case removeRange:
			deleter, ok := w.(ethdb.KeyValueRangeDeleter)
			if !ok {
				return errors.New("ranges cannot be deleted there")
			}
			err = deleter.DeleteRange(c.key, c.end)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
