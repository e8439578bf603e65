// SPDX-License-Identifier: LGPL-3.0-or-later

package db_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/powercut"
)

// TestCutWhileCreating cuts the power before each operation of the creation of a datadir, with several outcomes for what was not synced.
// The next start opens it, or says which directory to remove; it never takes one engine's files for the other's.
func TestCutWhileCreating(t *testing.T) {
	for _, engine := range []string{db.LevelDB, db.Pebble} {
		opened, refused := 0, 0
		for seed := range uint64(4) {
			root := t.TempDir()
			disk := powercut.New(root, engine == db.Pebble, seed)
			var left []string
			disk.Before(func() {
				left = append(left, filepath.Join(t.TempDir(), strconv.Itoa(len(left))))
				if err := disk.Cut(left[len(left)-1]); err != nil {
					t.Error(err)
				}
			})
			d, err := db.Open(root, db.Options{Engine: engine, OpenKeyValue: disk.Open})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			disk.Before(nil)
			for i, dir := range left {
				d, err := db.Open(dir, db.Options{Engine: engine})
				switch {
				case err == nil:
					opened++
					err = d.Close()
				case strings.Contains(err.Error(), "remove "+dir):
					refused++
					t.Logf("%s, seed %d, cut %d: %v", engine, seed, i, err)
					err = nil
				}
				if err != nil {
					t.Errorf("%s, seed %d, cut %d of %d: %v", engine, seed, i, len(left), err)
				}
			}
		}
		t.Logf("%s: %d opened, %d refused", engine, opened, refused)
		if opened < 40 || refused > opened/10 {
			t.Errorf("%s: %d opened, %d refused", engine, opened, refused)
		}
	}
}
