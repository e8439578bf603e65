// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/ethdb"
	gethmetrics "github.com/ethereum/go-ethereum/metrics"
)

// PebbleOptions says how to open a Pebble database.
type PebbleOptions struct {
	CacheMB, Handles int         // below 16: 16
	MemTable         uint64      // bytes; 0: an eighth of the cache
	ReadOnly         bool        //
	FS               vfs.FS      // nil: the system's files
	Namespace        string      // of the meters in go-ethereum's registry, "eth/db/chaindata/"; empty: no meters
	Failed           func(error) // called from any goroutine, possibly under Pebble's locks, when the database must not be used any more
}

// pebbleStore is a Pebble database as an ethdb.KeyValueStore. go-ethereum has one too, which opens the same files. It panics where Pebble
// has no caller to return an error to: in a compaction that meets a corrupt table, a flush to a full disk. Nobody can recover from that, all the
// less since Pebble may hold a lock then. Here such an error is reported ([PebbleOptions.Failed]), and from then on every write fails with it.
type pebbleStore struct {
	db      *pebble.DB
	path    string
	files   *pebbleFiles
	health  *pebbleHealth
	options *pebble.Options
	tables  atomic.Uint64 // built, for their names

	writing sync.Mutex // a write after one that failed would wait for ever

	using  sync.RWMutex // held while db is used; for closing
	closed bool

	meters sync.WaitGroup
	quit   chan struct{} // closed by Close
}

// OpenPebble opens or creates a Pebble database with the options that go-ethereum gives it, so that either can open the other's.
func OpenPebble(path string, opts PebbleOptions) (ethdb.KeyValueStore, error) {
	const megabyte, memTables = 1 << 20, 4
	cache := int64(max(opts.CacheMB, 16)) * megabyte
	health := &pebbleHealth{failed: make(chan struct{}), tell: opts.Failed}
	var events pebbleEvents
	files := &pebbleFiles{FS: opts.FS, health: health}
	if files.FS == nil {
		files.FS = vfs.Default
	}
	options := &pebble.Options{
		FS:                          files,
		Cache:                       pebble.NewCache(cache),
		MaxOpenFiles:                max(opts.Handles, 16),
		MemTableSize:                opts.MemTable,
		MemTableStopWritesThreshold: 2 * memTables,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, runtime.NumCPU() },
		L0CompactionThreshold:       2, // less compaction debt than with Pebble's 4
		TargetFileSizes:             [7]int64{16 * megabyte, 4 * megabyte, 8 * megabyte, 16 * megabyte, 32 * megabyte, 64 * megabyte, 128 * megabyte},
		WALBytesPerSync:             5 * ethdb.IdealBatchSize,
		FormatMajorVersion:          pebble.FormatFlushableIngest, // what both versions of Pebble read
		ReadOnly:                    opts.ReadOnly,
		EventListener:               events.listener(health),
		Logger:                      health,
	}
	defer options.Cache.Unref()
	if options.MemTableSize == 0 {
		options.MemTableSize = uint64(min(cache/2/memTables, 1<<31-2)) // Pebble's limit
	}
	for level := range len(options.Levels) - 1 { // the last one is large, and most lookups that reach it find something
		options.Levels[level].FilterPolicy = bloom.FilterPolicy(10)
	}
	options.Experimental.ReadSamplingMultiplier = -1 // reads cause no compaction
	options.Experimental.L0CompactionConcurrency = 1
	options.Experimental.CompactionDebtConcurrency = 256 * megabyte
	options.EnsureDefaults()
	if !opts.ReadOnly {
		if err := dropTables(files, path); err != nil {
			return nil, err
		}
	}
	db, err := pebble.Open(path, options)
	if err != nil {
		return nil, err
	}
	files.opened.Store(true)
	p := &pebbleStore{db: db, path: path, files: files, health: health, options: options, quit: make(chan struct{})}
	if opts.Namespace != "" && gethmetrics.Enabled() {
		p.meters.Go(func() { events.meter(db, opts.Namespace, p.quit) })
	}
	return p, nil
}

// pebbleHealth is the first error of a Pebble database that has no caller.
type pebbleHealth struct {
	tell func(error)

	mu      sync.Mutex
	err     error
	wrecked bool          // Pebble gave up in the middle of something, and may hold its locks: it cannot be closed
	failed  chan struct{} // closed together with setting err
}

func (h *pebbleHealth) report(err error, wrecked bool) {
	h.mu.Lock()
	first := h.err == nil
	if h.wrecked = h.wrecked || wrecked; first {
		h.err = err
		close(h.failed)
	}
	h.mu.Unlock()
	if first && h.tell != nil {
		h.tell(err)
	}
}

