// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import "syscall"

// childAttributes keeps a terminal's interrupts from geth, which only we stop, and ends
// geth if we are killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
