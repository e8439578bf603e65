// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// receiptObject is the receipt of the transaction at an index of the block with this header
// (execution-apis, src/schemas/receipt.yaml).
func receiptObject(receipt *types.Receipt, tx *types.Transaction, header *types.Header, index uint64, signer types.Signer) jsonObject {
	sender, _ := types.Sender(signer, tx)
	logs := receipt.Logs
	if logs == nil {
		logs = []*types.Log{}
	}
	o := jsonObject{
		// The transaction and its place in the chain.
		"transactionHash": tx.Hash(), "type": hexutil.Uint64(tx.Type()), "from": sender, "to": tx.To(),
		"blockHash": header.Hash(), "blockNumber": quantity(header.Number), "transactionIndex": hexutil.Uint64(index),
		// What it cost and what it did.
		"gasUsed": hexutil.Uint64(receipt.GasUsed), "cumulativeGasUsed": hexutil.Uint64(receipt.CumulativeGasUsed),
		"effectiveGasPrice": quantity(receipt.EffectiveGasPrice), "logs": logs, "logsBloom": receipt.Bloom, "contractAddress": nil,
	}
	if created := receipt.ContractAddress; created != (common.Address{}) {
		o["contractAddress"] = created
	}
	if tx.Type() == types.BlobTxType {
		o["blobGasPrice"], o["blobGasUsed"] = quantity(receipt.BlobGasPrice), hexutil.Uint64(receipt.BlobGasUsed)
	}
	if root := receipt.PostState; len(root) > 0 {
		o["root"] = hexutil.Bytes(root)
	} else { // since Byzantium
		o["status"] = hexutil.Uint64(receipt.Status)
	}
	return o
}
