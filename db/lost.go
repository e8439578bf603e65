// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// leveldbOptions are those of go-ethereum that concern the files.
func leveldbOptions() *opt.Options {
	return &opt.Options{Filter: filter.NewBloomFilter(10), DisableSeeksCompaction: true}
}

// repairTables collects what can be read of a LevelDB database with corrupt files, as its opening does when files are
// lost. Blocks of tables that cannot be read are dropped.
func repairTables(path string) error {
	open, err := leveldb.RecoverFile(path, leveldbOptions())
	if err != nil {
		return err
	}
	return open.Close()
}

// lostFiles opens a LevelDB database as go-ethereum does, closes it, and says which of its files are lost or corrupt;
// empty: none. go-ethereum's own opening repairs such a database silently: it collects what is left, without the lost
// keys and with older values of others, and afterwards nothing shows that. repair says that its opening would not do that,
// because a compaction in the background met the corrupt file: see repairTables.
func lostFiles(path string) (lost string, repair bool, err error) {
	switch entries, err := os.ReadDir(path); {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		return "", false, nil // a new database
	case err != nil:
		return "", false, err
	}
	open, err := leveldb.OpenFile(path, leveldbOptions())
	if err == nil {
		if err = open.Close(); !lerrors.IsCorrupted(err) {
			return "", false, err
		}
		return err.Error(), true, nil
	}
	if !lerrors.IsCorrupted(err) {
		return "", false, err
	}
	corrupted := new(lerrors.ErrCorrupted)
	missing := new(lerrors.ErrMissingFiles)
	if !errors.As(err, &corrupted) || !errors.As(corrupted.Err, &missing) {
		return err.Error(), false, nil
	}
	names := make([]string, len(missing.Fds))
	for i, fd := range missing.Fds {
		names[i] = fmt.Sprintf("%06d.ldb", fd.Num)
	}
	slices.Sort(names)
	if more := len(names) - 3; more > 0 {
		names = append(names[:3], fmt.Sprintf("and %d more", more))
	}
	return "missing " + strings.Join(names, ", "), false, nil
}
