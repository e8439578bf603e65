package rpc

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// The shapes below are those of go-ethereum's internal/ethapi/api.go, field by field.

// marshalHeader is RPCMarshalHeader.
func marshalHeader(head *types.Header) map[string]any {
	result := map[string]any{
		"number":           (*hexutil.Big)(head.Number),
		"hash":             head.Hash(),
		"parentHash":       head.ParentHash,
		"nonce":            head.Nonce,
		"mixHash":          head.MixDigest,
		"sha3Uncles":       head.UncleHash,
		"logsBloom":        head.Bloom,
		"stateRoot":        head.Root,
		"miner":            head.Coinbase,
		"difficulty":       (*hexutil.Big)(head.Difficulty),
		"extraData":        hexutil.Bytes(head.Extra),
		"gasLimit":         hexutil.Uint64(head.GasLimit),
		"gasUsed":          hexutil.Uint64(head.GasUsed),
		"timestamp":        hexutil.Uint64(head.Time),
		"transactionsRoot": head.TxHash,
		"receiptsRoot":     head.ReceiptHash,
	}
	if head.BaseFee != nil {
		result["baseFeePerGas"] = (*hexutil.Big)(head.BaseFee)
	}
	if head.WithdrawalsHash != nil {
		result["withdrawalsRoot"] = head.WithdrawalsHash
	}
	if head.BlobGasUsed != nil {
		result["blobGasUsed"] = hexutil.Uint64(*head.BlobGasUsed)
	}
	if head.ExcessBlobGas != nil {
		result["excessBlobGas"] = hexutil.Uint64(*head.ExcessBlobGas)
	}
	if head.ParentBeaconRoot != nil {
		result["parentBeaconBlockRoot"] = head.ParentBeaconRoot
	}
	if head.RequestsHash != nil {
		result["requestsHash"] = head.RequestsHash
	}
	if head.BlockAccessListHash != nil {
		result["blockAccessListHash"] = head.BlockAccessListHash
	}
	if head.SlotNumber != nil {
		result["slotNumber"] = hexutil.Uint64(*head.SlotNumber)
	}
	return result
}

// marshalBlock is RPCMarshalBlock with transactions, as hashes or in full.
func marshalBlock(block *types.Block, full bool, config *params.ChainConfig) map[string]any {
	fields := marshalUncle(block)
	txs := make([]any, len(block.Transactions()))
	for i, tx := range block.Transactions() {
		if full {
			txs[i] = blockTransaction(block, uint64(i), config)
		} else {
			txs[i] = tx.Hash()
		}
	}
	fields["transactions"] = txs
	return fields
}

// marshalUncle is RPCMarshalBlock without transactions.
func marshalUncle(block *types.Block) map[string]any {
	fields := marshalHeader(block.Header())
	fields["size"] = hexutil.Uint64(block.Size())
	uncles := make([]common.Hash, len(block.Uncles()))
	for i, uncle := range block.Uncles() {
		uncles[i] = uncle.Hash()
	}
	fields["uncles"] = uncles
	if block.Withdrawals() != nil {
		fields["withdrawals"] = block.Withdrawals()
	}
	return fields
}

// transaction is RPCTransaction.
type transaction struct {
	BlockHash           *common.Hash                 `json:"blockHash"`
	BlockNumber         *hexutil.Big                 `json:"blockNumber"`
	BlockTimestamp      *hexutil.Uint64              `json:"blockTimestamp"`
	From                common.Address               `json:"from"`
	Gas                 hexutil.Uint64               `json:"gas"`
	GasPrice            *hexutil.Big                 `json:"gasPrice"`
	GasFeeCap           *hexutil.Big                 `json:"maxFeePerGas,omitempty"`
	GasTipCap           *hexutil.Big                 `json:"maxPriorityFeePerGas,omitempty"`
	MaxFeePerBlobGas    *hexutil.Big                 `json:"maxFeePerBlobGas,omitempty"`
	Hash                common.Hash                  `json:"hash"`
	Input               hexutil.Bytes                `json:"input"`
	Nonce               hexutil.Uint64               `json:"nonce"`
	To                  *common.Address              `json:"to"`
	TransactionIndex    *hexutil.Uint64              `json:"transactionIndex"`
	Value               *hexutil.Big                 `json:"value"`
	Type                hexutil.Uint64               `json:"type"`
	Accesses            *types.AccessList            `json:"accessList,omitempty"`
	ChainID             *hexutil.Big                 `json:"chainId,omitempty"`
	BlobVersionedHashes []common.Hash                `json:"blobVersionedHashes,omitempty"`
	AuthorizationList   []types.SetCodeAuthorization `json:"authorizationList,omitempty"`
	V                   *hexutil.Big                 `json:"v"`
	R                   *hexutil.Big                 `json:"r"`
	S                   *hexutil.Big                 `json:"s"`
	YParity             *hexutil.Uint64              `json:"yParity,omitempty"`
}

