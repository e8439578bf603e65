// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/tracers"
	"github.com/ethereum/go-ethereum/rlp"
)

// badBlocksAPI is the part of the debug namespace about invalid blocks. They are kept in memory.
type badBlocksAPI struct{ debugTraceAPI }

// badBlock is a block that was rejected.
type badBlock struct {
	Hash  common.Hash   `json:"hash"`
	Block jsonObject    `json:"block"`
	RLP   hexutil.Bytes `json:"rlp"`
}

// GetBadBlocks returns the blocks that were rejected since the start, highest first; with a file, it writes them there and
// returns null.
func (api *badBlocksAPI) GetBadBlocks(ctx context.Context, name *string) ([]badBlock, error) {
	list := []badBlock{}
	for _, block := range api.b.Chain.BadBlocks() {
		encoded, err := rlp.EncodeToBytes(block)
		if err != nil {
			return nil, err
		}
		list = append(list, badBlock{block.Hash(), blockObject(block, true, api.b.Chain.Config()), encoded})
	}
	if name == nil {
		return list, nil
	}
	file, err := api.b.createFile(ctx, *name)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(json.NewEncoder(file).Encode(list), file.Close())
}

// TraceBadBlock traces the transactions of a block that was rejected.
func (api *badBlocksAPI) TraceBadBlock(ctx context.Context, hash common.Hash, config *tracers.TraceConfig) ([]*tracedTransaction, error) {
	block := api.b.badBlock(hash)
	if block == nil {
		return nil, fmt.Errorf("bad block %#x not found", hash)
	}
	return api.traceBlock(ctx, block, config)
}

// badBlock returns a block that was rejected, nil if it is not kept.
func (b *backend) badBlock(hash common.Hash) *types.Block {
	for _, block := range b.Chain.BadBlocks() {
		if block.Hash() == hash {
			return block
		}
	}
	return nil
}
