// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// buildTime is the time from forkchoiceUpdated to getPayload.
const buildTime = time.Second

func pause(ctx context.Context) error {
	select {
	case <-time.After(buildTime):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendBoth gives mixed transactions to geth, and those that it takes to the node.
func sendBoth(t *testing.T, w *demo.Network, n *demo.Node) {
	t.Helper()
	for _, tx := range w.Traffic.Pool(size[uint64](2_000_000, 20_000_000), stategen.Mixed()) {
		send(t, w.Geth.RPC(), tx)
		_ = sendRaw(t, n.RPC, tx) // it may have it from geth already, or open its blob pool still
	}
}

// propose wants geth to accept the node's block for a slot, and makes it the head of both.
func propose(t *testing.T, p *mockcl.Proposer, n *demo.Node, wait func(context.Context) error) *mockcl.Proposal {
	t.Helper()
	proposal, err := p.Propose(t.Context(), uint64(time.Now().Unix()), wait)
	if err != nil {
		t.Fatal(err)
	}
	if !proposal.Accepted {
		t.Fatalf("block %d not accepted: %s", proposal.Payload.Data.Number, proposal.Problem)
	}
	t.Logf("block %d accepted: %d of its transactions and %d blobs, worth %v wei, geth's %v", proposal.Payload.Data.Number, proposal.Txs, proposal.Blobs, proposal.Value, proposal.Rival)
	mustBring(t, n, proposal.Payload, time.Minute)
	return proposal
}

// A validator proposes through a node that beams: every slot, also after a kill between forkchoiceUpdated and
// getPayload, after a reorg, and while its only peer is silent.
func TestProposeWhileBeaming(t *testing.T) {
	for _, amsterdam := range []bool{false, true} {
		t.Run(map[bool]string{false: "osaka", true: "amsterdam"}[amsterdam], func(t *testing.T) {
			state := spec()
			state.Amsterdam = amsterdam
			w := newNetworkOf(t, state)
			dir := filepath.Join(t.TempDir(), "sunbeam")
			n := start(t, w, dir, "--beam.backfill=false")
			mustBring(t, n, build(t, w.Builder, someTransactions(w)), time.Minute)
			p := &mockcl.Proposer{Node: n.Engine, Judge: w.Builder, Attributes: func(a *engine.PayloadAttributes) {
				a.Withdrawals = []*types.Withdrawal{{Index: 1, Validator: 1, Amount: 5, Address: stategen.Account(a.Timestamp % 1000)}}
			}}
			full := 0
			for range size(4, 20) {
				sendBoth(t, w, n)
				full += propose(t, p, n, pause).Txs
			}
			if full == 0 {
				t.Error("all blocks were empty")
			}

			killed, err := p.Propose(t.Context(), uint64(time.Now().Unix()), func(context.Context) error { return n.Kill() })
			if err != nil {
				t.Fatal(err)
			}
			if killed.Accepted {
				t.Fatal("a killed node delivered a payload")
			}
			n = start(t, w, dir, "--beam.backfill=false")
			p.Node = n.Engine
			mustBring(t, n, killed.Payload, time.Minute)
			propose(t, p, n, pause)

			proposeAfterReorg(t, w, n, p)

			sendBoth(t, w, n)
			w.Proxy.Stall(true)
			silent := propose(t, &mockcl.Proposer{Node: n.Engine, Judge: w.Builder}, n, pause)
			w.Proxy.Stall(false)
			t.Logf("%d transactions without a peer", silent.Txs)
			propose(t, p, n, pause)
			stop(t, n)
		})
	}
}

// proposeAfterReorg goes back by one block and proposes on the parent, then goes on there.
func proposeAfterReorg(t *testing.T, w *demo.Network, n *demo.Node, p *mockcl.Proposer) {
	t.Helper()
	parent := w.Builder.Head()
	propose(t, p, n, pause)
	w.Builder = w.Builder.On(parent)
	p.Judge = w.Builder
	propose(t, p, n, pause)
}

// A full node proposes too.
func TestProposeFull(t *testing.T) {
	w := newNetwork(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"))
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), time.Minute)
	p := &mockcl.Proposer{Node: n.Engine, Judge: w.Builder}
	for phase := ""; phase != "full"; {
		status, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		phase = status.Phase
		sendBoth(t, w, n)
		propose(t, p, n, pause)
	}
	txs := 0
	for range size(3, 20) {
		sendBoth(t, w, n)
		txs += propose(t, p, n, pause).Txs
	}
	if txs == 0 {
		t.Error("all blocks were empty")
	}
	stop(t, n)
}
