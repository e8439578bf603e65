// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

// TestRPCCompat runs all recorded exchanges of execution-apis' suite against a whole node, over HTTP, as hive does: the chain is imported, and its
// head is chosen through the Engine API.
func TestRPCCompat(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "rpc-compat")
	genesis, err := config.ReadGenesis(filepath.Join(dir, "genesis.json"))
	check(t, err)
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{filepath.Join(dir, "chain.rlp")}, discard))
	cfg.HTTP.Enabled, cfg.HTTP.Addr, cfg.HTTP.Port = true, "127.0.0.1", 0
	cfg.HTTP.API = []string{"eth", "debug", "net", "txpool", "testing", "web3"}
	n := start(t, cfg)

	encoded, err := os.ReadFile(filepath.Join(dir, "headfcu.json"))
	check(t, err)
	var choice struct {
		Method string
		Params []json.RawMessage
	}
	check(t, json.Unmarshal(encoded, &choice))
	var chosen engine.ForkChoiceResponse
	consensus := n.rpc.EngineClient()
	defer consensus.Close()
	check(t, consensus.CallContext(t.Context(), &chosen, choice.Method, choice.Params[0], choice.Params[1]))
	if chosen.PayloadStatus.Status != engine.VALID {
		t.Fatalf("the head is %+v", chosen.PayloadStatus)
	}

	// The first blobs of a process wait for tables to be computed: with the race detector longer than a request may take.
	_, err = kzg4844.ComputeCells([]kzg4844.Blob{{}})
	check(t, err)
	client, err := gethrpc.Dial("http://" + n.rpc.Addrs().HTTP)
	check(t, err)
	defer client.Close()
	folders, err := os.ReadDir(dir)
	check(t, err)
	files := make(map[string]bool)
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		exchanges, err := realdata.Exchanges(filepath.Join(dir, folder.Name()))
		check(t, err)
		for _, e := range exchanges {
			files[e.File] = true
			if err := e.Check(t.Context(), client); err != nil {
				t.Error(err)
			}
		}
	}
	if len(files) != 182 {
		t.Errorf("%d cases, want 182", len(files))
	}
	n.stop(t)
}
