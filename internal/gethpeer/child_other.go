// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build !linux

package gethpeer

import "syscall"

// childAttributes keeps a terminal's interrupts from geth, which only we stop.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
