// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"math/big"

	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// deriveReceipts fills in what the store does not keep because the block tells it.
func deriveReceipts(config *params.ChainConfig, block *types.Block, receipts types.Receipts) error {
	var blobGasPrice *big.Int
	if block.ExcessBlobGas() != nil && config.IsCancun(block.Number(), block.Time()) {
		blobGasPrice = eip4844.CalcBlobFee(config, block.Header())
	}
	baseFee := block.BaseFee()
	if baseFee == nil {
		baseFee = new(big.Int)
	}
	return receipts.DeriveFields(config, block.Hash(), block.NumberU64(), block.Time(), baseFee, blobGasPrice, block.Transactions())
}

// decodeAccessList returns nil for what is absent or no access list.
func decodeAccessList(raw rlp.RawValue) *bal.BlockAccessList {
	if len(raw) == 0 {
		return nil
	}
	list := new(bal.BlockAccessList)
	if err := rlp.DecodeBytes(raw, list); err != nil {
		return nil
	}
	return list
}
