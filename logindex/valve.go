// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"errors"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/ethdb"
)

var errClosed = errors.New("log index is stopping")

// valve is the store of filter maps. They end the process when a write fails, and write what they have rendered to its end
// before they stop, which takes seconds. A closed valve drops writes and has no content, so neither happens; the disk has
// what it has after a kill.
type valve struct {
	ethdb.KeyValueStore
	closed  atomic.Bool
	failed  chan error    // the first write that failed
	suspect chan struct{} // something is missing that should be there; the index may be damaged, or just be changing
}

func newValve(store ethdb.KeyValueStore) *valve {
	return &valve{KeyValueStore: store, failed: make(chan error, 1), suspect: make(chan struct{}, 1)}
}

func (v *valve) close() { v.closed.Store(true) }

// write runs a write unless the valve is closed, and closes it if the write fails.
func (v *valve) write(do func() error) {
	if v.closed.Load() {
		return
	}
	if err := do(); err != nil {
		v.close()
		select {
		case v.failed <- err:
		default:
		}
	}
}

func (v *valve) suspects() {
	select {
	case v.suspect <- struct{}{}:
	default:
	}
}

// Has implements ethdb.KeyValueReader.
func (v *valve) Has(key []byte) (bool, error) {
	if v.closed.Load() {
		return false, nil
	}
	return v.KeyValueStore.Has(key)
}

// Get implements ethdb.KeyValueReader.
func (v *valve) Get(key []byte) ([]byte, error) {
	if v.closed.Load() {
		return nil, errClosed
	}
	value, err := v.KeyValueStore.Get(key)
	if err != nil {
		v.suspects()
	}
	return value, err
}

// Put implements ethdb.KeyValueWriter.
func (v *valve) Put(key, value []byte) error {
	b := v.NewBatch()
	_ = b.Put(key, value)
	return b.Write()
}

// Delete implements ethdb.KeyValueWriter.
func (v *valve) Delete(key []byte) error {
	b := v.NewBatch()
	_ = b.Delete(key)
	return b.Write()
}

// DeleteRange implements ethdb.KeyValueRangeDeleter.
func (v *valve) DeleteRange(start, end []byte) (err error) {
	v.write(func() error {
		if err = v.KeyValueStore.DeleteRange(start, end); errors.Is(err, ethdb.ErrTooManyKeys) {
			return nil // the caller goes on
		}
		return err
	})
	return err
}

// NewBatch implements ethdb.Batcher.
func (v *valve) NewBatch() ethdb.Batch { return &batch{v.KeyValueStore.NewBatch(), v} }

// NewBatchWithSize implements ethdb.Batcher.
func (v *valve) NewBatchWithSize(size int) ethdb.Batch {
	return &batch{v.KeyValueStore.NewBatchWithSize(size), v}
}

type batch struct {
	ethdb.Batch
	valve *valve
}

// Put implements ethdb.KeyValueWriter.
func (b *batch) Put(key, value []byte) error {
	b.valve.write(func() error { return b.Batch.Put(key, value) })
	return nil
}

// Delete implements ethdb.KeyValueWriter.
func (b *batch) Delete(key []byte) error {
	b.valve.write(func() error { return b.Batch.Delete(key) })
	return nil
}

// Write implements ethdb.Batch.
func (b *batch) Write() error {
	b.valve.write(b.Batch.Write)
	return nil
}
