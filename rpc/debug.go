// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// debugAPI is the debug namespace: blocks in their consensus encoding.
type debugAPI struct{ b *backend }

// GetRawHeader returns the RLP of a header, empty for a block number in the future.
func (api *debugAPI) GetRawHeader(at gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	if err := api.b.refusePending(at); err != nil {
		return nil, err
	}
	header, err := api.b.headerAt(at)
	if errors.Is(err, errNoHeader) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return rlp.EncodeToBytes(header)
}

// GetRawBlock returns the RLP of a block, empty for a block number in the future.
func (api *debugAPI) GetRawBlock(at gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	block, err := api.blockAt(at)
	if block == nil || err != nil {
		return nil, err
	}
	return rlp.EncodeToBytes(block)
}

// blockAt returns the block that a parameter names. An unknown hash is an error.
func (api *debugAPI) blockAt(at gethrpc.BlockNumberOrHash) (*types.Block, error) {
	if err := api.b.refusePending(at); err != nil {
		return nil, err
	}
	block, err := api.b.blockAt(at)
	if hash, ok := at.Hash(); ok && block == nil && err == nil {
		err = fmt.Errorf("block %s not found", hash.Hex())
	}
	return block, err
}

// GetRawReceipts returns the receipts of a block in their consensus encoding.
func (api *debugAPI) GetRawReceipts(at gethrpc.BlockNumberOrHash) ([]hexutil.Bytes, error) {
	block, err := api.blockAt(at)
	if block == nil || err != nil {
		return nil, err
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	encoded := make([]hexutil.Bytes, len(receipts))
	for i, receipt := range receipts {
		if encoded[i], err = receipt.MarshalBinary(); err != nil {
			return nil, fmt.Errorf("receipt %d: %w", i, err)
		}
	}
	return encoded, nil
}

// GetRawTransaction returns a canonical or a pooled transaction in its network encoding.
func (api *debugAPI) GetRawTransaction(hash common.Hash) (hexutil.Bytes, error) {
	return (&transactionAPI{api.b}).GetRawTransactionByHash(hash)
}

// ChaindbProperty returns statistics of the database of the chain, as its engine writes them.
func (api *debugAPI) ChaindbProperty() (string, error) {
	if api.b.Database == nil {
		return "", errors.New("the database has no statistics")
	}
	return api.b.Database.Property()
}
