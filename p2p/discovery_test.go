// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build !race

package p2p

import (
	"testing"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Not under the race detector: go-ethereum's node table adds its bootnodes in one goroutine while its loop
// reads the times of revalidation in another, without the table's lock (discover.Table.loadSeedNodes and
// tableRevalidation.run), so the detector would fail this test now and then. "make test" runs it without.

// TestDiscovery: a host finds another through a bootnode, by discovery alone.
func TestDiscovery(t *testing.T) {
	chain := newTestChain(t)
	bootCfg, _, _ := hostConfig(t, chain)
	bootCfg.NoDiscovery, bootCfg.MaxPeers = false, 8
	boot, _ := startHost(t, bootCfg)
	cfg, joined, _ := hostConfig(t, chain)
	cfg.NoDiscovery, cfg.Bootnodes = false, []*enode.Node{boot.Self()}
	startHost(t, cfg)
	p := receive(t, "peer found by discovery", joined)
	equal(t, "peer", p.ID(), boot.Self().ID().String())
}
