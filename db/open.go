// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/ethdb/pebble"
	"github.com/gofrs/flock"
	"github.com/prometheus/client_golang/prometheus"
	levelerrors "github.com/syndtr/goleveldb/leveldb/errors"
)

// Engines.
const (
	LevelDB = rawdb.DBLeveldb
	Pebble  = rawdb.DBPebble
)

// minHotBytes keeps a generation larger than what one block needs (about 8 MB per mainnet block of 30 Mgas).
const minHotBytes = 64 << 20

var (
	// ErrInUse says that another process has the data directory open.
	ErrInUse = errors.New("datadir already in use")
	// ErrAbsent says that there is no database to open read-only.
	ErrAbsent = errors.New("no database here")
)

// Options says how to open a data directory. The zero value is valid.
type Options struct {
	Engine     string                // LevelDB or Pebble; empty: that of the directory, LevelDB for a new one
	CacheMB    int                   // memory for all databases together, MiB; 0: the engines' minimum
	Handles    int                   // open files for all databases together; 0: the engines' minimum
	HotBytes   uint64                // size of Hot on disk, both generations; 0: the minimum, 64 MiB
	ReadOnly   bool                  // the directory must exist; nothing is created or changed
	Registerer prometheus.Registerer // for the metrics; nil: not registered

	// OpenKeyValue opens or creates each key-value database at its path. nil: as Engine says, on the system's files.
	// It calls failed as PebbleOptions.Failed is called.
	OpenKeyValue func(path string, readOnly bool, failed func(error)) (ethdb.KeyValueStore, error)
}

// DB is an open data directory.
type DB struct {
	chain  *Chain
	hot    *Hot
	health *failure
	damage *damageLog
	aside  []string     // see SetAside
	lock   *flock.Flock // nil in memory

	root string // <datadir>/geth; empty in memory
	full struct {
		sync.Mutex
		open *Full // nil while beaming
	}
}

// Open opens <dir>/geth and creates it if it does not exist. Before that it checks the options and refuses
// databases of another engine. The errors name the directory and the reason: [ErrInUse], [ErrAbsent], or the engine's own.
func Open(dir string, opts Options) (*DB, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "geth")
	chaindata, hotdir := filepath.Join(root, "chaindata"), filepath.Join(root, "beam-hot")
	existing := engineOf(chaindata)
	if existing == "" && opts.ReadOnly {
		return nil, fmt.Errorf("%s: %w", chaindata, ErrAbsent)
	}
	if existing != "" && opts.Engine != "" && opts.Engine != existing {
		return nil, fmt.Errorf("%s holds a %s database, but --db.engine is %s", chaindata, existing, opts.Engine)
	}
	if opts.Engine == "" {
		opts.Engine = existing
	}
	if opts.Engine == "" {
		opts.Engine = LevelDB
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := lockRoot(dir, root)
	if err != nil {
		return nil, err
	}
	damage, err := newDamageLog(damagePath(root), opts.Registerer)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	d, err := open(chaindata, hotdir, damage, opts)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	d.lock, d.root = lock, root
	return d, nil
}

// engineOf returns the engine of an existing database, also if its entry point is lost; empty if there is none. A MANIFEST or a log
// alone is of either engine: the power failed while it created the database, and nothing is lost when it is created again.
func engineOf(path string) string {
	engine := rawdb.PreexistingDatabase(path)
	if engine != "" {
		return engine
	}
	for _, of := range []struct{ engine, pattern string }{
		{Pebble, "marker.*"}, {Pebble, "OPTIONS-*"}, {Pebble, "*.sst"}, {LevelDB, "LOG"}, {LevelDB, "*.ldb"},
	} {
		if found, err := filepath.Glob(filepath.Join(path, of.pattern)); err == nil && len(found) > 0 {
			return of.engine
		}
	}
	return ""
}

