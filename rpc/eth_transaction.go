// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// transactionAPI is the part of the eth namespace that reads transactions and their receipts, from local
// blocks and from the pool.
type transactionAPI struct{ b *backend }

// GetTransactionByHash returns a canonical or a pooled transaction, else null.
func (api *transactionAPI) GetTransactionByHash(hash common.Hash) (*transactionObject, error) {
	tx, blockHash, _, index := api.b.Chain.Transaction(hash)
	if tx == nil {
		if tx = api.b.pooled(hash); tx != nil {
			return pooledTransaction(tx, api.b.Chain.CurrentHeader(), api.b.Chain.Config()), nil
		}
		return nil, api.b.whyNotFound(hash)
	}
	header := api.b.Chain.Header(blockHash)
	if header == nil {
		return nil, errNoHeader
	}
	return includedTransaction(tx, header, index, api.b.Chain.Config()), nil
}

// GetTransactionByBlockNumberAndIndex returns a transaction of a canonical block.
func (api *transactionAPI) GetTransactionByBlockNumberAndIndex(ctx context.Context, number gethrpc.BlockNumber, index hexutil.Uint) (*transactionObject, error) {
	block, err := api.b.blockByNumber(ctx, number)
	if block == nil || err != nil {
		return nil, err
	}
	return transactionAt(block, uint64(index), api.b.Chain.Config()), nil
}

// GetTransactionByBlockHashAndIndex returns a transaction of a block.
func (api *transactionAPI) GetTransactionByBlockHashAndIndex(hash common.Hash, index hexutil.Uint) (*transactionObject, error) {
	block, err := api.b.blockByHash(hash)
	if block == nil || err != nil {
		return nil, err
	}
	return transactionAt(block, uint64(index), api.b.Chain.Config()), nil
}

// GetRawTransactionByHash returns a canonical or a pooled transaction in its network encoding.
func (api *transactionAPI) GetRawTransactionByHash(hash common.Hash) (hexutil.Bytes, error) {
	tx, _, _, _ := api.b.Chain.Transaction(hash)
	if tx == nil {
		tx = api.b.pooled(hash)
	}
	if tx == nil {
		return nil, api.b.whyNotFound(hash)
	}
	return tx.MarshalBinary()
}

// GetRawTransactionByBlockNumberAndIndex returns a transaction in its network encoding.
func (api *transactionAPI) GetRawTransactionByBlockNumberAndIndex(ctx context.Context, number gethrpc.BlockNumber, index hexutil.Uint) (hexutil.Bytes, error) {
	block, err := api.b.blockByNumber(ctx, number)
	return rawAt(block, index, err)
}

// GetRawTransactionByBlockHashAndIndex returns a transaction in its network encoding.
func (api *transactionAPI) GetRawTransactionByBlockHashAndIndex(hash common.Hash, index hexutil.Uint) (hexutil.Bytes, error) {
	block, err := api.b.blockByHash(hash)
	return rawAt(block, index, err)
}

func rawAt(block *types.Block, index hexutil.Uint, err error) (hexutil.Bytes, error) {
	if block == nil || err != nil || index >= hexutil.Uint(len(block.Transactions())) {
		return nil, err
	}
	return block.Transactions()[index].MarshalBinary()
}

// GetTransactionReceipt returns the receipt of a canonical transaction, null if it is not stored.
func (api *transactionAPI) GetTransactionReceipt(hash common.Hash) (jsonObject, error) {
	tx, blockHash, _, index := api.b.Chain.Transaction(hash)
	if tx == nil {
		return nil, api.b.whyNotFound(hash)
	}
	block := api.b.Chain.Block(blockHash)
	if block == nil {
		return nil, errNoHeader
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	if index >= uint64(len(receipts)) {
		return nil, errors.New("transaction index exceeds the receipts of its block")
	}
	signer := types.LatestSigner(api.b.Chain.Config())
	return receiptObject(receipts[index], tx, block.Header(), index, signer), nil
}

// whyNotFound is the error for a transaction that is in no stored block: nil if it is in none at all, as far as is known. A
// pooled one is in none.
func (b *backend) whyNotFound(hash common.Hash) error {
	if b.History == nil || !b.History.Collecting() || b.pooled(hash) != nil {
		return nil
	}
	return indexingError{}
}
