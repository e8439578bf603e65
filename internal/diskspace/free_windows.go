// SPDX-License-Identifier: LGPL-3.0-or-later

package diskspace

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// Free returns the bytes that the user of the process may still write to the volume of a path.
func Free(path string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	return free, nil
}
