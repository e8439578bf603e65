// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"
)

// TestSyncLevelDB: what is to be durable is in the files that are synced, before the directory is.
func TestSyncLevelDB(t *testing.T) {
	path := t.TempDir()
	kv, err := openEngine(path, "", Options{Engine: LevelDB}, 1, newFailure())
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	if err := kv.Put([]byte("key"), []byte("a value that must not be lost")); err != nil {
		t.Fatal(err)
	}
	var order []string
	found := false
	if err := syncLogs(path, func(name string) error {
		order = append(order, name)
		content, err := os.ReadFile(name)
		found = found || err == nil && bytes.Contains(content, []byte("a value that must not be lost"))
		return syncFile(name)
	}); err != nil {
		t.Fatal(err)
	}
	if !found || len(order) < 2 || order[len(order)-1] != path {
		t.Errorf("synced %v, the value in it: %v", order, found)
	}
	if _, ok := kv.(syncedLevelDB); !ok {
		t.Errorf("%T does not sync", kv)
	}
	if err := kv.SyncKeyValue(); err != nil {
		t.Error(err)
	}
	// A log whose content has gone to a table meanwhile is no error; a disk that cannot sync is.
	if err := syncLogs(path, func(string) error { return fs.ErrNotExist }); err != nil {
		t.Error(err)
	}
	if err := syncLogs(path, func(string) error { return errDisk }); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}
