// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/sunbeam-eth/sunbeam/db"
)

// verify traverses the state in a datadir that nobody uses.
func verify(ctx context.Context, dir string) (verdict db.StateReport, err error) {
	d, err := db.Open(dir, db.Options{CacheMB: 64, Handles: 256, ReadOnly: true})
	if err != nil {
		return verdict, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.VerifyState(ctx, nil)
}

// sizeOfDir is what the files in a directory take, ancients included.
func sizeOfDir(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what is gone takes no room
		}
		if file, err := entry.Info(); err == nil && !file.IsDir() {
			bytes += file.Size()
		}
		return nil
	})
	return bytes
}
