// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Lock keeps other processes from a data directory until the function that it returns is called. The error is
// [ErrInUse] if a process has it open, and wraps fs.ErrNotExist if there is no such directory.
func Lock(dir string) (unlock func() error, err error) {
	root := filepath.Join(dir, "geth")
	if _, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("%s is no data directory: %w", dir, err)
	}
	lock, err := lockRoot(dir, root)
	if err != nil {
		return nil, err
	}
	return lock.Unlock, nil
}

func lockRoot(dir, root string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(root, "LOCK"))
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	case !locked:
		return nil, fmt.Errorf("%s: %w by another process", dir, ErrInUse)
	}
	return lock, nil
}