// blockTransaction is the transaction at an index of a block; nil beyond the last.
func blockTransaction(block *types.Block, index uint64, config *params.ChainConfig) *transaction {
	if index >= uint64(len(block.Transactions())) {
		return nil
	}
	return newTransaction(block.Transactions()[index], block.Header(), index, config)
}

// newTransaction is newRPCTransaction for a transaction in a block.
func newTransaction(tx *types.Transaction, header *types.Header, index uint64, config *params.ChainConfig) *transaction {
	hash, timestamp := header.Hash(), hexutil.Uint64(header.Time)
	result := newPooledTransaction(tx, header, config)
	result.BlockHash, result.BlockNumber, result.BlockTimestamp = &hash, (*hexutil.Big)(header.Number), &timestamp
	result.TransactionIndex = (*hexutil.Uint64)(&index)
	if tx.Type() >= types.DynamicFeeTxType && header.BaseFee != nil {
		result.GasPrice = (*hexutil.Big)(effectivePrice(tx, header.BaseFee))
	}
	return result
}

// newPooledTransaction is NewRPCPendingTransaction: a transaction by itself, under the rules of head.
func newPooledTransaction(tx *types.Transaction, head *types.Header, config *params.ChainConfig) *transaction {
	var (
		signer  = types.MakeSigner(config, head.Number, head.Time)
		from, _ = types.Sender(signer, tx)
		v, r, s = tx.RawSignatureValues()
	)
	result := &transaction{
		From:     from,
		Gas:      hexutil.Uint64(tx.Gas()),
		GasPrice: (*hexutil.Big)(tx.GasPrice()),
		Hash:     tx.Hash(),
		Input:    hexutil.Bytes(tx.Data()),
		Nonce:    hexutil.Uint64(tx.Nonce()),
		To:       tx.To(),
		Value:    (*hexutil.Big)(tx.Value()),
		Type:     hexutil.Uint64(tx.Type()),
		V:        (*hexutil.Big)(v),
		R:        (*hexutil.Big)(r),
		S:        (*hexutil.Big)(s),
	}
	if tx.Type() == types.LegacyTxType {
		if id := tx.ChainId(); id.Sign() != 0 { // EIP-155
			result.ChainID = (*hexutil.Big)(id)
		}
		return result
	}
	accesses, yParity := tx.AccessList(), hexutil.Uint64(v.Sign())
	result.Accesses, result.YParity = &accesses, &yParity
	result.ChainID = (*hexutil.Big)(tx.ChainId())
	if tx.Type() == types.AccessListTxType {
		return result
	}
	result.GasFeeCap = (*hexutil.Big)(tx.GasFeeCap())
	result.GasTipCap = (*hexutil.Big)(tx.GasTipCap())
	result.GasPrice = (*hexutil.Big)(tx.GasFeeCap())
	switch tx.Type() {
	case types.BlobTxType:
		result.MaxFeePerBlobGas = (*hexutil.Big)(tx.BlobGasFeeCap())
		result.BlobVersionedHashes = tx.BlobHashes()
	case types.SetCodeTxType:
		result.AuthorizationList = tx.SetCodeAuthorizations()
	}
	return result
}

// effectivePrice is what a transaction paid per gas: min(tip + base fee, fee cap).
func effectivePrice(tx *types.Transaction, baseFee *big.Int) *big.Int {
	fee := new(big.Int).Add(tx.GasTipCap(), baseFee)
	if tx.GasFeeCapIntCmp(fee) < 0 {
		return tx.GasFeeCap()
	}
	return fee
}

// marshalReceipt is MarshalReceipt.
func marshalReceipt(receipt *types.Receipt, header *types.Header, signer types.Signer, tx *types.Transaction, index uint64) map[string]any {
	from, _ := types.Sender(signer, tx)
	fields := map[string]any{
		"blockHash":         header.Hash(),
		"blockNumber":       hexutil.Uint64(header.Number.Uint64()),
		"transactionHash":   tx.Hash(),
		"transactionIndex":  hexutil.Uint64(index),
		"from":              from,
		"to":                tx.To(),
		"gasUsed":           hexutil.Uint64(receipt.GasUsed),
		"cumulativeGasUsed": hexutil.Uint64(receipt.CumulativeGasUsed),
		"contractAddress":   nil,
		"logs":              receipt.Logs,
		"logsBloom":         receipt.Bloom,
		"type":              hexutil.Uint(tx.Type()),
		"effectiveGasPrice": (*hexutil.Big)(receipt.EffectiveGasPrice),
	}
	if len(receipt.PostState) > 0 { // before Byzantium
		fields["root"] = hexutil.Bytes(receipt.PostState)
	} else {
		fields["status"] = hexutil.Uint(receipt.Status)
	}
	if receipt.Logs == nil {
		fields["logs"] = []*types.Log{}
	}
	if tx.Type() == types.BlobTxType {
		fields["blobGasUsed"] = hexutil.Uint64(receipt.BlobGasUsed)
		fields["blobGasPrice"] = (*hexutil.Big)(receipt.BlobGasPrice)
	}
	if receipt.ContractAddress != (common.Address{}) {
		fields["contractAddress"] = receipt.ContractAddress
	}
	return fields
}
