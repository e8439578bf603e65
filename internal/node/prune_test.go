// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestPruneHistory: what is refused, and what is left of a chain.
func TestPruneHistory(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 12, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	cfg := localConfig(t)
	prune := func(span string, newest uint64) error {
		pruned := *cfg
		pruned.History.Chain = span
		return pruneHistory(t.Context(), &pruned, discard, newest)
	}
	if err := prune("10", 5); err == nil || !strings.Contains(err.Error(), "has no blocks yet") {
		t.Errorf("without a datadir: %v", err)
	}
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks...)}, discard))
	point := func(block *types.Block) string { return fmt.Sprintf("%d:%s", block.NumberU64(), block.Hash().Hex()) }
	refused := func(span string, newest uint64, says string) {
		t.Helper()
		if err := prune(span, newest); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", span, err, says)
		}
	}
	refused("all", 5, "nothing to prune")
	refused("4", 5, "newest 5 blocks stay")
	refused("12", 5, "the chain has 12 blocks")
	refused("postprague", 5, "not available for network")
	refused(point(blocks[7]), 5, "block 8: 1 more blocks are needed")
	refused("3:"+blocks[3].Hash().Hex(), 5, "block 3 is not "+blocks[3].Hash().Hex())
	refused(point(blocks[2]), 90_000, "89991 more blocks")

	check(t, prune(point(blocks[2]), 5)) // block 3
	check(t, prune("7", 5))              // block 6
	check(t, prune("7", 5))              // again: completes what was interrupted
	refused(point(blocks[2]), 5, "oldest stored block is 6, above block 3")

	n, err := New(cfg, discard)
	check(t, err)
	defer func() { check(t, n.Close()) }()
	check(t, n.chain.Check())
	if n.chain.Oldest() != 6 || n.chain.Tail() != 0 || n.chain.CurrentHeader().Hash() != blocks[11].Hash() || n.full() == nil {
		t.Errorf("oldest %d, tail %d, head %d, full %t", n.chain.Oldest(), n.chain.Tail(), n.chain.CurrentHeader().Number, n.full() != nil)
	}
	if n.chain.Block(blocks[4].Hash()) != nil || n.chain.Header(blocks[4].Hash()) == nil || n.chain.Block(blocks[5].Hash()) == nil {
		t.Error("block 5 is to have its header only, and block 6 everything")
	}
}
