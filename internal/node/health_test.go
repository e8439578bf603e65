// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/internal/health"
)

// TestFreshPublicNode: a node of a public network that has executed nothing says so in all voices. Nobody takes it for
// one that is synced, nor the balances of the genesis block for those of today.
func TestFreshPublicNode(t *testing.T) {
	cfg := localConfig(t)
	cfg.Network, cfg.Beam.Backfill = "sepolia", false
	cfg.HTTP.Enabled, cfg.HTTP.Port = true, 0
	n := start(t, cfg)
	defer n.stop(t)
	client, err := gethrpc.Dial("http://" + n.rpc.Addrs().HTTP)
	check(t, err)
	defer client.Close()
	var syncing map[string]string
	check(t, client.Call(&syncing, "eth_syncing"))
	if syncing["currentBlock"] != "0x0" {
		t.Errorf("eth_syncing %v", syncing)
	}
	account := common.Address{1}
	message := map[string]any{"to": account}
	for method, params := range map[string][]any{
		"eth_getBalance":          {account, "latest"},
		"eth_getTransactionCount": {account, "pending"},
		"eth_getCode":             {account, "0x0"},
		"eth_getStorageAt":        {account, "0x0", "latest"},
		"eth_getProof":            {account, []string{}, "latest"},
		"eth_call":                {message, "latest"},
		"eth_estimateGas":         {message},
	} {
		var result json.RawMessage
		if err := client.Call(&result, method, params...); err == nil || !strings.Contains(err.Error(), "no block was executed yet") {
			t.Errorf("%s: %s, %v", method, result, err)
		}
	}

	ready, status := askReady(t, n)
	for _, name := range []string{"head", "age", "peers"} {
		if check := ready.Checks[name]; check.OK || check.Reason == "" {
			t.Errorf("check %q: %+v", name, check)
		}
	}
	if status != http.StatusServiceUnavailable || ready.Ready || ready.Reason != ready.Checks["head"].Reason || !ready.Checks["client"].OK {
		t.Errorf("/ready: %d %+v", status, ready)
	}
	beam := beam{n.Node}.status()
	if beam.Ready || beam.Reason != ready.Reason || !maps.Equal(beam.Checks, ready.Checks) {
		t.Errorf("beam_status: %v %q %v", beam.Ready, beam.Reason, beam.Checks)
	}
}

// readiness is the answer to /ready.
type readiness struct {
	Ready  bool
	Reason string
	Checks map[string]health.Check
}

func askReady(t *testing.T, n *running) (ready readiness, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.rpc.Addrs().HTTP+health.ReadyPath, nil)
	check(t, err)
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	defer response.Body.Close()
	check(t, json.NewDecoder(response.Body).Decode(&ready))
	return ready, response.StatusCode
}

// TestTroubles: what is said about a silent consensus client and an old head.
func TestTroubles(t *testing.T) {
	for _, test := range []struct {
		vitals      importer.Vitals
		client, age string
	}{
		{importer.Vitals{Silence: silentAfter, HeadAge: staleAfter}, "", ""},
		{importer.Vitals{Silence: time.Hour}, "the consensus client sent nothing since the start 1h0m0s ago", ""},
		{importer.Vitals{Silence: time.Hour, Called: true, HeadAge: 3 * time.Minute}, "the consensus client sent nothing for 1h0m0s", "the head is 3m0s old"},
	} {
		if client, age := clientTrouble(test.vitals, (&Node{}).driver()), ageTrouble(importer.Readiness{}, test.vitals); client != test.client || age != test.age {
			t.Errorf("%+v: %q, %q", test.vitals, client, age)
		}
	}
}
