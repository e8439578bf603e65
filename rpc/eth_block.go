// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// blockAPI is the part of the eth namespace that reads blocks. It reads local data only.
type blockAPI struct{ b *backend }

// GetHeaderByNumber returns a canonical header, null for pending and for a safe or finalized block that is
// not set.
func (api *blockAPI) GetHeaderByNumber(number gethrpc.BlockNumber) (jsonObject, error) {
	if number == gethrpc.PendingBlockNumber {
		return nil, nil
	}
	header, err := api.b.header(number)
	switch {
	case err != nil && (number == gethrpc.SafeBlockNumber || number == gethrpc.FinalizedBlockNumber):
		return nil, nil // as in execution-apis
	case header == nil:
		return nil, err
	}
	return headerObject(header), nil
}

// GetHeaderByHash returns the header of a valid block, canonical or not.
func (api *blockAPI) GetHeaderByHash(hash common.Hash) jsonObject {
	if header := api.b.headerByHash(hash); header != nil {
		return headerObject(header)
	}
	return nil
}

// GetBlockByNumber returns a canonical block. Of the pending one, hash, nonce and fee recipient are null.
func (api *blockAPI) GetBlockByNumber(ctx context.Context, number gethrpc.BlockNumber, full bool) (jsonObject, error) {
	block, err := api.b.blockByNumber(ctx, number)
	if block == nil || err != nil {
		return nil, err
	}
	object := blockObject(block, full, api.b.Chain.Config())
	if api.b.isPending(number) {
		object["hash"], object["nonce"], object["miner"] = nil, nil, nil
	}
	return object, nil
}

// GetBlockByHash returns a valid block, canonical or not.
func (api *blockAPI) GetBlockByHash(hash common.Hash, full bool) (jsonObject, error) {
	block, err := api.b.blockByHash(hash)
	if block == nil || err != nil {
		return nil, err
	}
	return blockObject(block, full, api.b.Chain.Config()), nil
}

// GetBlockTransactionCountByNumber counts the transactions of a block.
func (api *blockAPI) GetBlockTransactionCountByNumber(ctx context.Context, number gethrpc.BlockNumber) (*hexutil.Uint, error) {
	block, err := api.b.blockByNumber(ctx, number)
	return countIn(block, err, transactions)
}

// GetBlockTransactionCountByHash counts the transactions of a block.
func (api *blockAPI) GetBlockTransactionCountByHash(hash common.Hash) (*hexutil.Uint, error) {
	block, err := api.b.blockByHash(hash)
	return countIn(block, err, transactions)
}

// GetUncleCountByBlockNumber counts the uncles of a block.
func (api *blockAPI) GetUncleCountByBlockNumber(ctx context.Context, number gethrpc.BlockNumber) (*hexutil.Uint, error) {
	block, err := api.b.blockByNumber(ctx, number)
	return countIn(block, err, uncles)
}

// GetUncleCountByBlockHash counts the uncles of a block.
func (api *blockAPI) GetUncleCountByBlockHash(hash common.Hash) (*hexutil.Uint, error) {
	block, err := api.b.blockByHash(hash)
	return countIn(block, err, uncles)
}

func transactions(block *types.Block) int { return len(block.Transactions()) }

func uncles(block *types.Block) int { return len(block.Uncles()) }

// countIn returns a count of a block, null if there is no block.
func countIn(block *types.Block, err error, of func(*types.Block) int) (*hexutil.Uint, error) {
	if block == nil || err != nil {
		return nil, err
	}
	n := hexutil.Uint(of(block))
	return &n, nil
}

// GetUncleByBlockNumberAndIndex returns an uncle of a block.
func (api *blockAPI) GetUncleByBlockNumberAndIndex(ctx context.Context, number gethrpc.BlockNumber, index hexutil.Uint) (jsonObject, error) {
	block, err := api.b.blockByNumber(ctx, number)
	return uncleAt(block, index), err
}

// GetUncleByBlockHashAndIndex returns an uncle of a block.
func (api *blockAPI) GetUncleByBlockHashAndIndex(hash common.Hash, index hexutil.Uint) (jsonObject, error) {
	block, err := api.b.blockByHash(hash)
	return uncleAt(block, index), err
}

func uncleAt(block *types.Block, index hexutil.Uint) jsonObject {
	if block == nil || index >= hexutil.Uint(len(block.Uncles())) {
		return nil
	}
	return uncleObject(block.Uncles()[index])
}

// GetBlockAccessList returns the access list of a block (EIP-7928), null for an unknown block.
func (api *blockAPI) GetBlockAccessList(at gethrpc.BlockNumberOrHash) (*bal.BlockAccessList, error) {
	block, err := api.b.blockAt(at)
	switch {
	case block == nil || err != nil:
		return nil, err
	case block.Header().BlockAccessListHash == nil:
		return nil, &codedError{codeServer, fmt.Sprintf("block %d has no access list: it is from before Amsterdam", block.NumberU64())}
	case block.AccessList() == nil:
		return nil, errPruned()
	}
	return block.AccessList(), nil
}

// GetBlockReceipts returns the receipts of all transactions of a block.
func (api *blockAPI) GetBlockReceipts(ctx context.Context, at gethrpc.BlockNumberOrHash) ([]jsonObject, error) {
	if number, ok := at.Number(); ok && api.b.isPending(number) {
		block, receipts, err := api.b.pendingBlock(ctx, "receipts")
		if err != nil {
			return nil, err
		}
		return api.receiptObjects(block, receipts), nil
	}
	block, err := api.b.blockAt(at)
	if block == nil || err != nil {
		return nil, err
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	return api.receiptObjects(block, receipts), nil
}

func (api *blockAPI) receiptObjects(block *types.Block, receipts types.Receipts) []jsonObject {
	header := block.Header()
	signer := types.MakeSigner(api.b.Chain.Config(), header.Number, header.Time)
	result := make([]jsonObject, len(receipts))
	for i, receipt := range receipts {
		result[i] = receiptObject(receipt, block.Transactions()[i], header, uint64(i), signer)
	}
	return result
}
