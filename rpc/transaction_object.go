// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// transactionObject is a signed transaction with its place in the chain (execution-apis,
// src/schemas/transaction.yaml). The parts are embedded because encoding/json writes members in the
// order of the fields, and this is the order of go-ethereum's responses.
type transactionObject struct {
	inclusion
	Sender   common.Address `json:"from"`
	GasLimit hexutil.Uint64 `json:"gas"`
	offeredFees
	Hash      common.Hash     `json:"hash"`
	Input     hexutil.Bytes   `json:"input"`
	Nonce     hexutil.Uint64  `json:"nonce"`
	Recipient *common.Address `json:"to"` // null: contract creation
	Index     *hexutil.Uint64 `json:"transactionIndex"`
	Value     *hexutil.Big    `json:"value"`
	Type      hexutil.Uint64  `json:"type"`
	typedPayload
	signature
}

// inclusion names the block that a transaction is in. All is null while the transaction is pooled.
type inclusion struct {
	BlockHash *common.Hash    `json:"blockHash"`
	Number    *hexutil.Big    `json:"blockNumber"`
	Timestamp *hexutil.Uint64 `json:"blockTimestamp"`
}

// offeredFees are prices in wei per unit of gas. Price is the effective one of an included transaction.
type offeredFees struct {
	Price   *hexutil.Big `json:"gasPrice"`
	Cap     *hexutil.Big `json:"maxFeePerGas,omitempty"`         // EIP-1559
	Tip     *hexutil.Big `json:"maxPriorityFeePerGas,omitempty"` // EIP-1559
	BlobCap *hexutil.Big `json:"maxFeePerBlobGas,omitempty"`     // EIP-4844
}

// typedPayload are the members that a transaction type added to those of a legacy transaction.
type typedPayload struct {
	AccessList     *types.AccessList            `json:"accessList,omitempty"` // EIP-2930
	ChainID        *hexutil.Big                 `json:"chainId,omitempty"`    // EIP-155, EIP-2930
	BlobHashes     []common.Hash                `json:"blobVersionedHashes,omitempty"`
	Authorizations []types.SetCodeAuthorization `json:"authorizationList,omitempty"` // EIP-7702
}

type signature struct {
	V       *hexutil.Big    `json:"v"`
	R       *hexutil.Big    `json:"r"`
	S       *hexutil.Big    `json:"s"`
	YParity *hexutil.Uint64 `json:"yParity,omitempty"` // not of legacy transactions
}

// transactionAt is the transaction at an index of a block, nil beyond the last.
func transactionAt(block *types.Block, index uint64, config *params.ChainConfig) *transactionObject {
	if index >= uint64(len(block.Transactions())) {
		return nil
	}
	return includedTransaction(block.Transactions()[index], block.Header(), index, config)
}

// includedTransaction is a transaction of the block with this header.
func includedTransaction(tx *types.Transaction, header *types.Header, index uint64, config *params.ChainConfig) *transactionObject {
	o := pooledTransaction(tx, header, config)
	hash := header.Hash()
	o.inclusion = inclusion{BlockHash: &hash, Number: quantity(header.Number), Timestamp: (*hexutil.Uint64)(&header.Time)}
	o.Index = (*hexutil.Uint64)(&index)
	if o.Cap != nil && header.BaseFee != nil {
		o.Price = quantity(effectiveGasPrice(tx, header.BaseFee))
	}
	return o
}

// pooledTransaction is a transaction outside any block. The head decides by which rules its sender is recovered.
func pooledTransaction(tx *types.Transaction, head *types.Header, config *params.ChainConfig) *transactionObject {
	sender, _ := types.Sender(types.MakeSigner(config, head.Number, head.Time), tx)
	o := &transactionObject{
		Sender: sender, Recipient: tx.To(), Nonce: hexutil.Uint64(tx.Nonce()), Value: quantity(tx.Value()), Input: tx.Data(),
		GasLimit: hexutil.Uint64(tx.Gas()), Hash: tx.Hash(), Type: hexutil.Uint64(tx.Type()),
	}
	v, r, s := tx.RawSignatureValues()
	o.signature = signature{V: quantity(v), R: quantity(r), S: quantity(s)}
	o.Price = quantity(tx.GasPrice()) // the fee cap, where the transaction has one
	if tx.Type() == types.LegacyTxType {
		if tx.ChainId().Sign() > 0 { // replay-protected
			o.ChainID = quantity(tx.ChainId())
		}
		return o
	}
	accesses := tx.AccessList()
	o.typedPayload = typedPayload{AccessList: &accesses, ChainID: quantity(tx.ChainId()), BlobHashes: tx.BlobHashes(), Authorizations: tx.SetCodeAuthorizations()}
	o.YParity = ptr(hexutil.Uint64(v.Uint64()))
	if tx.Type() >= types.DynamicFeeTxType {
		o.Cap, o.Tip, o.BlobCap = quantity(tx.GasFeeCap()), quantity(tx.GasTipCap()), quantity(tx.BlobGasFeeCap())
	}
	return o
}

// effectiveGasPrice is what a transaction pays per unit of gas: base fee and tip, at most the fee cap (EIP-1559).
func effectiveGasPrice(tx *types.Transaction, baseFee *big.Int) *big.Int {
	price := new(big.Int).Add(baseFee, tx.GasTipCap())
	if limit := tx.GasFeeCap(); price.Cmp(limit) > 0 {
		return limit
	}
	return price
}
