// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build e2e

package e2e_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/rpcdiff"
)

const (
	diffCalls  = 5000
	diffStates = 100 // of the newest blocks, which both nodes have after an import
)

// TestDifferential sends generated calls of whole namespaces to a node and to a geth that have imported the same chain.
// The short test of package rpc does so over a chain with a reorganisation.
func TestDifferential(t *testing.T) {
	r := unpack(t, "osaka3000.tar.gz")
	genesis, err := gethpeer.ReadGenesis(r.file("genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	path, secret := secretFile(t)
	geth := startGeth(t, gethpeer.Config{Genesis: genesis, Chain: r.file("chain.rlp"), JWTSecret: secret})
	dir := filepath.Join(t.TempDir(), "sunbeam")
	out, err := exec.CommandContext(t.Context(), binary, "--datadir", dir, "--override.genesis", r.file("genesis.json"), "import", r.file("chain.rlp")).CombinedOutput()
	if err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	n := startNode(t, demo.NodeConfig{
		Dir: dir, Genesis: r.file("genesis.json"), JWTFile: path, Secret: secret, Args: []string{"--rpc.evmtimeout", "10m", "--rpc.tracetimeout", "10m"},
	})
	ours, err := gethrpc.DialContext(t.Context(), n.IPC)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	world, err := rpcdiff.Explore(t.Context(), geth.RPC(), diffStates)
	if err != nil {
		t.Fatal(err)
	}
	world.Pending = true
	report, err := rpcdiff.Run(t.Context(), ours, geth.RPC(), rpcdiff.NewGenerator(world, 1), diffCalls)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d calls of %d methods, %d errors; allowed differences: %v", report.Calls, len(report.Methods), report.Errors, report.Allowed)
	for i, d := range report.Differences {
		if i < 20 {
			t.Error(d)
		}
	}
	stop(t, n)
}
