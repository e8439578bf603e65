// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/rawdb"
)

// completeWith is a datadir in memory with some entries, and the codes of a world.
func completeWith(t *testing.T, w *stateWorld, entries map[string][]byte) *DB {
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
	w := newStateWorld(3)
	older, v := w.change(15), w.change(15)
	report, err := completeWith(t, w, v.entries).VerifyState(t.Context(), nil)
	if err != nil || !report.Complete() || report.Root != v.root {
		t.Fatalf("a complete state: %v, %v", report, err)
	}
	if report.AccountNodes+report.StorageNodes != len(v.entries) || report.StorageNodes == 0 || report.Codes == 0 {
		t.Errorf("%d nodes on disk: %v", len(v.entries), report)
	}
	if n := len(v.leaves[[32]byte{}]); report.Accounts != n {
		t.Errorf("%d accounts: %v", n, report)
	}
	flawed := func(what, key string, change func(*DB) error) {
		t.Helper()
		d := completeWith(t, w, v.entries)
		if err := change(d); err != nil {
			t.Fatal(err)
		}
		if report, err := d.VerifyState(t.Context(), nil); err != nil || report.Complete() {
			t.Errorf("%s %x: %v, %v", what, key, report, err)
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
	flat := v.flat()
	flawedFlat := func(what, key string, change func(*DB) error) {
		t.Helper()
		flawed(what, key, func(d *DB) error {
			d.chain.flat.Store(true)
			for key, value := range flat {
				if err := d.chain.disk.Put([]byte(key), value); err != nil {
					return err
				}
			}
			return change(d)
		})
	}
	whole := completeWith(t, w, v.entries)
	whole.chain.flat.Store(true)
	for key, value := range flat {
		if err := whole.chain.disk.Put([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	if report, err := whole.VerifyState(t.Context(), nil); err != nil || !report.Complete() || !report.Flat {
		t.Fatalf("with flat state: %v, %v", report, err)
	}
	for i, key := range slices.Sorted(maps.Keys(flat)) {
		if i%4 > 0 && i+1 < len(flat) { // each of them takes a database of its own
			continue
		}
		value := flat[key]
		flawedFlat("missing", key, func(d *DB) error { return d.chain.disk.Delete([]byte(key)) })
		flawedFlat("changed", key, func(d *DB) error { return d.chain.disk.Put([]byte(key), append(value, 1)) })
		beside := []byte(key)
		for _, at := range []int{1, len(key) - 1} { // of another account or in another place
			beside[at] ^= 0x55
			if flat[string(beside)] == nil {
				flawedFlat("too much", string(beside), func(d *DB) error { return d.chain.disk.Put(beside, value) })
			}
		}
	}
	missing := 0
	for hash := range w.codes {
		d := completeWith(t, w, v.entries)
		rawdb.DeleteCode(d.chain.disk, hash)
		switch report, err := d.VerifyState(t.Context(), nil); {
		case err != nil:
			t.Error(err)
		case !report.Complete():
			missing++
			if !strings.Contains(report.Flaw, "code") {
				t.Error(report)
			}
		}
	}
	if missing != report.Codes { // the others were of earlier versions
		t.Errorf("%d of %d codes are missed", missing, report.Codes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := completeWith(t, w, v.entries).VerifyState(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if report, err := completeWith(t, w, nil).VerifyState(t.Context(), nil); err != nil || report.Complete() {
		t.Errorf("nothing: %v, %v", report, err)
	}
}
