// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/config"
)

// PruneHistory deletes the bodies and receipts of the blocks that are older than --history.chain says, and the lookups of their
// transactions. Headers stay. As geth's command of the name does, it refuses a range that ends less than 90,000 blocks below the
// head, a block that is not canonical, and one that is below the oldest stored block. An interrupted run is completed by the next one.
func PruneHistory(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	return pruneHistory(ctx, cfg, log, params.FullImmutabilityThreshold)
}

// pruneHistory leaves at least the newest blocks.
func pruneHistory(ctx context.Context, cfg *config.Config, log *slog.Logger, newest uint64) (err error) {
	if len(databasePaths(cfg)) == 0 {
		return fmt.Errorf("%s has no blocks yet", cfg.DataDir)
	}
	n := &Node{cfg: *cfg, log: log}
	if err := n.open(nil, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	first, err := n.pruneTo(newest)
	if err != nil {
		return err
	}
	oldest, head := n.chain.Oldest(), n.chain.CurrentHeader().Number.Uint64()
	if oldest > first {
		return fmt.Errorf("the oldest stored block is %d, above block %d: there is nothing to prune (a node fetches older blocks from peers, see --history.chain)", oldest, first)
	}
	log.Info("Pruning chain history", "head", head, "oldest", oldest, "to", first)
	if err := n.chain.Forget(first); err != nil {
		return err
	}
	started, reported := time.Now(), time.Now()
	err = n.store.Chain().DeleteBlocks(ctx, first, func(what string, done uint64) {
		if time.Since(reported) >= importInterval {
			reported = time.Now()
			log.Info("Pruning chain history", "looked_through", what, "count", done)
		}
	})
	if err != nil {
		return fmt.Errorf("prune history: %w (run it again to complete it)", err)
	}
	log.Info("Chain history is pruned", "oldest", first, "elapsed", time.Since(started).Round(time.Millisecond))
	return nil
}

// pruneTo is the first block that stays.
func (n *Node) pruneTo(newest uint64) (uint64, error) {
	head := n.chain.CurrentHeader().Number.Uint64()
	point, err := n.cutoff()
	switch blocks, fork := n.cfg.History.Wanted(); {
	case n.cfg.History.Chain == config.HistoryAll:
		return 0, errors.New("--history.chain all leaves nothing to prune")
	case err == nil:
		if point.BlockNumber+newest > head {
			return 0, fmt.Errorf("the head, block %d, is not far enough past block %d: %d more blocks are needed",
				head, point.BlockNumber, point.BlockNumber+newest-head)
		}
		if header := n.chain.HeaderByNumber(point.BlockNumber); header == nil || header.Hash() != point.BlockHash {
			return 0, fmt.Errorf("block %d is not %s here", point.BlockNumber, point.BlockHash.Hex())
		}
		return point.BlockNumber, nil
	case fork != "":
		return 0, err
	case blocks < newest:
		return 0, fmt.Errorf("--history.chain %d is too few: the newest %d blocks stay in any case", blocks, newest)
	case blocks >= head:
		return 0, fmt.Errorf("the chain has %d blocks, --history.chain wants %d: there is nothing to prune", head, blocks)
	default:
		return head + 1 - blocks, nil
	}
}
