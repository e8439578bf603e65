// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build !linux

package gethpeer

import "syscall"

// ChildAttributes keeps a terminal's interrupts from a child, which only we stop.
func ChildAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
