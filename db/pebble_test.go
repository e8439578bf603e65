// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/dbtest"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	gethpebble "github.com/ethereum/go-ethereum/ethdb/pebble"
	gethmetrics "github.com/ethereum/go-ethereum/metrics"
)

// TestPebbleConforms runs go-ethereum's tests of a key-value database.
func TestPebbleConforms(t *testing.T) {
	dbtest.TestDatabaseSuite(t, func() ethdb.KeyValueStore {
		kv, err := OpenPebble("", PebbleOptions{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		return kv
	})
}

// TestPebbleAndGeth changes a database with ours and with go-ethereum's code in turns. Both see what a map has.
func TestPebbleAndGeth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chaindata")
	model := memorydb.New()
	rng := rand.New(rand.NewPCG(1, 1))
	key := func() []byte { return fmt.Appendf(nil, "%c%03d", 'a'+rng.IntN(3), rng.IntN(300)) }
	turns, batches := 8, 20
	if testing.Short() {
		turns, batches = 4, 5
	}
	for turn := range turns {
		kv, err := gethOrOurs(path, turn%2 == 0)
		if err != nil {
			t.Fatalf("turn %d: %v", turn, err)
		}
		for range batches {
			change, same := kv.NewBatch(), model.NewBatch()
			for range 60 {
				k, v := key(), bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(900))
				for _, b := range []ethdb.Batch{change, same} {
					var err error
					switch {
					case len(v)%7 == 0:
						err = b.Delete(k)
					case len(v)%101 == 0:
						err = b.DeleteRange(k, append(k, 'x'))
					default:
						err = b.Put(k, v)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := errors.Join(change.Write(), same.Write()); err != nil {
				t.Fatal(err)
			}
		}
		for _, prefix := range []string{"", "a", "b1", "c", "d"} {
			for _, start := range []string{"", "1", "299"} {
				if have, want := contentOf(kv, prefix, start), contentOf(model, prefix, start); have != want {
					t.Fatalf("turn %d: keys from %q of %q differ", turn, start, prefix)
				}
			}
		}
		if err := errors.Join(kv.SyncKeyValue(), kv.Compact(nil, nil), kv.Close(), kv.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func gethOrOurs(path string, ours bool) (ethdb.KeyValueStore, error) {
	if ours {
		return OpenPebble(path, PebbleOptions{})
	}
	return gethpebble.New(path, 16, 16, "", false)
}

func contentOf(kv ethdb.Iteratee, prefix, start string) string {
	it := kv.NewIterator(append([]byte(nil), prefix...), append([]byte(nil), start...)) // nil where empty
	defer it.Release()
	var all strings.Builder
	for it.Next() {
		fmt.Fprintf(&all, "%s %x\n", it.Key(), it.Value())
	}
	return all.String()
}

// TestPebbleOnBrokenDisk: the k-th operation that writes fails, and all after it, for every k. The first error is told, all writes after it fail, nothing
// waits for ever, and what was synced before is there when the database is opened again.
func TestPebbleOnBrokenDisk(t *testing.T) {
	operations, step := 0, 1
	if testing.Short() {
		step = 4
	}
	for k := 1; k == 1 || k <= operations; k += step {
		mem := vfs.NewCrashableMem()
		var mu sync.Mutex
		done := 0
		disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if done++; done >= k && k > 1 {
				return errDisk
			}
			return nil
		}))
		synced, err := fillPebble(t, disk)
		if k == 1 {
			if err != nil {
				t.Fatal(err)
			}
			operations = done
			continue
		}
		kv, openErr := OpenPebble("db", PebbleOptions{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
		if openErr != nil {
			if synced == 0 {
				continue // was being created
			}
			t.Fatalf("write %d of %d failed (%v): %v", k, operations, err, openErr)
		}
		for i := range synced {
			if has, err := kv.Has(fmt.Appendf(nil, "key %d", i)); err != nil || !has {
				t.Fatalf("write %d of %d failed: key %d of %d that were synced is lost: %v", k, operations, i, synced, err)
			}
		}
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if operations < 30 {
		t.Fatalf("%d operations", operations)
	}
}

// fillPebble writes until the disk fails. It returns how many keys were synced.
func fillPebble(t *testing.T, disk vfs.FS) (synced int, err error) {
	t.Helper()
	told := make(chan error, 16)
	kv, err := openOrPanic(PebbleOptions{FS: disk, MemTable: 64 << 10, Failed: func(err error) { told <- err }})
	if err != nil {
		return 0, err
	}
	for i := range 160 {
		batch := kv.NewBatch()
		err = errors.Join(batch.Put(fmt.Appendf(nil, "key %d", i), bytes.Repeat([]byte{byte(i)}, 2000)), batch.Write())
		if err == nil && i%20 == 19 {
			if err = kv.SyncKeyValue(); err == nil {
				synced = i + 1
			}
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		first := <-told
		if again := kv.Put([]byte("key"), nil); !errors.Is(again, first) {
			t.Errorf("a write after %v: %v", first, again)
		}
	}
	return synced, errors.Join(err, kv.Close())
}

// openOrPanic returns an error where Pebble panics in its caller while it opens a database. Package db recovers from that too.
func openOrPanic(opts PebbleOptions) (kv ethdb.KeyValueStore, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	return OpenPebble("db", opts)
}

// TestCorruptPebble: a compaction meets a corrupt table, with nobody who reads it. Run ends with an error that names the database, the file and what to
// do, and nothing is written after that.
func TestCorruptPebble(t *testing.T) {
	mem := vfs.NewMem()
	open := func(failed func(error)) ethdb.KeyValueStore {
		kv, err := OpenPebble("db", PebbleOptions{FS: mem, MemTable: 64 << 10, Failed: failed})
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	kv := open(nil)
	for i := range 200 {
		if err := kv.Put(fmt.Appendf(nil, "key %d", i), bytes.Repeat([]byte{byte(i)}, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(kv.Compact(nil, nil), kv.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		file, err := mem.OpenReadWrite("db/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(bytes.Repeat([]byte{0x5a}, 64), 100); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	health := newFailure()
	d := &DB{health: health}
	kv = open(func(err error) { _ = health.report("/datadir/chaindata", err) })
	disk := &disk{KeyValueStore: kv, path: "/datadir/chaindata", health: health}
	batch := disk.NewBatch()
	for i := range 200 {
		if err := batch.Put(fmt.Appendf(nil, "key %d", i), []byte("new")); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Write(); err != nil {
		t.Fatal(err)
	}
	if err := kv.Compact(nil, nil); err == nil {
		t.Error("corrupt tables were compacted")
	}
	err = d.Run(t.Context())
	for _, part := range []string{"/datadir/chaindata", ".sst", "corrupt", "remove the database"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: want %q", err, part)
		}
	}
	if err := kv.Put([]byte("key"), nil); err == nil {
		t.Error("a write after that succeeded")
	}
	if err := disk.NewBatch().Write(); err == nil {
		t.Error("a batch after that was written")
	}
	if err := kv.Close(); err != nil {
		t.Error(err)
	}
	if _, err := kv.Get([]byte("key")); !errors.Is(err, pebble.ErrClosed) {
		t.Errorf("read after closing: %v", err)
	}
}

// TestPebbleMeters: a database has the meters that it has in geth.
func TestPebbleMeters(t *testing.T) {
	gethmetrics.Enable()
	names := func(ours bool, namespace string) (found []string) {
		path := filepath.Join(t.TempDir(), "db")
		var kv ethdb.KeyValueStore
		var err error
		if ours {
			kv, err = OpenPebble(path, PebbleOptions{Namespace: namespace})
		} else {
			kv, err = gethpebble.New(path, 16, 16, namespace, false)
		}
		if err == nil {
			err = kv.Close() // both set them once before they end
		}
		if err != nil {
			t.Fatal(err)
		}
		gethmetrics.DefaultRegistry.Each(func(name string, metric any) {
			if rest, of := strings.CutPrefix(name, namespace); of {
				found = append(found, fmt.Sprintf("%s %T", rest, metric))
			}
		})
		return found
	}
	have := strings.Join(names(true, "ours/"), "\n")
	for _, want := range names(false, "geths/") {
		if !strings.Contains("\n"+have+"\n", "\n"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
