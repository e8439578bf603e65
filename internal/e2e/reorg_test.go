// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// soon is how long a block may take that the node can judge at once: several slots' worth
// of patience for a machine that does other things too.
const soon = 20 * time.Second

// branch is a builder on one of several chains, with transactions that fit that chain.
type branch struct {
	*mockcl.Builder
	w       *demo.Network
	traffic *stategen.Traffic
}

// fork starts a branch on a block. Its first block is empty: it makes the branch geth's
// head, so that geth knows the nonces.
func fork(t *testing.T, w *demo.Network, parent *types.Header, seed uint64) (*branch, *mockcl.Payload) {
	t.Helper()
	b := &branch{Builder: w.Builder.On(parent), w: w, traffic: stategen.NewTraffic(w.Spec, seed)}
	p := build(t, b.Builder, nil)
	if err := b.traffic.Resume(t.Context(), w.Geth.RPC()); err != nil {
		t.Fatal(err)
	}
	return b, p
}

func (b *branch) next(t *testing.T) *mockcl.Payload {
	t.Helper()
	return build(t, b.Builder, b.traffic.Block(2_000_000, stategen.Mixed()))
}

// The fork choice goes to a side branch and back, with state that differs.
func TestReorg(t *testing.T) {
	w := newNetwork(t)
	port := port(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	n := start(t, w, dir, "--metrics", "--metrics.port", port)

	trunk, first := fork(t, w, w.Builder.Head(), 2)
	mustBring(t, n, first, soon)
	for range 3 {
		mustBring(t, n, trunk.next(t), soon)
	}
	parent := trunk.Head()
	tip := trunk.next(t)
	mustBring(t, n, tip, soon)
	mustBring(t, n, trunk.next(t), soon)
	if reorgs := metric(t, port, "beam_reorgs_total"); reorgs != 0 {
		t.Errorf("%v reorgs before there was one", reorgs)
	}

	for round := range size(2, 10) {
		side, p := fork(t, w, parent, uint64(100+round))
		mustBring(t, n, p, soon)
		for range 2 + round {
			mustBring(t, n, side.next(t), soon)
		}
		compare(t, w, n, side.Head().Number.Uint64(), 15)
		p = trunk.next(t) // geth goes back to the trunk
		mustBring(t, n, p, soon)
		if hash := canonical(t, n.RPC, tip.Data.Number); hash != tip.Data.BlockHash {
			t.Errorf("back on the trunk, block %d is %x, not %x", tip.Data.Number, hash, tip.Data.BlockHash)
		}
		compare(t, w, n, p.Data.Number, 15)
		if reorgs, want := metric(t, port, "beam_reorgs_total"), float64(2*round+2); reorgs != want {
			t.Errorf("%v reorgs are counted, not %v", reorgs, want)
		}
	}
	if pivots := metric(t, port, "beam_pivots_total"); pivots != 0 {
		t.Errorf("%v pivots", pivots)
	}

	// A restart keeps the head.
	want := trunk.Head()
	stop(t, n)
	n = start(t, w, dir)
	if number := head(t, n.RPC); number != want.Number.Uint64() || canonical(t, n.RPC, number) != want.Hash() {
		t.Errorf("after the restart the head is %d, not %d", number, want.Number)
	}
	mustBring(t, n, trunk.next(t), soon)
	stop(t, n)
}

// reseal changes a payload and gives it the hash that fits.
func reseal(t *testing.T, p *mockcl.Payload, change func(*engine.ExecutableData)) *mockcl.Payload {
	t.Helper()
	changed := *p
	change(&changed.Data)
	requests := make([][]byte, len(p.Requests))
	for i, request := range p.Requests {
		requests[i] = request
	}
	block, err := engine.ExecutableDataToBlockNoHash(changed.Data, p.VersionedHashes, &changed.BeaconRoot, requests)
	if err != nil {
		t.Fatal(err)
	}
	changed.Data.BlockHash = block.Hash()
	changed.Forkchoice.HeadBlockHash = block.Hash()
	return &changed
}

// Bad blocks and their children are INVALID, and name the last good one.
func TestInvalidBlocks(t *testing.T) {
	w := newNetwork(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	n := start(t, w, dir)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)
	parent := w.Builder.Head()
	good := build(t, w.Builder, someTransactions(w))

	changes := map[string]func(*engine.ExecutableData){
		"state root":    func(d *engine.ExecutableData) { d.StateRoot[5] ^= 1 },
		"receipts root": func(d *engine.ExecutableData) { d.ReceiptsRoot[5] ^= 1 },
		"gas used":      func(d *engine.ExecutableData) { d.GasUsed++ },
		"base fee":      func(d *engine.ExecutableData) { d.BaseFeePerGas = common.Big1 },
	}
	var bad *mockcl.Payload
	for name, change := range changes {
		bad = reseal(t, good, change)
		wantInvalid(t, n, bad, parent.Hash(), name)
	}
	// Children are condemned without a look at them.
	child := reseal(t, good, func(d *engine.ExecutableData) {
		d.ParentHash, d.Number, d.Timestamp = bad.Data.BlockHash, bad.Data.Number+1, bad.Data.Timestamp+1
	})
	wantInvalid(t, n, child, parent.Hash(), "child")
	wantInvalid(t, n, reseal(t, child, func(d *engine.ExecutableData) {
		d.ParentHash, d.Number, d.Timestamp = child.Data.BlockHash, child.Data.Number+1, child.Data.Timestamp+1
	}), parent.Hash(), "grandchild")
	choice, err := n.Engine.Forkchoice(t.Context(), bad)
	if err != nil || choice.Status != engine.INVALID {
		t.Errorf("a bad block as head: %s %v", choice.Status, err)
	}
	// A hash that is not the block's.
	wrong := *good
	wrong.Data.BlockHash[3] ^= 1
	status, err := n.Engine.NewPayload(t.Context(), &wrong)
	if err != nil || status.Status != engine.INVALID {
		t.Errorf("a wrong block hash: %s %v", status.Status, err)
	}
	// The good one is still good.
	mustBring(t, n, good, soon)
	stop(t, n)
}

func wantInvalid(t *testing.T, n *demo.Node, p *mockcl.Payload, latestValid common.Hash, what string) {
	t.Helper()
	status, err := n.Engine.NewPayload(t.Context(), p)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if status.Status != engine.INVALID || status.LatestValidHash == nil || *status.LatestValidHash != latestValid {
		t.Fatalf("%s: %s, latest valid %v, not INVALID, %v", what, status.Status, status.LatestValidHash, latestValid)
	}
	t.Logf("%s: %s", what, *status.ValidationError)
}

// Blocks that the node was not given are fetched; too many of them are skipped.
func TestUnknownAncestors(t *testing.T) {
	w := newNetwork(t)
	port := port(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	args := []string{"--metrics", "--metrics.port", port, "--beam.backfill=false"} // a full node does not pivot
	n := start(t, w, dir, args...)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)

	for range size(1, 5) {
		for range 5 {
			build(t, w.Builder, someTransactions(w))
		}
		missed := w.Builder.Head()
		p := build(t, w.Builder, someTransactions(w))
		mustBring(t, n, p, soon)
		if hash := canonical(t, n.RPC, missed.Number.Uint64()); hash != missed.Hash() {
			t.Errorf("block %d is %x, not %x", missed.Number, hash, missed.Hash())
		}
		compare(t, w, n, missed.Number.Uint64(), 9)
	}
	if pivots := metric(t, port, "beam_pivots_total"); pivots != 0 {
		t.Errorf("%v pivots", pivots)
	}

	// Away for longer than the lag allows (--beam.maxlag is 30 blocks).
	stop(t, n)
	for range 40 {
		build(t, w.Builder, w.Traffic.Block(1_000_000, stategen.Mixed()))
	}
	n = start(t, w, dir, args...)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)
	if pivots := metric(t, port, "beam_pivots_total"); pivots != 1 {
		t.Errorf("%v pivots, not 1", pivots)
	}
	compare(t, w, n, w.Builder.Head().Number.Uint64(), 15)
	stop(t, n)
}
