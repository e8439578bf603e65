// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// TestBackfillOfLocalState: a node with a whole state on disk completes it without peers.
func TestBackfillOfLocalState(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 5, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	cfg := localConfig(t)
	beamedTo(t, cfg, genesis, blocks...)
	n := start(t, cfg)
	select {
	case <-n.backfill.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("not complete: %+v", n.backfill.Progress())
	}
	head := n.chain.CurrentHeader()
	root, err := n.store.Complete().Root()
	check(t, err)
	if done, _ := n.backfill.Root(); done != head.Root || root != head.Root {
		t.Errorf("complete is %s, on disk %s, want that of the head %s", done, root, head.Root)
	}
	await(t, n, "full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() })
	n.stop(t)

	// There is no target at genesis, and no backfill if the configuration disables it.
	fresh := localConfig(t)
	check(t, Init(fresh, genesis, discard))
	n = start(t, fresh)
	if target, ok := n.backfillTarget(); ok {
		t.Errorf("the target of a fresh node is %+v", target)
	}
	n.stop(t)
	fresh.Beam.Backfill = false
	n = start(t, fresh)
	if n.backfill != nil {
		t.Error("there is a backfill although it is disabled")
	}
	n.stop(t)
}