func (o Options) check() error {
	switch {
	case o.Engine != "" && o.Engine != LevelDB && o.Engine != Pebble:
		return fmt.Errorf("unknown database engine %q: want %q or %q", o.Engine, LevelDB, Pebble)
	case o.CacheMB < 0:
		return fmt.Errorf("database cache of %d MiB", o.CacheMB)
	case o.Handles < 0:
		return fmt.Errorf("%d database file handles", o.Handles)
	case o.HotBytes != 0 && o.HotBytes < minHotBytes:
		return fmt.Errorf("hot store of %d bytes: want at least %d", o.HotBytes, minHotBytes)
	}
	return nil
}

// open opens the databases of a locked directory.
func open(chaindata, hotdir string, damage *damageLog, opts Options) (*DB, error) {
	health := newFailure()
	if err := checkTables(chaindata, damage, opts); err != nil {
		return nil, err
	}
	health.onFirst = func(path string, err error) {
		if path == chaindata && opts.Engine == LevelDB && !opts.ReadOnly && levelerrors.IsCorrupted(err) {
			_ = damage.record(&Damage{Found: time.Now(), What: fmt.Sprintf("database %s: %v", path, err), Tables: true, Repair: true}) // the node ends in any case
		}
	}
	kv, err := openEngine(chaindata, "eth/db/chaindata/", opts, 2, health)
	if err != nil {
		return nil, err
	}
	store, ancient := &disk{KeyValueStore: kv, path: chaindata, health: health}, filepath.Join(chaindata, "ancient")
	chain, err := openChain(store, ancient, damage.recorded != nil, opts.ReadOnly)
	if errors.Is(err, errLost) && !opts.ReadOnly {
		if err = damage.record(&Damage{Found: time.Now(), What: fmt.Sprintf("%s: %v", chaindata, err), Tables: true}); err == nil {
			chain, err = openChain(store, ancient, true, false)
		}
	}
	if err != nil {
		kv.Close()
		return nil, err
	}
	full, err := chain.isFull()
	if err != nil {
		chain.close()
		return nil, err
	}
	full = full && damage.recorded == nil
	var aside []string
	hot, err := openHot(directories{root: hotdir, opts: opts, health: health}, chain, health, full, opts)
	if err != nil && !opts.ReadOnly && !errors.Is(err, fs.ErrPermission) { // a cache: it is made anew
		var moved string
		if moved, err = SetAside(hotdir); err == nil {
			aside = append(aside, moved)
			hot, err = openHot(directories{root: hotdir, opts: opts, health: health}, chain, health, full, opts)
		}
	}
	if err != nil {
		chain.close()
		return nil, err
	}
	return &DB{chain: chain, hot: hot, health: health, damage: damage, aside: aside}, nil
}

// checkTables looks for lost files before the database is opened: that would hide them. What it finds is recorded first.
func checkTables(chaindata string, damage *damageLog, opts Options) error {
	if opts.Engine != LevelDB || opts.ReadOnly || opts.OpenKeyValue != nil {
		return nil // Pebble refuses to open
	}
	if damage.recorded != nil && damage.recorded.Repair {
		return repair(chaindata, damage)
	}
	lost, corrupt, err := lostFiles(chaindata)
	if err != nil {
		return fmt.Errorf("open %s database %s: %w", opts.Engine, chaindata, err)
	}
	if lost == "" {
		return nil
	}
	err = damage.record(&Damage{
		Found: time.Now(), What: fmt.Sprintf("database %s lost files: %s", chaindata, lost), Tables: true, Repair: corrupt,
	})
	if err != nil || !corrupt {
		return err
	}
	return repair(chaindata, damage)
}

// repair repairs a LevelDB with corrupt files, and records that it was done.
func repair(chaindata string, damage *damageLog) error {
	if err := repairTables(chaindata); err != nil {
		return fmt.Errorf("repair database %s: %w (remove it: what it had is fetched again, if peers have it)", chaindata, err)
	}
	repaired := *damage.recorded
	repaired.Repair = false
	return damage.record(&repaired)
}

