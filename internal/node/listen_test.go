// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/config"
)

// TestEndpointsInUse: an address that cannot be listened on names its flag, before the datadir is made and after.
func TestEndpointsInUse(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	everywhere, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ":0")
	check(t, err)
	defer everywhere.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	for name, set := range map[string]func(*config.Config){
		"--authrpc.port": func(c *config.Config) { c.Engine.Port = port },
		"--http.port":    func(c *config.Config) { c.HTTP.Enabled, c.HTTP.Addr, c.HTTP.Port = true, "127.0.0.1", port },
		"--ws.port":      func(c *config.Config) { c.WS.Enabled, c.WS.Addr, c.WS.Port = true, "127.0.0.1", port },
		"--metrics.port": func(c *config.Config) { c.Metrics.Enabled, c.Metrics.Port = true, port },
		"--page.port":    func(c *config.Config) { c.Page.Enabled, c.Page.Port = true, port },
		"--port":         func(c *config.Config) { c.P2P.Port = uint16(everywhere.Addr().(*net.TCPAddr).Port) },
		"--http.addr":    func(c *config.Config) { c.HTTP.Enabled, c.HTTP.Addr, c.HTTP.Port = true, "192.0.2.1", 0 }, // RFC 5737
	} {
		cfg := localConfig(t)
		cfg.DataDir = filepath.Join(t.TempDir(), "none")
		set(cfg)
		if _, err := New(cfg, discard); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s, new datadir: %v", name, err)
		}
		if _, err := os.Stat(cfg.DataDir); err == nil {
			t.Errorf("%s: a datadir was made", name)
		}
		check(t, os.MkdirAll(cfg.InstanceDir(), 0o700))
		n, err := New(withGenesis(t, cfg, pragueGenesis()), discard)
		check(t, err)
		if err := n.Run(context.WithoutCancel(t.Context())); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
