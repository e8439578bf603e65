// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build !windows

package diskspace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Free returns the bytes that a process without privileges may still write to the file system of a path.
func Free(path string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", path, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}
