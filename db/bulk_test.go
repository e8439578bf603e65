// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
)

// tabled is a memory database that takes tables: an engine without Pebble's files.
type tabled struct {
	*flaky
	mu     sync.Mutex
	built  map[string][]entry
	loaded int // tables
}

// Close implements io.Closer. The tables outlive the database over them.
func (d *tabled) Close() error { return nil }

func (d *tabled) buildTables(entries []entry, cuts [][]byte, shortest int) (tables []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	runs, _, err := divide(entries, cuts, shortest, func(key []byte) ([]byte, error) {
		it := d.NewIterator(nil, key)
		defer it.Release()
		if it.Next() {
			return bytes.Clone(it.Key()), nil
		}
		return nil, nil
	})
	d.built = make(map[string][]entry)
	for i, run := range runs {
		name := fmt.Sprint(i)
		d.built[name], tables = run, append(tables, name)
	}
	return tables, err
}

func (d *tabled) takeTables(tables []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	batch := d.NewBatch()
	for _, name := range tables {
		for _, e := range d.built[name] {
			if err := batch.Put(e.key, e.value); err != nil {
				return err
			}
		}
	}
	d.loaded += len(tables)
	return batch.Write()
}

// TestDivide: runs have no key of the database within, one first byte, and some length; together with what is loose they
// are all entries.
func TestDivide(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		held := memorydb.New()
		keys := make(map[string]bool)
		key := func() []byte { return fmt.Appendf(nil, "%c%03d", 'a'+rng.IntN(3), rng.IntN(400)) }
		for range rng.IntN(12) {
			_ = held.Put(key(), nil)
		}
		for range rng.IntN(200) {
			keys[string(key())] = true
		}
		var entries []entry
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			entries = append(entries, entry{[]byte(k), []byte("value")})
		}
		shortest := 1 + rng.IntN(100)
		var cuts [][]byte
		for i := range byte(rng.IntN(4)) {
			cuts = append(cuts, []byte{'a' + i, '0' + byte(rng.IntN(4))})
		}
		tables, loose, err := divide(entries, cuts, shortest, func(key []byte) ([]byte, error) {
			it := held.NewIterator(nil, key)
			defer it.Release()
			if it.Next() {
				return it.Key(), nil
			}
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		gaps := 0
		for _, table := range tables {
			first, last := table[0].key, table[len(table)-1].key
			cut := slices.ContainsFunc(cuts, func(cut []byte) bool {
				before, behind := bytes.Compare(first, cut) < 0, bytes.Compare(last, after(cut)) >= 0
				return before && bytes.Compare(last, cut) >= 0 || bytes.HasPrefix(first, cut) && behind
			})
			it := held.NewIterator(nil, first)
			if !cut && first[0] == last[0] && sizeOf(table) >= shortest && (len(table) == 1 || !it.Next() || bytes.Compare(it.Key(), last) > 0) {
				continue // a run
			}
			gaps += sizeOf(table)
		}
		if gaps != loose {
			t.Fatalf("%d loose bytes, %d are in no run", loose, gaps)
		}
		if all := slices.Concat(tables...); !slices.EqualFunc(all, entries, func(a, b entry) bool { return bytes.Equal(a.key, b.key) }) {
			t.Fatalf("%d entries in tables, of %d", len(all), len(entries))
		}
	}
	if _, _, err := divide([]entry{{key: []byte("a")}}, nil, 1, func([]byte) ([]byte, error) { return nil, errDisk }); !errors.Is(err, errDisk) {
		t.Errorf("a read that fails: %v", err)
	}
	many := make([]entry, 2*mostSeeks)
	for i := range many {
		many[i].key = fmt.Appendf(nil, "%06d", i)
	}
	seeks := 0
	tables, loose, _ := divide(many, nil, 1, func(key []byte) ([]byte, error) { seeks++; return key, nil })
	if len(tables) != mostSeeks+1 || loose != 6*mostSeeks || seeks != mostSeeks {
		t.Errorf("%d tables, %d loose bytes after %d seeks", len(tables), loose, seeks)
	}
}

