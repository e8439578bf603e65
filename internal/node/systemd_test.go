// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestSystemd plays systemd: the node says that it is ready, that it lives while it does, and that it stops.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(t, err)
	defer socket.Close()
	check(t, socket.SetReadDeadline(time.Now().Add(time.Minute)))
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	hear := func(want string) {
		t.Helper()
		buffer := make([]byte, 256)
		for { // WATCHDOG=1 may come any number of times
			length, err := socket.Read(buffer)
			check(t, err)
			switch got := string(buffer[:length]); got {
			case want:
				return
			case "WATCHDOG=1":
			default:
				t.Fatalf("systemd hears %q, want %q", got, want)
			}
		}
	}
	n := start(t, withGenesis(t, localConfig(t), pragueGenesis()))
	hear("READY=1")
	hear("WATCHDOG=1")
	if reason := n.health().Live; reason != "" {
		t.Errorf("not alive: %s", reason)
	}
	n.stop(t)
	hear("STOPPING=1")
}