func (h *pebbleHealth) check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// corrupt is pebble.EventListener.DataCorruption.
func (h *pebbleHealth) corrupt(info pebble.DataCorruptionInfo) {
	h.report(fmt.Errorf("file %s is corrupt: %w", info.Path, info.Details), false)
}

// background is pebble.EventListener.BackgroundError: of a flush or a compaction, which Pebble would repeat for ever.
func (h *pebbleHealth) background(err error) { h.report(err, false) }

// Infof implements pebble.Logger.
func (*pebbleHealth) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (*pebbleHealth) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger. Pebble expects that it does not return. But it may hold a lock here, or have released one that a
// deferred call releases again: a panic would end the process in that call, and waiting would block whoever needs the lock.
// Wherever it calls Fatalf it goes on as after an error that it returns, except that a write looks as if it had succeeded: see write.
func (h *pebbleHealth) Fatalf(format string, args ...any) {
	h.report(fmt.Errorf(format, args...), true)
}

// use calls do unless the database is closed.
func (p *pebbleStore) use(do func() error) error {
	p.using.RLock()
	defer p.using.RUnlock()
	if p.closed {
		return pebble.ErrClosed
	}
	return do()
}

// write calls do, which writes, unless the database failed.
func (p *pebbleStore) write(do func() error) error {
	return p.use(func() error {
		p.writing.Lock()
		defer p.writing.Unlock()
		if err := p.health.check(); err != nil {
			return err
		}
		return p.try(do)
	})
}

// try calls do, and returns as soon as the database fails: then do may go on, or never return.
func (p *pebbleStore) try(do func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				p.health.report(fmt.Errorf("%v", cause), true)
			}
		}()
		done <- do()
	}()
	select {
	case err := <-done:
		return errors.Join(err, p.health.check())
	case <-p.health.failed:
		p.health.report(nil, true)
		return p.health.check()
	}
}

// Get implements ethdb.KeyValueReader.
func (p *pebbleStore) Get(key []byte) (value []byte, err error) {
	err = p.use(func() error {
		found, closer, err := p.db.Get(key)
		if err != nil {
			return err
		}
		value = append([]byte{}, found...)
		return closer.Close()
	})
	return value, err
}

// Has implements ethdb.KeyValueReader.
func (p *pebbleStore) Has(key []byte) (bool, error) {
	_, err := p.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Put implements ethdb.KeyValueWriter.
func (p *pebbleStore) Put(key, value []byte) error {
	return p.write(func() error { return p.db.Set(key, value, pebble.NoSync) })
}

// Delete implements ethdb.KeyValueWriter.
func (p *pebbleStore) Delete(key []byte) error {
	return p.write(func() error { return p.db.Delete(key, pebble.NoSync) })
}

// DeleteRange implements ethdb.KeyValueRangeDeleter.
func (p *pebbleStore) DeleteRange(start, end []byte) error {
	return p.write(func() error { return p.db.DeleteRange(start, endOf(end), pebble.NoSync) })
}

// endOf returns the end of a range. Pebble has no value for "to the end".
func endOf(end []byte) []byte {
	if end == nil {
		return ethdb.MaximumKey
	}
	return end
}

// SyncKeyValue implements ethdb.KeyValueSyncer: a record in the log that is synced makes all before it durable.
func (p *pebbleStore) SyncKeyValue() error {
	return p.write(func() error { return p.db.LogData(nil, pebble.Sync) })
}

// Stat implements ethdb.KeyValueStater.
func (p *pebbleStore) Stat() (text string, err error) {
	err = p.use(func() error {
		text = p.db.Metrics().String()
		return nil
	})
	return text, err
}

// Compact implements ethdb.Compacter.
func (p *pebbleStore) Compact(start, limit []byte) error {
	return p.use(func() error { return p.db.Compact(context.Background(), start, endOf(limit), true) })
}

// Close implements io.Closer. It may be called twice. A wrecked database is left as it is: what can be saved is in its log.
func (p *pebbleStore) Close() error {
	p.using.Lock()
	defer p.using.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	close(p.quit)
	p.health.mu.Lock()
	wrecked := p.health.wrecked
	p.health.mu.Unlock()
	if wrecked {
		return nil
	}
	p.meters.Wait()
	if p.health.check() != nil { // a corrupt file
		p.files.opened.Store(false) // nobody would wait for a write that does not return
		return p.db.Close()
	}
	return p.try(p.db.Close)
}
