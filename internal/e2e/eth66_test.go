// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"log/slog"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// newOldNetwork makes a geth v1.10.26 on a chain of Paris, which serves state by GetNodeData of
// eth/66 and in no other way.
func newOldNetwork(t *testing.T) *demo.Network {
	t.Helper()
	return newNetworkOf(t, size(
		stategen.Spec{Accounts: 5000, Senders: 100, Contracts: 10, Codes: 5, Slots: 5000, Paris: true},
		stategen.Spec{Accounts: 60_000, Senders: 500, Contracts: 100, Codes: 50, Slots: 200_000, Paris: true},
	), "--snapshot=false") // no snap/1 either
}

// A fresh node beam-syncs from a geth v1.10.26 over eth/66 alone: it follows the chain, answers what
// geth answers, collects the whole state by hash, and then needs nobody any more.
func TestByHashAlone(t *testing.T) {
	w := newOldNetwork(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	n := start(t, w, dir)

	var records []mockcl.Record
	chain := mockcl.Chain{
		Builder: w.Builder,
		Followers: []*mockcl.Follower{mockcl.NewFollower(n.Engine, time.Second, func(r mockcl.Record) {
			records = append(records, r)
			if len(records) == 1 {
				t.Logf("first %s %v after the node's start", r.Status, time.Since(n.Started).Round(time.Millisecond))
			}
		}, slog.New(slog.DiscardHandler))},
		Slot: time.Second, Blocks: size(5, 100),
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			return w.Traffic.Block(size[uint64](1_000_000, 2_000_000), stategen.Mixed())
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(chain.Blocks)*time.Second+2*time.Minute)
	defer cancel()
	if err := chain.Run(ctx); err != nil {
		t.Fatal(err)
	}
	onlyEth66(t, n)
	tell(t, n, records)
	if len(records) != chain.Blocks {
		t.Errorf("%d blocks were judged, not %d", len(records), chain.Blocks)
	}
	awaitWhole(t, n)
	tip := w.Builder.Head().Number.Uint64()
	compare(t, w, n, tip, size(60, 1000))
	stop(t, n)
	found := completeState(t, dir)
	t.Log(found)
	for number := tip; ; number-- {
		if number == 0 {
			t.Fatalf("the state on disk, %x, is of no block", found.Root)
		}
		var header *types.Header
		if err := w.Geth.RPC().CallContext(t.Context(), &header, "eth_getHeaderByNumber", hexutil.Uint64(number)); err != nil {
			t.Fatal(err)
		}
		if header.Root == found.Root {
			t.Logf("the state on disk is that of block %d", number)
			return
		}
	}
}

// onlyEth66 makes sure that nothing but eth/66 was spoken.
func onlyEth66(t *testing.T, n *demo.Node) {
	t.Helper()
	client, err := gethrpc.DialContext(t.Context(), n.IPC)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var peers []struct {
		Name      string         `json:"name"`
		Caps      []string       `json:"caps"`
		Protocols map[string]any `json:"protocols"`
	}
	if err := client.CallContext(t.Context(), &peers, "admin_peers"); err != nil {
		t.Fatal(err)
	}
	for _, peer := range peers {
		if !strings.HasPrefix(peer.Name, "Geth/v1.10.26") { // what asked for node data, and is about to be gone
			continue
		}
		eth, _ := peer.Protocols["eth"].(map[string]any)
		if len(peer.Protocols) != 1 || eth["version"] != 66.0 {
			t.Errorf("speaks %v", peer.Protocols)
		}
		t.Logf("geth offers %v, the link is eth/%v", peer.Caps, eth["version"])
		return
	}
	t.Fatalf("geth is not among the peers: %+v", peers)
}

// awaitWhole waits until the node is a full one, and returns how many nodes its backfill wrote.
func awaitWhole(t *testing.T, n *demo.Node) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var s struct {
		Phase    string `json:"phase"`
		Backfill struct {
			Share float64 `json:"share"`
			Nodes uint64  `json:"nodes"`
			Bytes uint64  `json:"bytes"`
		} `json:"backfill"`
	}
	for s.Phase != "full" {
		if err := n.RPC.CallContext(ctx, &s, "beam_status"); err != nil {
			t.Fatalf("not complete: %+v, %v", s, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not complete: %+v", s)
		}
	}
	t.Logf("a full node after %v: %+v", time.Since(n.Started).Round(time.Millisecond), s)
	return s.Backfill.Nodes
}
