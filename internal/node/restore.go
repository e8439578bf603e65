// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	// restoreTimeout is how long peers have for one damaged block.
	restoreTimeout = 30 * time.Second
	// restoreRetry is the time until blocks that no peer had are requested again.
	restoreRetry = 10 * time.Minute
)

// restoreBlocks fetches canonical blocks again that were found damaged. Queries about them get what they get for blocks that are not stored
// until then.
func (n *Node) restoreBlocks(ctx context.Context) error {
	retry := time.NewTicker(restoreRetry)
	defer retry.Stop()
	said := make(map[common.Hash]bool)
	for {
		for _, block := range n.chain.Damaged() {
			if ctx.Err() != nil {
				return nil
			}
			if n.store.Err() != nil || n.chain.CanonicalHash(block.Number) != block.Hash {
				continue // nothing can be read, or nobody asks for it
			}
			if !said[block.Hash] {
				said[block.Hash] = true
				n.store.CountDamagedBlock()
				n.log.Warn("Stored block is damaged: fetching it from peers", "number", block.Number, "hash", block.Hash, "damaged", block.Part, "database", n.chaindata())
			}
			if err := n.restoreBlock(ctx, block); err == nil {
				delete(said, block.Hash)
				n.log.Info("Restored a damaged block", "number", block.Number, "hash", block.Hash)
			} else if ctx.Err() == nil {
				n.log.Warn("Damaged block is not restored: trying again later", "number", block.Number, "hash", block.Hash, "again_in", restoreRetry, "err", err)
			}
		}
		select {
		case <-n.chain.DamageFound():
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) restoreBlock(ctx context.Context, damaged chain.DamagedBlock) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	headers, err := n.fetcher.Headers(ctx, damaged.Hash, 1)
	if err != nil {
		return err
	}
	bodies, err := n.fetcher.OldBodies(ctx, headers)
	if err != nil {
		return err
	}
	receipts, err := n.fetcher.OldReceipts(ctx, headers)
	if err != nil {
		return err
	}
	block := peer.Assemble(headers[0], bodies[0])
	if damaged.Part == chain.DamagedAccessList {
		if block, err = n.withAccessList(ctx, block); err != nil {
			return err
		}
	}
	return n.chain.Restore(block, receipts[0])
}

// withAccessList fetches the access list of a block.
func (n *Node) withAccessList(ctx context.Context, block *types.Block) (*types.Block, error) {
	lists, err := n.fetcher.AccessLists(ctx, []*types.Header{block.Header()})
	if err != nil {
		return nil, err
	}
	if lists[0] == nil {
		return nil, errors.New("no peer has its access list")
	}
	list := new(bal.BlockAccessList)
	if err := rlp.DecodeBytes(lists[0], list); err != nil {
		return nil, fmt.Errorf("access list of block %d: %w", block.NumberU64(), err)
	}
	return block.WithAccessListUnsafe(list), nil
}
