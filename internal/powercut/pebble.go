// SPDX-License-Identifier: LGPL-3.0-or-later

package powercut

import (
	"bytes"
	"errors"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/ethdb"
)

// pebbleBuffer is the size of Pebble's memory table, in bytes.
const pebbleBuffer = 256 << 10

type pebbleEngine struct{ db *pebble.DB }

// openPebble opens a database whose writes are not synced, as go-ethereum's are.
func openPebble(fs vfs.FS, path string, readOnly bool) (ethdb.KeyValueStore, error) {
	db, err := pebble.Open(path, &pebble.Options{FS: fs, MemTableSize: pebbleBuffer, FormatMajorVersion: pebble.FormatNewest, ReadOnly: readOnly, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	return store{pebbleEngine{db}}, nil
}

// quiet drops what Pebble logs.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	slog.Error(format, "args", args)
	panic("pebble: fatal error")
}

func (e pebbleEngine) get(key []byte) ([]byte, error) {
	value, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, value...), closer.Close()
}

func (e pebbleEngine) apply(changes []change) (err error) {
	b := e.db.NewBatch()
	for _, c := range changes {
		switch c.kind {
		case put:
			err = errors.Join(err, b.Set(c.key, c.value, nil))
		case remove:
			err = errors.Join(err, b.Delete(c.key, nil))
		case removeRange:
			end := c.end
			if end == nil {
				end = ethdb.MaximumKey
			}
			err = errors.Join(err, b.DeleteRange(c.key, end, nil))
		}
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return b.Commit(pebble.NoSync)
}

func (e pebbleEngine) sync() error { return e.db.LogData(nil, pebble.Sync) }

func (e pebbleEngine) Close() error { return e.db.Close() }

func (e pebbleEngine) iterate(lower, upper []byte) ethdb.Iterator {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	return &pebbleIterator{it: it, err: err}
}

// pebbleIterator implements ethdb.Iterator.
type pebbleIterator struct {
	it    *pebble.Iterator
	begun bool
	err   error
}

func (i *pebbleIterator) Next() bool {
	if i.err != nil {
		return false
	}
	if !i.begun {
		i.begun = true
		return i.it.First()
	}
	return i.it.Next()
}

func (i *pebbleIterator) Error() error {
	if i.err != nil {
		return i.err
	}
	return i.it.Error()
}

func (i *pebbleIterator) Key() []byte   { return i.it.Key() }
func (i *pebbleIterator) Value() []byte { return bytes.Clone(i.it.Value()) }

func (i *pebbleIterator) Release() {
	if i.it != nil {
		i.err = errors.Join(i.err, i.it.Close())
		i.it = nil
	}
}
