package db

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/rawdb"
)

// solidWith is a datadir in memory with some entries, and the codes of a world.
func solidWith(t *testing.T, w *world, entries map[string][]byte) *DB {
	t.Helper()
	d, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for key, blob := range entries {
		if err := d.chain.disk.Put([]byte(key), blob); err != nil {
			t.Fatal(err)
		}
	}
	for hash, code := range w.codes {
		rawdb.WriteCode(d.chain.disk, hash, code)
	}
	return d
}

// A complete state is found to be one, and each single node that is missing, changed, or too much
// is found.
func TestVerifyState(t *testing.T) {
	w := newWorld(3)
	older, v := w.change(15), w.change(15)
	verdict, err := solidWith(t, w, v.entries).VerifyState(t.Context())
	if err != nil || !verdict.Complete() || verdict.Root != v.root {
		t.Fatalf("a complete state: %v, %v", verdict, err)
	}
	if verdict.AccountNodes+verdict.StorageNodes != len(v.entries) || verdict.StorageNodes == 0 || verdict.Codes == 0 {
		t.Errorf("%d nodes on disk: %v", len(v.entries), verdict)
	}
	if n := len(v.leaves[[32]byte{}]); verdict.Accounts != n {
		t.Errorf("%d accounts: %v", n, verdict)
	}
	flawed := func(what, key string, change func(*DB) error) {
		t.Helper()
		d := solidWith(t, w, v.entries)
		if err := change(d); err != nil {
			t.Fatal(err)
		}
		if verdict, err := d.VerifyState(t.Context()); err != nil || verdict.Complete() {
			t.Errorf("%s %x: %v, %v", what, key, verdict, err)
		}
	}
	for key, blob := range v.entries {
		flawed("missing", key, func(d *DB) error { return d.chain.disk.Delete([]byte(key)) })
		if key != string(rawdb.TrieNodeAccountPrefix) { // another root is another state
			wrong := bytes.Clone(blob)
			wrong[len(wrong)-1] ^= 1
			flawed("changed", key, func(d *DB) error { return d.chain.disk.Put([]byte(key), wrong) })
		}
	}
	tooMuch := 0
	for key, blob := range older.entries {
		if v.entries[key] == nil {
			tooMuch++
			flawed("too much", key, func(d *DB) error { return d.chain.disk.Put([]byte(key), blob) })
		}
	}
	if tooMuch == 0 {
		t.Error("nothing to dangle")
	}
	missing := 0
	for hash := range w.codes {
		d := solidWith(t, w, v.entries)
		rawdb.DeleteCode(d.chain.disk, hash)
		switch verdict, err := d.VerifyState(t.Context()); {
		case err != nil:
			t.Error(err)
		case !verdict.Complete():
			missing++
			if !strings.Contains(verdict.Flaw, "code") {
				t.Error(verdict)
			}
		}
	}
	if missing != verdict.Codes { // the others were of earlier versions
		t.Errorf("%d of %d codes are missed", missing, verdict.Codes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := solidWith(t, w, v.entries).VerifyState(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if verdict, err := solidWith(t, w, nil).VerifyState(t.Context()); err != nil || verdict.Complete() {
		t.Errorf("nothing: %v, %v", verdict, err)
	}
}