// neighbours adds changes of a random kind to a writer, and returns them: a run of neighbours, loose entries, deletions.
func neighbours(rng *rand.Rand, w *CompleteWriter) (list []change, err error) {
	first, step := rng.IntN(4000), 1
	if rng.IntN(3) == 0 {
		step = 1 + rng.IntN(90)
	}
	deletes := rng.IntN(6) == 0
	for i := range 1 + rng.IntN(60) {
		c := change{key: fmt.Appendf(nil, "%c%04d", "AOao"[rng.IntN(4)], first+i*step), value: bytes.Repeat([]byte{byte(rng.IntN(256))}, 20+rng.IntN(80))}
		if deletes && rng.IntN(2) == 0 {
			c.value, c.deleted = nil, true
		}
		list = append(list, c)
		if err := w.change(c); err != nil {
			return list, err
		}
	}
	return list, nil
}

// apply makes changes to a model.
func apply(model map[string][]byte, list []change) {
	for _, c := range list {
		if c.deleted {
			delete(model, string(c.key))
		} else {
			model[string(c.key)] = c.value
		}
	}
}

// content is what a database has of a state.
func content(kv ethdb.KeyValueStore) map[string][]byte {
	all := make(map[string][]byte)
	it := kv.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		if bytes.IndexByte([]byte("AOao"), it.Key()[0]) >= 0 && len(it.Key()) == 5 {
			all[string(it.Key())] = bytes.Clone(it.Value())
		}
	}
	return all
}

var smallBulks = bulkSizes{batch: 600, least: 1200, most: 5000, run: 300}

// TestBulkOnPebble: what is written as tables and as batches, in any order, is what a map has. After it is opened again it is the same, without the files of tables that were not taken.
func TestBulkOnPebble(t *testing.T) {
	mem := vfs.NewMem()
	open := func() ethdb.KeyValueStore {
		kv, err := OpenPebble("db", PebbleOptions{FS: mem, MemTable: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	rng, model, taken := rand.New(rand.NewPCG(3, 3)), make(map[string][]byte), uint64(0)
	for life := range 6 {
		kv := open()
		w := openOn(t, keptTables{kv.(*pebbleStore)}).Complete().Writer()
		w.sizes = smallBulks
		for range 40 {
			list, err := neighbours(rng, w)
			if err != nil {
				t.Fatal(err)
			}
			apply(model, list)
			if rng.IntN(8) == 0 {
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				if !maps.EqualFunc(content(kv), model, bytes.Equal) {
					t.Fatalf("life %d: another content than the map's", life)
				}
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		taken += kv.(*pebbleStore).db.Metrics().Ingest.Count
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := mem.Create(mem.PathJoin("db", tablePrefix+"99"), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if taken < 10 {
		t.Errorf("tables were taken %d times", taken)
	}
	kv := open()
	defer kv.Close()
	if !maps.EqualFunc(content(kv), model, bytes.Equal) {
		t.Error("another content than the map's after a restart")
	}
	names, err := mem.List("db")
	if left := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, tablePrefix) }); err != nil || left >= 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// keptTables is a Pebble database that outlives the one over it.
type keptTables struct{ *pebbleStore }

func (keptTables) Close() error { return nil }

// TestBulkCut cuts the power before each operation of the disk, in turn. What is left is the result of the first changes, and
// at least of those that were taken as tables or synced.
func TestBulkCut(t *testing.T) {
	every := 1
	if testing.Short() {
		every = 9
	}
	operations := cutBulk(t, 0)
	if operations < 60 {
		t.Fatalf("%d operations", operations)
	}
	for at := 1; at <= operations; at += every {
		cutBulk(t, at)
	}
}

// cutBulk cuts the power before an operation, 0: never. It returns how many there are.
func cutBulk(t *testing.T, at int) (operations int) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	var (
		mu   sync.Mutex
		left *vfs.MemFS
	)
	disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if operations++; operations == at {
			left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(at), 2))})
		}
		return nil
	}))
	kv, err := OpenPebble("db", PebbleOptions{FS: disk, MemTable: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	w := openOn(t, keptTables{kv.(*pebbleStore)}).Complete().Writer()
	w.sizes = smallBulks
	var list []change
	for range 12 {
		more, err := neighbours(rng, w)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, more...)
	}
	if err := errors.Join(w.Flush(), kv.Close()); err != nil {
		t.Fatal(err)
	}
	if at > 0 && left != nil {
		checkPrefix(t, at, left, list)
	}
	return operations
}

