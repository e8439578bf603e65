package node

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync"
)

// A node that has all of its state completes it without any peer.
func TestBackfillOfLocalState(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 5, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks...)}, discard))
	n := start(t, cfg)
	select {
	case <-n.backfill.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("not complete: %+v", n.backfill.Progress())
	}
	head := n.chain.CurrentHeader()
	root, err := n.store.Solid().Root()
	check(t, err)
	if done, _ := n.backfill.Root(); done != head.Root || root != head.Root {
		t.Errorf("complete is %s, on disk %s, want that of the head %s", done, root, head.Root)
	}
	client, err := gethrpc.Dial(cfg.IPCEndpoint())
	check(t, err)
	defer client.Close()
	var raw json.RawMessage
	check(t, client.Call(&raw, "beam_status"))
	var status struct{ Backfill beamsync.Progress }
	check(t, json.Unmarshal(raw, &status))
	if status.Backfill.Share != 1 || status.Backfill.Number != 5 {
		t.Errorf("beam_status: %s", raw)
	}
	n.stop(t)

	// It is not done unless asked for, and not on a chain that stands at its genesis.
	cfg.Beam.Backfill = false
	n = start(t, cfg)
	if n.backfill != nil {
		t.Error("there is a backfill that nobody wants")
	}
	n.stop(t)
	fresh := localConfig(t)
	check(t, Init(fresh, genesis, discard))
	n = start(t, fresh)
	if target, ok := n.backfillTarget(); ok {
		t.Errorf("a fresh node wants to complete %+v", target)
	}
	n.stop(t)
}
