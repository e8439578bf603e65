// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer_test

import (
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

// What asks for node data gets a whole state from a geth v1.10.26, and says what is wrong if it does not.
func TestGetNodeData(t *testing.T) {
	binary, err := gethpeer.OldBinary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := *params.MergedTestChainConfig
	config.ShanghaiTime, config.CancunTime, config.PragueTime, config.OsakaTime, config.BlobScheduleConfig = nil, nil, nil, nil, nil
	slots := map[common.Hash]common.Hash{{1}: {1}, {2}: {2}, {3}: {3}}
	genesis := &core.Genesis{
		Config: &config, GasLimit: 30_000_000, Difficulty: new(big.Int),
		Alloc: types.GenesisAlloc{
			{1}: {Balance: big.NewInt(1)}, {2}: {Balance: big.NewInt(2)},
			{3}: {Balance: new(big.Int), Code: []byte{1}, Storage: slots},
			{4}: {Balance: new(big.Int), Code: []byte{1}, Storage: slots}, // the same nodes and code in two places
		},
	}
	start := func(name string, genesis *core.Genesis) (p *gethpeer.Process, file string) {
		dir := filepath.Join(t.TempDir(), name)
		p, err := gethpeer.Start(t.Context(), gethpeer.Config{
			Binary: binary, Old: true, Dir: dir, Genesis: genesis, CacheMB: 64, NetworkID: genesis.Config.ChainID.Uint64(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		return p, filepath.Join(dir, "genesis.json")
	}
	geth, file := start("geth", genesis)

	got, err := gethpeer.GetNodeData(t.Context(), geth.Enode(), file, genesis.ToBlock().Root(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(got)
	if got.Head != genesis.ToBlock().Hash() || got.Codes != 1 || got.Missing != 0 || got.Accounts != 4 || got.Slots != 6 {
		t.Errorf("%+v", got)
	}
	got, err = gethpeer.GetNodeData(t.Context(), geth.Enode(), file, common.Hash{1}, time.Minute)
	if err != nil || got.Nodes != 0 || got.Missing != 1 {
		t.Errorf("of an unknown root: %+v, %v", got, err)
	}

	other := *genesis
	other.ExtraData = []byte("another")
	foreign, otherFile := start("foreign", &other)
	for name, test := range map[string]struct{ enode, file, want string }{
		"another chain": {foreign.Enode(), file, "handshake"}, // whoever sees it first hangs up
		"no peer":       {geth.EnodeAt("127.0.0.1:1"), file, "no connection"},
		"no enode":      {"127.0.0.1:1", file, "--enode"},
		"no file":       {geth.Enode(), otherFile + ".not", "--genesis"},
	} {
		if _, err := gethpeer.GetNodeData(t.Context(), test.enode, test.file, genesis.ToBlock().Root(), 3*time.Second); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