// checkPrefix checks that a disk has the result of the first changes, for some number of them.
func checkPrefix(t *testing.T, at int, left *vfs.MemFS, list []change) {
	t.Helper()
	kv, err := openOrPanicOn(left)
	if err != nil {
		if names, _ := left.List("db"); !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "marker.") }) || at < 40 {
			return // was being created
		}
		t.Fatalf("cut before operation %d: %v", at, err)
	}
	defer kv.Close()
	got, model := content(kv), make(map[string][]byte)
	for n := range len(list) + 1 {
		if maps.EqualFunc(got, model, bytes.Equal) {
			return
		}
		if n < len(list) {
			apply(model, list[n:n+1])
		}
	}
	t.Fatalf("cut before operation %d: %d entries, which are not the result of any first changes", at, len(got))
}

func openOrPanicOn(files vfs.FS) (kv ethdb.KeyValueStore, err error) {
	return openOrPanic(PebbleOptions{FS: files})
}

// TestBulkFails: a disk that fails at any of its operations fails the writer, and all later changes.
func TestBulkFails(t *testing.T) {
	for failAt := 1; failAt < 40; failAt++ {
		disk := &tabled{flaky: &flaky{Database: memorydb.New(), failAt: failAt}}
		w := openOn(t, disk).Complete().Writer()
		w.sizes = smallBulks
		rng, model := rand.New(rand.NewPCG(9, uint64(failAt))), make(map[string][]byte)
		var err error
		for range 60 {
			var list []change
			if list, err = neighbours(rng, w); err != nil {
				break
			}
			apply(model, list)
		}
		if err == nil {
			err = w.Flush()
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("write %d fails: %v", failAt, err)
		}
		before := len(content(disk))
		if _, err := neighbours(rng, w); !errors.Is(err, errDisk) || !errors.Is(w.Flush(), errDisk) || len(content(disk)) != before {
			t.Fatalf("a change after write %d failed: %v", failAt, err)
		}
		if failAt == 39 && disk.loaded == 0 {
			t.Error("no tables: this tests nothing")
		}
	}
}

// TestBulkLevels: runs of the size that the backfill writes go to the lowest level, whatever the order, and are written once. So does the
// storage of an account that comes in parts after that of accounts on both sides of it.
func TestBulkLevels(t *testing.T) {
	mem := vfs.NewMem()
	kv, err := OpenPebble("db", PebbleOptions{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	w := openOn(t, keptTables{kv.(*pebbleStore)}).Complete().Writer()
	w.sizes = bulkSizes{batch: 1 << 12, least: 1 << 14, most: 1 << 17, run: 1 << 12}
	rng, data := rand.New(rand.NewPCG(1, 1)), uint64(0)
	value := make([]byte, 100)
	put := func(owner common.Hash, i int) {
		for j := range value {
			value[j] = byte(rng.IntN(256))
		}
		path := fmt.Appendf(nil, "%06d", i)
		data += uint64(len(nodeKey(owner, path)) + len(value))
		if err := w.Put(owner, path, value); err != nil {
			t.Fatal(err)
		}
	}
	large := common.Hash{8, 0x80}
	w.Large(large)
	for _, part := range rng.Perm(16) {
		for i := range 1000 {
			put(common.Hash{}, part*1000+i)
			put(common.Hash{byte(part), byte(i >> 2), 1}, i)
		}
	}
	for i := range 16_000 {
		put(large, i)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	m := kv.(*pebbleStore).db.Metrics()
	if taken := m.Levels[6].TableBytesIngested; taken < data*8/10 || m.Total().TableBytesCompacted > data/10 {
		t.Errorf("%d bytes of data: %d taken at the lowest level, %d written by compactions\n%s", data, taken, m.Total().TableBytesCompacted, m)
	}
}
