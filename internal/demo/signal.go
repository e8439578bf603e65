// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import "os"

// Signal sends the node a signal. Wait tells how it ended then.
func (n *Node) Signal(sig os.Signal) error { return n.cmd.Process.Signal(sig) }
