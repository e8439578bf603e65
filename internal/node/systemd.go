// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// pulseLost is how long a main loop may take for one turn: far longer than a slow disk or a busy machine needs.
const pulseLost = 2 * time.Minute

// stalled says which of the loops that all work goes through does not turn any more; empty: they do. It waits for
// nothing.
func (n *Node) stalled() string {
	for name, last := range map[string]time.Time{"import of blocks": n.importer.Pulse(), "fetching of state": n.fetcher.Pulse()} {
		if since := time.Since(last); since > pulseLost {
			return fmt.Sprintf("%s: no progress for %v", name, since.Round(time.Second))
		}
	}
	return ""
}

// notifySystemd tells systemd that the node is ready once its endpoints are open, that it lives as long as its main loops
// turn, and that it stops. Without NOTIFY_SOCKET it does nothing (sd_notify(3)).
func (n *Node) notifySystemd(ctx context.Context) error {
	if !n.waitStarted(ctx) {
		return nil
	}
	if told, err := daemon.SdNotify(false, daemon.SdNotifyReady); !told {
		if err != nil {
			n.log.Warn("systemd is not reached", "err", err)
		}
		return nil
	}
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }() // systemd sees the end anyway
	timeout, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("systemd is not reached", "err", err)
	}
	if timeout <= 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(timeout / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if n.stalled() == "" {
				_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) // the next one may arrive
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// waitStarted waits until all servers listen; false: ctx has ended before.
func (n *Node) waitStarted(ctx context.Context) bool {
	for _, ready := range []<-chan struct{}{n.host.Started(), n.rpc.Ready()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
