// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ethereum/go-ethereum/ethdb"
)

// syncedLevelDB is a LevelDB database on disk whose SyncKeyValue syncs. go-ethereum's does nothing
// (v1.17.10, ethdb/leveldb), so that a power cut could take back what was to be durable: the phase, a head that
// peers and the consensus client were told, everything since the start.
type syncedLevelDB struct {
	ethdb.KeyValueStore
	path string
}

// SyncKeyValue makes all earlier writes durable. LevelDB hands each write to the operating system before it returns, in a log.
// When a log is full, its content goes to a table, which LevelDB syncs before it deletes the log. So it is enough to sync the logs
// that are there, and their names.
func (l syncedLevelDB) SyncKeyValue() error { return syncLogs(l.path, syncFile) }

func syncLogs(path string, sync func(path string) error) error {
	logs, err := filepath.Glob(filepath.Join(path, "*.log"))
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	for _, name := range append(logs, path) {
		if err := sync(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFile makes a file, or the names in a directory, durable. Some file systems cannot sync a directory, and say EINVAL.
func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	err = file.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, file.Close())
}
