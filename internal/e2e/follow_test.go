// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

const slot = 2 * time.Second

// A fresh node follows a chain with mixed blocks: everything is VALID, nothing is skipped,
// answers are geth's, memory is bounded.
func TestFollow(t *testing.T) {
	w := newNetwork(t)
	port := port(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--metrics", "--metrics.port", port)

	var records []mockcl.Record
	chain := mockcl.Chain{
		Builder: w.Builder,
		Followers: []*mockcl.Follower{mockcl.NewFollower(n.Engine, slot, func(r mockcl.Record) {
			records = append(records, r)
			if len(records) == 1 {
				t.Logf("first %s %v after the node's start", r.Status, time.Since(n.Started).Round(time.Millisecond))
			}
		}, slog.New(slog.DiscardHandler))},
		Slot: slot, Blocks: size(12, 200), Transactions: transactions(w, 8_000_000),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(chain.Blocks)*slot+time.Minute)
	defer cancel()
	if err := chain.Run(ctx); err != nil {
		t.Fatal(err)
	}
	tell(t, n, records)
	if len(records) != chain.Blocks {
		t.Errorf("%d blocks were judged, not %d", len(records), chain.Blocks)
	}
	if pivots := metric(t, port, "beam_pivots_total"); pivots != 0 {
		t.Errorf("%v pivots", pivots)
	}
	if tip := w.Builder.Head(); head(t, n.RPC) != tip.Number.Uint64() || canonical(t, n.RPC, tip.Number.Uint64()) != tip.Hash() {
		t.Errorf("the head is not block %d", tip.Number)
	}
	compare(t, w, n, w.Builder.Head().Number.Uint64(), size(60, 1000))
	t.Logf("at most %d MB of memory", n.Memory()/1_000_000)
	if most := n.Memory(); most == 0 || most > 1<<30 {
		t.Errorf("%d bytes of memory", most)
	}
	attach(t, n)
	stop(t, n)
}

// tell checks and sums up what became of blocks.
func tell(t *testing.T, n *demo.Node, records []mockcl.Record) {
	t.Helper()
	var latencies []time.Duration
	var syncing, implied, txs int
	var gas uint64
	for _, r := range records {
		if r.Status != engine.VALID || r.Err != "" {
			t.Errorf("block %d: %+v", r.Number, r)
		}
		latencies = append(latencies, r.Latency.Round(time.Millisecond))
		syncing += r.Syncing
		txs, gas = txs+r.Txs, gas+r.GasUsed
		if r.Implied {
			implied++
		}
	}
	if len(records) == 0 {
		return
	}
	slices.Sort(latencies)
	at := func(percent int) time.Duration { return latencies[(len(latencies)-1)*percent/100] }
	t.Logf("%d blocks, %d transactions, %d Mgas; VALID after 50%% %v, 90%% %v, 99%% %v, most %v; %d SYNCING, %d implied",
		len(records), txs, gas/1e6, at(50), at(90), at(99), at(100), syncing, implied)
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := s.Totals.Fetched
	t.Logf("%d faults, %d trips, %d requests, %d nodes, %d codes, %d kB, waited %.3f s", f.Faults, f.Trips, f.Requests, f.Nodes, f.Codes, f.Bytes/1000, f.WaitSeconds)
	if s.Totals.Valid == 0 || s.Totals.Invalid != 0 {
		t.Errorf("executions: %+v", s.Totals)
	}
}

// compare asks both nodes for random state at a block.
func compare(t *testing.T, w *demo.Network, n *demo.Node, block uint64, count int) {
	t.Helper()
	compareClient(t, w, n.RPC, block, count)
}

func compareClient(t *testing.T, w *demo.Network, client *gethrpc.Client, block uint64, count int) {
	t.Helper()
	began := time.Now()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for _, q := range demo.Questions(w.Spec, rand.New(rand.NewPCG(block, 0)), block, count) {
		if w.Spec.Paris && q.Method == "eth_getProof" {
			continue // geth v1.10 has other words for what does not exist
		}
		group.Go(func() error {
			return untilAnswered(ctx, func() error { return demo.Compare(ctx, q, client, w.Geth.RPC()) })
		})
	}
	if err := group.Wait(); err != nil {
		t.Errorf("block %d: %v", block, err)
	}
	t.Logf("%d answers about block %d are geth's, in %v", count, block, time.Since(began).Round(time.Millisecond))
}

// untilAnswered repeats a comparison in which a node did not answer in time, as on a machine with a high load. An answer
// that differs is final.
func untilAnswered(ctx context.Context, compare func() error) error {
	for end := time.Now().Add(time.Minute); ; {
		err := compare()
		if !errors.Is(err, demo.ErrUnanswered) || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// attach lets geth's console talk to the node.
func attach(t *testing.T, n *demo.Node) {
	t.Helper()
	geth, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, geth, "attach", "--exec", "eth.blockNumber", n.IPC).CombinedOutput()
	if want := fmt.Sprint(head(t, n.RPC)); err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("geth attach says %q (%v), not %s", out, err, want)
	}
}
