// SPDX-License-Identifier: LGPL-3.0-or-later

// Package powercut tests what a power cut leaves of databases. It is for tests only.
//
// A [Disk] is a file system in memory that knows which data were synced. The two engines run on it, with their own
// code for logs, tables and manifests, and with small buffers, so that a short test writes all kinds of files:
//
//	db.Options.OpenKeyValue --> Disk.Open --> goleveldb | Pebble --> errorfs (counts operations) --> vfs.MemFS
//	                                                                        |
//	                                                     before an operation: hook --> Disk.Cut --> a real directory
//
// [Disk.Cut] writes what a cut at this moment leaves: what was synced, and of everything else a random part. The test
// then opens that directory as a node does, by path.
//
// What is left of a file that is not synced depends on the engine. Of Pebble's files any blocks may be left. LevelDB's log
// has no defence against a block that is missing in the middle, so of its files some length is left, as on file systems
// that extend a file only after its data are written (ext4 with data=ordered).
package powercut

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/ethdb"

	"github.com/sunbeam-eth/sunbeam/db"
)

// pebbleBuffer is the size of Pebble's memory table, in bytes.
const pebbleBuffer = 256 << 10

// Disk is a file system that forgets. Its databases are below a directory of the real file system, where they leave
// empty directories.
type Disk struct {
	root   string
	pebble bool
	mem    *vfs.MemFS
	fs     vfs.FS

	mu   sync.Mutex
	hook func() // nil: none
	rng  *rand.Rand

	lengths sync.Map // of LevelDB's files, by path: the int that is synced, also where the name is not
}

// New returns an empty disk for databases below root.
func New(root string, pebble bool, seed uint64) *Disk {
	d := &Disk{root: root, pebble: pebble, mem: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(seed, 1))}
	d.fs = errorfs.Wrap(d.mem, errorfs.InjectorFunc(d.operation))
	return d
}

// Before sets what is called before each operation that changes the disk. It is not called concurrently.
func (d *Disk) Before(hook func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

func (d *Disk) operation(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.hook != nil {
			d.hook()
		}
	}
	return nil
}

// Open opens or creates the database at a path below root.
func (d *Disk) Open(path string, readOnly bool, failed func(error)) (ethdb.KeyValueStore, error) {
	name, err := filepath.Rel(d.root, path)
	if err != nil {
		return nil, err
	}
	name = "/" + filepath.ToSlash(name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := d.makeDir(name); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	if d.pebble {
		return db.OpenPebble(name, db.PebbleOptions{FS: d.fs, MemTable: pebbleBuffer, ReadOnly: readOnly, Failed: failed})
	}
	return openLevelDB(d, name, readOnly)
}

// makeDir creates a directory that no cut removes.
func (d *Disk) makeDir(name string) error {
	if err := d.mem.MkdirAll(name, 0o700); err != nil {
		return err
	}
	for at := d.mem.PathDir(name); ; at = d.mem.PathDir(at) {
		dir, err := d.mem.OpenDir(at)
		if err != nil {
			return err
		}
		if err := dir.Sync(); err != nil {
			return err
		}
		if err := dir.Close(); err != nil || at == "/" {
			return err
		}
	}
}

// Cut writes what a power cut leaves to a directory, which corresponds to root. It may be called by the hook. Directories
// that the process removed from the real file system may come back.
func (d *Disk) Cut(dir string) error {
	percent := []int{0, 50, 100}[d.rng.IntN(3)]
	if d.pebble {
		left := d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: d.rng})
		return d.copyOut(left, left, "/", dir)
	}
	all := d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: d.rng})
	return d.copyOut(d.mem.CrashClone(vfs.CrashCloneCfg{}), all, "/", dir)
}

// copyOut copies the directory at name. Of a file that has more in all than in synced, some length is copied.
func (d *Disk) copyOut(synced, all *vfs.MemFS, name, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, fs := range []*vfs.MemFS{synced, all} {
		names, err := fs.List(name)
		if err != nil {
			return err
		}
		for _, child := range names {
			if known[child] {
				continue
			}
			known[child] = true
			if err := d.copyChild(synced, all, d.mem.PathJoin(name, child), filepath.Join(to, child)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Disk) copyChild(synced, all *vfs.MemFS, name, to string) error {
	for _, fs := range []*vfs.MemFS{synced, all} {
		if stat, err := fs.Stat(name); err == nil && stat.IsDir() {
			if _, err := os.Stat(filepath.Join(d.root, filepath.FromSlash(name))); err != nil && d.rng.IntN(2) == 0 {
				return nil // removed
			}
			return d.copyOut(synced, all, name, to)
		}
	}
	old, isOld := content(synced, name)
	whole, isNew := content(all, name)
	if length, ok := d.lengths.Load(name); ok && !isOld && length.(int) <= len(whole) {
		old = whole[:length.(int)] // the name is new, what is in the file is not
	}
	switch {
	case !isNew && d.rng.IntN(2) == 0, !isOld && d.rng.IntN(2) == 0:
		return nil // a removal that is durable already, or a creation that is not
	case !isNew:
		whole = old
	case bytes.HasPrefix(whole, old):
		whole = whole[:len(old)+d.rng.IntN(len(whole)-len(old)+1)]
	case d.rng.IntN(2) == 0: // replaced by renaming another file
		whole = old
	}
	return os.WriteFile(to, whole, 0o600)
}

func content(fs *vfs.MemFS, name string) ([]byte, bool) {
	file, err := fs.Open(name)
	if err != nil {
		return nil, false
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return nil, false
	}
	text := make([]byte, stat.Size())
	if n, err := file.ReadAt(text, 0); n < len(text) && err != nil {
		return nil, false
	}
	return text, true
}
