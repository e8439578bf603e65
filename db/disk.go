// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/ethdb"
	levelerrors "github.com/syndtr/goleveldb/leveldb/errors"
)

// ErrClosed is what reads and writes return after Close.
var ErrClosed = errors.New("database is closed")

// failure is the first error of a disk; all disks of a DB share it.
type failure struct {
	mu     sync.Mutex
	err    error
	closed bool
	failed chan struct{} // closed together with setting err

	onFirst func(path string, err error) // called with the first error, before it is visible; may be nil
}

func newFailure() *failure { return &failure{failed: make(chan struct{})} }

// errDamagedTable is what to do about a corrupt file of a LevelDB.
var errDamagedTable = errors.New("start again: what can be read of it is kept, and the rest is fetched from peers, if they have it; check the disk")

// check returns the failure after which nothing may be written, nil if there is none.
func (f *failure) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return f.err
}

// report records an error that a store returned and returns it with the store's name.
func (f *failure) report(path string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed // a read after Close is not a failure of the disk
	}
	cause := err
	err = fmt.Errorf("database %s: %w", path, err)
	if levelerrors.IsCorrupted(cause) {
		err = fmt.Errorf("%w (%w)", err, errDamagedTable)
	}
	if f.err == nil {
		if f.onFirst != nil {
			f.onFirst(path, cause)
		}
		f.err = err
		close(f.failed)
	}
	return err
}

// close makes later errors ErrClosed. It returns false if it was called before.
func (f *failure) close() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.closed = true
	return true
}

// disk is a key-value database that tells misses from failures and reports the latter.
type disk struct {
	ethdb.KeyValueStore
	path   string
	health *failure

	writing sync.Mutex // one batch at a time: no write may be in progress after a failure
	wrecked bool       // the engine panicked and may hold its locks; guarded by writing
}

// lookup returns nil for an absent key. Each of go-ethereum's databases has its own error for that;
// Has is the same for all of them.
func (d *disk) lookup(key []byte) ([]byte, error) {
	for range 2 { // twice: a concurrent write may happen between Get and Has
		value, err := d.KeyValueStore.Get(key)
		if err == nil {
			return value, nil
		}
		has, hasErr := d.KeyValueStore.Has(key)
		if hasErr != nil {
			return nil, d.health.report(d.path, hasErr)
		}
		if !has {
			return nil, nil
		}
	}
	value, err := d.KeyValueStore.Get(key)
	if err != nil {
		if _, miss := d.KeyValueStore.Get([]byte(absent)); errors.Is(err, miss) {
			return nil, nil // written and deleted concurrently
		}
		return nil, d.health.report(d.path, err)
	}
	return value, nil
}

// absent is a key that no database has: the error of Get for it is the error of a miss.
const absent = "sunbeam has no such key"

var errNotFound = errors.New("not found")

// Get implements ethdb.KeyValueReader for go-ethereum's rawdb, which drops the error.
func (d *disk) Get(key []byte) ([]byte, error) {
	value, err := d.lookup(key)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, errNotFound
	}
	return value, nil
}

// Has implements ethdb.KeyValueReader.
func (d *disk) Has(key []byte) (bool, error) {
	has, err := d.KeyValueStore.Has(key)
	if err != nil {
		return false, d.health.report(d.path, err)
	}
	return has, nil
}

// NewBatch implements ethdb.Batcher.
func (d *disk) NewBatch() ethdb.Batch {
	return &batch{Batch: d.KeyValueStore.NewBatch(), disk: d}
}

// NewBatchWithSize implements ethdb.Batcher.
func (d *disk) NewBatchWithSize(size int) ethdb.Batch {
	return &batch{Batch: d.KeyValueStore.NewBatchWithSize(size), disk: d}
}

// batch is written as a whole or not at all, and never to a disk that failed.
type batch struct {
	ethdb.Batch
	disk *disk
}

// Write implements ethdb.Batch.
func (b *batch) Write() error { return b.disk.write(b.Batch.Write) }

// write calls do, which writes, unless the disk failed.
func (d *disk) write(do func() error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.health.check(); err != nil {
		return err
	}
	if err := d.guardLocked(do); err != nil {
		return d.health.report(d.path, err)
	}
	return nil
}

// guardLocked turns a panic into an error: Pebble panics when it cannot write its log, on a
// full disk above all. Nothing may be asked of it after that.
func (d *disk) guardLocked(do func() error) (err error) {
	if d.wrecked {
		return nil // on sync and close: what can be saved is in the log, and the engine may hold its own locks
	}
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case error:
			d.wrecked, err = true, cause
		default:
			d.wrecked, err = true, fmt.Errorf("%v", cause)
		}
	}()
	return do()
}

// DeleteRange implements ethdb.KeyValueRangeDeleter.
func (d *disk) DeleteRange(start, end []byte) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.health.check(); err != nil {
		return err
	}
	err := d.guardLocked(func() error { return d.KeyValueStore.DeleteRange(start, end) })
	if err != nil && !errors.Is(err, ethdb.ErrTooManyKeys) { // that asks to be called again
		return d.health.report(d.path, err)
	}
	return err
}

// SyncKeyValue implements ethdb.KeyValueSyncer. An error is a failure of the disk.
func (d *disk) SyncKeyValue() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.guardLocked(d.KeyValueStore.SyncKeyValue); err != nil {
		_ = d.health.report(d.path, fmt.Errorf("sync: %w", err)) // too late while closing
		return fmt.Errorf("sync database %s: %w", d.path, err)
	}
	return nil
}

// Close implements io.Closer. A wrecked engine is not closed: the process ends soon.
func (d *disk) Close() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.guardLocked(d.KeyValueStore.Close); err != nil {
		return fmt.Errorf("close database %s: %w", d.path, err)
	}
	return nil
}
