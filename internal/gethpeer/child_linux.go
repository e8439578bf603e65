// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import "syscall"

// ChildAttributes keeps a terminal's interrupts from a child, which only we stop, and ends
// it if we are killed.
func ChildAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
