package db

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/ethdb"
)

// ErrClosed is what reads and writes return after Close.
var ErrClosed = errors.New("database is closed")

// failure is the first error that shows a disk to be broken; shared by all disks of a DB.
type failure struct {
	mu     sync.Mutex
	err    error
	closed bool
	failed chan struct{} // closed together with setting err
}

func newFailure() *failure { return &failure{failed: make(chan struct{})} }

// check returns why nothing may be written any more, nil if all is well.
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
		return ErrClosed // whoever still reads is told so by an error that is nobody's fault
	}
	err = fmt.Errorf("database %s: %w", path, err)
	if f.err == nil {
		f.err = err
		close(f.failed)
	}
	return err
}

// close makes later errors harmless. It returns false if that was done before.
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

	writing sync.Mutex // one batch at a time: after a failure, none may be on its way
	wrecked bool       // the engine panicked and may hold its locks; guarded by writing
}

// lookup returns nil for a key that is not there. go-ethereum's databases say that with an
// error of their own kind each; Has says it alike for all of them.
func (d *disk) lookup(key []byte) ([]byte, error) {
	for range 2 { // twice: a concurrent write may come between Get and Has
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
			return nil, nil // it comes and goes
		}
		return nil, d.health.report(d.path, err)
	}
	return value, nil
}

// absent is a key that no database has: what Get says about it is how it reports a miss.
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

// batch is written in whole or not at all, and not to a disk that broke.
type batch struct {
	ethdb.Batch
	disk *disk
}

// Write implements ethdb.Batch.
func (b *batch) Write() error {
	d := b.disk
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.health.check(); err != nil {
		return err
	}
	if err := d.guardLocked(b.Batch.Write); err != nil {
		return d.health.report(d.path, err)
	}
	return nil
}

// guardLocked makes an error of a panic: Pebble panics when it cannot write its log, on a
// full disk above all. Nothing may be asked of it after that.
func (d *disk) guardLocked(do func() error) (err error) {
	if d.wrecked {
		return nil // to sync or close: what can be saved is in the log, and the engine may hold its own locks
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

// SyncKeyValue implements ethdb.KeyValueSyncer. That it fails is a failure of the disk.
func (d *disk) SyncKeyValue() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.guardLocked(d.KeyValueStore.SyncKeyValue); err != nil {
		_ = d.health.report(d.path, fmt.Errorf("sync: %w", err)) // too late while closing
		return fmt.Errorf("sync database %s: %w", d.path, err)
	}
	return nil
}

// Close implements io.Closer. A wrecked engine is left to the end of the process.
func (d *disk) Close() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.guardLocked(d.KeyValueStore.Close); err != nil {
		return fmt.Errorf("close database %s: %w", d.path, err)
	}
	return nil
}
