// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/config"
)

// TestTornFiles leaves each small file of a datadir with its first bytes only, as a power cut may. The next start makes
// it again and warns, or an error names a file that the configuration names.
func TestTornFiles(t *testing.T) {
	cfg, genesis := localConfig(t), pragueGenesis()
	check(t, Init(cfg, genesis, discard))
	start(t, cfg).stop(t)

	for name, set := range map[string]func(*config.Config, string){
		"nodekey":      func(c *config.Config, path string) { c.P2P.NodeKey = path },
		"jwtsecret":    func(c *config.Config, path string) { c.Engine.JWTSecret = path },
		"genesis.json": func(c *config.Config, path string) { c.Genesis = path },
	} {
		path := filepath.Join(cfg.InstanceDir(), name)
		whole, err := os.ReadFile(path)
		check(t, err)
		for _, left := range []int{0, 1, len(whole) - 1} {
			check(t, os.WriteFile(path, whole[:left], 0o600))
			named := *cfg
			set(&named, path)
			if err := runUntilReady(t, &named, discard); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%d bytes of %s, named by the configuration: %v", left, name, err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole[:left]) {
				t.Errorf("%s of the configuration was written: %q, error %v", name, got, err)
			}

			var log bytes.Buffer
			if err := runUntilReady(t, cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatalf("%d bytes of %s: %v", left, name, err)
			}
			warnings := strings.Count(log.String(), "level=WARN") - strings.Count(log.String(), "Made a JWT secret: start") // of any new secret
			if warnings != 1 || !strings.Contains(log.String(), "file="+path) {
				t.Errorf("%d bytes of %s: log %s", left, name, log.String())
			}
			made, err := os.ReadFile(path)
			check(t, err)
			if name == "genesis.json" {
				again, err := config.ReadGenesis(path)
				check(t, err)
				if again.ToBlock().Hash() != genesis.ToBlock().Hash() {
					t.Errorf("%d bytes of %s: made %s", left, name, made)
				}
			} else if len(made) != len(whole) || bytes.Equal(made, whole) {
				t.Errorf("%d bytes of %s: made %q", left, name, made)
			}
			if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, error %v", name, stat.Mode(), err)
			}
		}
	}
}

// runUntilReady runs a node until its endpoints are open, and returns why that fails.
func runUntilReady(t *testing.T, cfg *config.Config, log *slog.Logger) error {
	n, err := New(cfg, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case <-n.rpc.Ready():
		cancel()
		return <-ended
	case err := <-ended:
		return err
	}
}

// TestNoChainID: as in geth, such a genesis is accepted, and a node on it needs a network ID.
func TestNoChainID(t *testing.T) {
	cfg, genesis := localConfig(t), pragueGenesis()
	genesis.Config.ChainID = nil
	check(t, Init(cfg, genesis, discard))
	if n, err := New(cfg, discard); err == nil || !strings.Contains(err.Error(), "--networkid") {
		t.Errorf("without --networkid: %v", err)
		if err == nil {
			check(t, n.Close())
		}
	}
	cfg.NetworkID = 5
	n := start(t, cfg)
	if n.networkID() != 5 || n.chain.Genesis().Hash() != genesis.ToBlock().Hash() {
		t.Errorf("network %d, genesis %s", n.networkID(), n.chain.Genesis().Hash())
	}
	n.stop(t)
}
