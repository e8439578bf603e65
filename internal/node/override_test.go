// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/config"
)

// Activation times replace those of the network, also on a datadir that has it, but never change its genesis block.
func TestOverride(t *testing.T) {
	cfg, genesis := localConfig(t), pragueGenesis()
	check(t, Init(cfg, genesis, discard))
	again := *cfg
	again.Override = config.Override{Osaka: "1000"}
	n, err := New(&again, discard)
	check(t, err)
	chain := n.chain.Config()
	if *chain.OsakaTime != 1000 || n.chain.Genesis().Hash() != genesis.ToBlock().Hash() {
		t.Errorf("Osaka at %d, genesis %s", *chain.OsakaTime, n.chain.Genesis().Hash())
	}
	check(t, n.Close())

	hoodi := localConfig(t)
	hoodi.Network, hoodi.Override.Amsterdam = "hoodi", "4000000000"
	n, err = New(hoodi, discard)
	check(t, err)
	if at := n.chain.Config().AmsterdamTime; at == nil || *at != 4000000000 {
		t.Errorf("Amsterdam at %v", at)
	}
	check(t, n.Close())
	if knownNetwork("hoodi").genesis.Config.AmsterdamTime != nil && *knownNetwork("hoodi").genesis.Config.AmsterdamTime == 4000000000 {
		t.Error("go-ethereum's own configuration was written")
	}

	for says, override := range map[string]config.Override{"genesis file": {Osaka: "0"}, "fork ordering": {Osaka: "3000", Amsterdam: "2000"}} {
		bad := *cfg
		bad.Override = override
		if n, err := New(&bad, discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", override, err, says)
			if err == nil {
				check(t, n.Close())
			}
		}
	}
}