// OpenMemory returns an empty data directory in memory, for tests and benchmarks.
func OpenMemory(opts Options) (*DB, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	health := newFailure()
	damage, err := newDamageLog("", opts.Registerer)
	if err != nil {
		return nil, err
	}
	chain, err := openChain(&disk{KeyValueStore: memorydb.New(), path: "chaindata (memory)", health: health}, "", false, false)
	if err != nil {
		return nil, err
	}
	hot, err := openHot(memoryGenerations{}, chain, health, false, opts)
	if err != nil {
		return nil, err
	}
	return &DB{chain: chain, hot: hot, health: health, damage: damage}, nil
}

// openEngine opens one key-value database. An engine may panic if a power cut took a part of a database that was just being
// created: Pebble takes one without the file of its format version for that of an older version.
// The database gets a share, one part of so many, of memory and files.
func openEngine(path, namespace string, opts Options, share int, health *failure) (kv ethdb.KeyValueStore, err error) {
	cacheMB, handles := opts.CacheMB/share, opts.Handles/share
	failed := func(err error) { _ = health.report(path, err) } // ends Run
	defer func() {
		if cause := recover(); cause != nil {
			kv, err = nil, fmt.Errorf("open %s database %s: it is damaged (%v): remove %s, its content is fetched again, if peers have it", opts.Engine, path, cause, path)
		}
	}()
	if existing := rawdb.PreexistingDatabase(path); existing != "" && existing != opts.Engine {
		return nil, fmt.Errorf("%s holds a %s database, not %s", path, existing, opts.Engine)
	}
	switch {
	case opts.OpenKeyValue != nil:
		kv, err = opts.OpenKeyValue(path, opts.ReadOnly, failed)
	case opts.Engine == LevelDB:
		kv, err = leveldb.New(path, cacheMB, handles, namespace, opts.ReadOnly)
		kv = syncedLevelDB{kv, path}
	case pebble.NeedsV1(path):
		kv, err = pebble.NewV1(path, cacheMB, handles, namespace, opts.ReadOnly)
	default:
		kv, err = OpenPebble(path, PebbleOptions{CacheMB: cacheMB, Handles: handles, ReadOnly: opts.ReadOnly, Namespace: namespace, Failed: failed})
	}
	if levelerrors.IsCorrupted(err) {
		return nil, fmt.Errorf("open %s database %s: it is damaged (%w): remove %s, its content is fetched again, if peers have it", opts.Engine, path, err, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s database %s: %w (if a file of it is lost or broken: restore it, or remove the directory; what it had is fetched again, if peers have it)", opts.Engine, path, err)
	}
	return kv, nil
}

// Chain returns the store of blocks.
func (d *DB) Chain() *Chain { return d.chain }

// SetAside returns the new paths of damaged stores that were renamed while the directory was opened, and made anew.
func (d *DB) SetAside() []string { return d.aside }

// Hot returns the store of trie nodes by hash.
func (d *DB) Hot() *Hot { return d.hot }

// Err returns the first failure of a disk, with its path and what to do; nil if there was none.
func (d *DB) Err() error {
	d.health.mu.Lock()
	defer d.health.mu.Unlock()
	if d.health.err == nil {
		return nil
	}
	if errors.Is(d.health.err, errDamagedTable) {
		return d.health.err
	}
	return fmt.Errorf("%w (is the disk full or broken? After making room, start again; if it fails again, remove the database: it is fetched again, if peers have it)", d.health.err)
}

// Run returns nil when ctx ends, and [DB.Err] as soon as a read or a write fails. The process should
// stop then.
func (d *DB) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.health.failed:
		return d.Err()
	}
}

// Close syncs and closes everything and releases the directory. It may be called twice.
// Reads and writes that come later fail with [ErrClosed].
func (d *DB) Close() error {
	d.closeFull(true)
	if !d.health.close() {
		return nil
	}
	errs := []error{d.hot.close(), d.chain.close()}
	if d.lock != nil {
		errs = append(errs, d.lock.Unlock())
	}
	return errors.Join(errs...)
}
