package rpc

import (
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// chainAPI is the part of the eth namespace that reads blocks and what is in them. None of
// it fetches.
type chainAPI struct{ b *backend }

// ChainId returns the chain id of EIP-155.
func (api *chainAPI) ChainId() *hexutil.Big {
	return (*hexutil.Big)(api.b.Chain.Config().ChainID)
}

// BlockNumber returns the number of the head.
func (api *chainAPI) BlockNumber() hexutil.Uint64 {
	return hexutil.Uint64(api.b.Chain.CurrentHeader().Number.Uint64())
}

// Syncing returns false once the head is VALID and served. Consensus clients read
// anything else as a node that is down; how much state is held is in eth_capabilities
// and beam_status.
func (api *chainAPI) Syncing() any {
	if api.b.Beam == nil {
		return false
	}
	progress := api.b.Beam.Progress()
	if !progress.Syncing {
		return false
	}
	return map[string]any{
		"startingBlock": hexutil.Uint64(progress.Start),
		"currentBlock":  hexutil.Uint64(progress.Current),
		"highestBlock":  hexutil.Uint64(progress.Highest),
	}
}

// Accounts returns none: the node holds no keys.
func (api *chainAPI) Accounts() []common.Address { return []common.Address{} }

// GetHeaderByNumber returns a canonical header; null for pending and for markers that are not set.
func (api *chainAPI) GetHeaderByNumber(number gethrpc.BlockNumber) (map[string]any, error) {
	if number == gethrpc.PendingBlockNumber {
		return nil, nil
	}
	header, err := api.b.header(number)
	switch {
	case err != nil && (number == gethrpc.SafeBlockNumber || number == gethrpc.FinalizedBlockNumber):
		return nil, nil // null is what execution-apis says
	case header == nil:
		return nil, err
	}
	return marshalHeader(header), nil
}

// GetHeaderByHash returns the header of an executed block or of an ancestor of one.
func (api *chainAPI) GetHeaderByHash(hash common.Hash) map[string]any {
	if header := api.b.headerByHash(hash); header != nil {
		return marshalHeader(header)
	}
	return nil
}

// GetBlockByNumber returns a canonical block.
func (api *chainAPI) GetBlockByNumber(number gethrpc.BlockNumber, full bool) (map[string]any, error) {
	block, err := api.b.block(number)
	if block == nil || err != nil {
		return nil, err
	}
	return marshalBlock(block, full, api.b.Chain.Config()), nil
}

// GetBlockByHash returns a block, canonical or not.
func (api *chainAPI) GetBlockByHash(hash common.Hash, full bool) (map[string]any, error) {
	block, err := api.b.blockByHash(hash)
	if block == nil || err != nil {
		return nil, err
	}
	return marshalBlock(block, full, api.b.Chain.Config()), nil
}

// GetBlockTransactionCountByNumber counts the transactions of a block.
func (api *chainAPI) GetBlockTransactionCountByNumber(number gethrpc.BlockNumber) (*hexutil.Uint, error) {
	block, err := api.b.block(number)
	return counted(block, err, transactions)
}

// GetBlockTransactionCountByHash counts the transactions of a block.
func (api *chainAPI) GetBlockTransactionCountByHash(hash common.Hash) (*hexutil.Uint, error) {
	block, err := api.b.blockByHash(hash)
	return counted(block, err, transactions)
}

// GetUncleCountByBlockNumber counts the uncles of a block.
func (api *chainAPI) GetUncleCountByBlockNumber(number gethrpc.BlockNumber) (*hexutil.Uint, error) {
	block, err := api.b.block(number)
	return counted(block, err, uncles)
}

// GetUncleCountByBlockHash counts the uncles of a block.
func (api *chainAPI) GetUncleCountByBlockHash(hash common.Hash) (*hexutil.Uint, error) {
	block, err := api.b.blockByHash(hash)
	return counted(block, err, uncles)
}

func transactions(block *types.Block) int { return len(block.Transactions()) }
func uncles(block *types.Block) int       { return len(block.Uncles()) }

// counted counts something of a block that was looked for.
func counted(block *types.Block, err error, of func(*types.Block) int) (*hexutil.Uint, error) {
	if block == nil || err != nil {
		return nil, err
	}
	n := hexutil.Uint(of(block))
	return &n, nil
}

// GetUncleByBlockNumberAndIndex returns an uncle of a block.
func (api *chainAPI) GetUncleByBlockNumberAndIndex(number gethrpc.BlockNumber, index hexutil.Uint) (map[string]any, error) {
	block, err := api.b.block(number)
	return uncleAt(block, index), err
}

// GetUncleByBlockHashAndIndex returns an uncle of a block.
func (api *chainAPI) GetUncleByBlockHashAndIndex(hash common.Hash, index hexutil.Uint) (map[string]any, error) {
	block, err := api.b.blockByHash(hash)
	return uncleAt(block, index), err
}

func uncleAt(block *types.Block, index hexutil.Uint) map[string]any {
	if block == nil || index >= hexutil.Uint(len(block.Uncles())) {
		return nil
	}
	return marshalUncle(types.NewBlockWithHeader(block.Uncles()[index]))
}

// GetBlockReceipts returns the receipts of all transactions of a block.
func (api *chainAPI) GetBlockReceipts(at gethrpc.BlockNumberOrHash) ([]map[string]any, error) {
	block, err := api.b.blockAt(at)
	if block == nil || err != nil {
		return nil, err
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	header := block.Header()
	signer := types.MakeSigner(api.b.Chain.Config(), header.Number, header.Time)
	result := make([]map[string]any, len(receipts))
	for i, receipt := range receipts {
		result[i] = marshalReceipt(receipt, header, signer, block.Transactions()[i], uint64(i))
	}
	return result, nil
}

// GetTransactionByHash returns a canonical transaction or a pooled one, null if it is neither.
func (api *chainAPI) GetTransactionByHash(hash common.Hash) (*transaction, error) {
	tx, blockHash, _, index := api.b.Chain.Transaction(hash)
	if tx == nil {
		if tx = api.b.pooled(hash); tx != nil {
			return newPooledTransaction(tx, api.b.Chain.CurrentHeader(), api.b.Chain.Config()), nil
		}
		return nil, nil
	}
	header := api.b.Chain.Header(blockHash)
	if header == nil {
		return nil, errNoHeader
	}
	return newTransaction(tx, header, index, api.b.Chain.Config()), nil
}

// GetTransactionByBlockNumberAndIndex returns a transaction of a canonical block.
func (api *chainAPI) GetTransactionByBlockNumberAndIndex(number gethrpc.BlockNumber, index hexutil.Uint) (*transaction, error) {
	block, err := api.b.block(number)
	if block == nil || err != nil {
		return nil, err
	}
	return blockTransaction(block, uint64(index), api.b.Chain.Config()), nil
}

// GetTransactionByBlockHashAndIndex returns a transaction of a block.
func (api *chainAPI) GetTransactionByBlockHashAndIndex(hash common.Hash, index hexutil.Uint) (*transaction, error) {
	block, err := api.b.blockByHash(hash)
	if block == nil || err != nil {
		return nil, err
	}
	return blockTransaction(block, uint64(index), api.b.Chain.Config()), nil
}

// GetRawTransactionByHash returns a canonical transaction or a pooled one in its network encoding.
func (api *chainAPI) GetRawTransactionByHash(hash common.Hash) (hexutil.Bytes, error) {
	tx, _, _, _ := api.b.Chain.Transaction(hash)
	if tx == nil {
		tx = api.b.pooled(hash)
	}
	if tx == nil {
		return nil, nil
	}
	return tx.MarshalBinary()
}

// GetRawTransactionByBlockNumberAndIndex returns a transaction in its network encoding.
func (api *chainAPI) GetRawTransactionByBlockNumberAndIndex(number gethrpc.BlockNumber, index hexutil.Uint) (hexutil.Bytes, error) {
	block, err := api.b.block(number)
	return rawAt(block, index, err)
}

// GetRawTransactionByBlockHashAndIndex returns a transaction in its network encoding.
func (api *chainAPI) GetRawTransactionByBlockHashAndIndex(hash common.Hash, index hexutil.Uint) (hexutil.Bytes, error) {
	block, err := api.b.blockByHash(hash)
	return rawAt(block, index, err)
}

func rawAt(block *types.Block, index hexutil.Uint, err error) (hexutil.Bytes, error) {
	if block == nil || err != nil || index >= hexutil.Uint(len(block.Transactions())) {
		return nil, err
	}
	return block.Transactions()[index].MarshalBinary()
}

// GetTransactionReceipt returns the receipt of a canonical transaction, null if it is not held.
func (api *chainAPI) GetTransactionReceipt(hash common.Hash) (map[string]any, error) {
	tx, blockHash, _, index := api.b.Chain.Transaction(hash)
	if tx == nil {
		return nil, nil
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
		return nil, errors.New("transaction index beyond the receipts of its block")
	}
	signer := types.LatestSigner(api.b.Chain.Config())
	return marshalReceipt(receipts[index], block.Header(), signer, tx, index), nil
}
