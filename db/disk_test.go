// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/ethdb/pebble"
)

// A key that comes and goes under its readers, as the index of a transaction does in
// reorgs, is not a broken database.
func TestLookupOfKeysThatComeAndGo(t *testing.T) {
	engines := map[string]func(dir string) (ethdb.KeyValueStore, error){
		"memory":  func(string) (ethdb.KeyValueStore, error) { return memorydb.New(), nil },
		"leveldb": func(dir string) (ethdb.KeyValueStore, error) { return leveldb.New(dir, 16, 16, "", false) },
		"pebble":  func(dir string) (ethdb.KeyValueStore, error) { return pebble.New(dir, 16, 16, "", false) },
	}
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			store, err := open(filepath.Join(t.TempDir(), name))
			if err != nil {
				t.Fatal(err)
			}
			d := &disk{KeyValueStore: store, path: name, health: newFailure()}
			defer d.Close()
			key, value := []byte("key"), []byte("value")
			var readers sync.WaitGroup
			for range 4 {
				readers.Go(func() {
					for range 20_000 {
						if got, err := d.lookup(key); err != nil || got != nil && string(got) != string(value) {
							t.Errorf("%q, %v", got, err)
							return
						}
					}
				})
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				readers.Wait()
			}()
			for range 1_000_000 {
				select {
				case <-done:
					return
				default:
				}
				if err := store.Put(key, value); err != nil {
					t.Fatal(err)
				}
				if err := store.Delete(key); err != nil {
					t.Fatal(err)
				}
			}
			<-done
		})
	}
}

// unsynced is a disk that takes everything and keeps nothing for certain.
type unsynced struct{ *memorydb.Database }

func (unsynced) SyncKeyValue() error { return errDisk }

// A disk that cannot be synced is broken: what was to be certain, as that the node is a full one, is not.
func TestFailedSync(t *testing.T) {
	d := openOn(t, unsynced{memorydb.New()})
	if err := d.MarkFull(); !errors.Is(err, errDisk) {
		t.Fatalf("mark: %v", err)
	}
	if err := d.Run(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("run: %v", err)
	}
	if err := d.UnmarkFull(); !errors.Is(err, errDisk) {
		t.Errorf("a write after that: %v", err)
	}
	if err := d.Close(); !errors.Is(err, errDisk) {
		t.Errorf("close: %v", err)
	}
}
