// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// jsonObject is an object whose members depend on the fork. encoding/json sorts the members by name,
// which is the order in go-ethereum's responses too.
type jsonObject map[string]any

// addOptional adds a member that older forks do not have, unless value is nil.
func addOptional[T any](o jsonObject, name string, value *T) {
	if value != nil {
		o[name] = value
	}
}

// quantity encodes a number without leading zeros; nil is null.
func quantity(n *big.Int) *hexutil.Big { return (*hexutil.Big)(n) }

// headerObject has the header members of the block object (execution-apis, src/schemas/block.yaml).
func headerObject(h *types.Header) jsonObject {
	o := jsonObject{
		// Position in the chain.
		"hash": h.Hash(), "parentHash": h.ParentHash, "number": quantity(h.Number), "timestamp": hexutil.Uint64(h.Time),
		// Commitments to the body and to the result of its execution.
		"sha3Uncles": h.UncleHash, "transactionsRoot": h.TxHash, "stateRoot": h.Root, "receiptsRoot": h.ReceiptHash, "logsBloom": h.Bloom,
		"gasLimit": hexutil.Uint64(h.GasLimit), "gasUsed": hexutil.Uint64(h.GasUsed),
		// Proposer; the seal of proof of work, of which mixHash is the prevRandao value since the merge.
		"miner": h.Coinbase, "extraData": hexutil.Bytes(h.Extra), "difficulty": quantity(h.Difficulty), "mixHash": h.MixDigest, "nonce": h.Nonce,
	}
	addOptional(o, "baseFeePerGas", quantity(h.BaseFee))                // London
	addOptional(o, "withdrawalsRoot", h.WithdrawalsHash)                // Shanghai
	addOptional(o, "blobGasUsed", (*hexutil.Uint64)(h.BlobGasUsed))     // Cancun
	addOptional(o, "excessBlobGas", (*hexutil.Uint64)(h.ExcessBlobGas)) // Cancun
	addOptional(o, "parentBeaconBlockRoot", h.ParentBeaconRoot)         // Cancun
	addOptional(o, "requestsHash", h.RequestsHash)                      // Prague
	addOptional(o, "blockAccessListHash", h.BlockAccessListHash)        // Amsterdam
	addOptional(o, "slotNumber", (*hexutil.Uint64)(h.SlotNumber))       // Amsterdam
	return o
}

// uncleObject is the block object of an uncle: without the member transactions.
func uncleObject(header *types.Header) jsonObject {
	return bodyObject(types.NewBlockWithHeader(header))
}

// blockObject is the block object with transaction hashes, or with transaction objects if full.
func blockObject(block *types.Block, full bool, config *params.ChainConfig) jsonObject {
	transactions := make([]any, len(block.Transactions()))
	for i, tx := range block.Transactions() {
		if full {
			transactions[i] = transactionAt(block, uint64(i), config)
		} else {
			transactions[i] = tx.Hash()
		}
	}
	o := bodyObject(block)
	o["transactions"] = transactions
	return o
}

// bodyObject adds to the header members what is known of a block beyond its header, transactions aside.
func bodyObject(block *types.Block) jsonObject {
	o := headerObject(block.Header())
	o["size"] = hexutil.Uint64(block.Size())
	hashes := []common.Hash{}
	for _, uncle := range block.Uncles() {
		hashes = append(hashes, uncle.Hash())
	}
	o["uncles"] = hashes
	if withdrawals := block.Withdrawals(); withdrawals != nil { // Shanghai
		o["withdrawals"] = withdrawals
	}
	return o
}
