// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// maxReceiptHashes is how many transactions one subscription may name, as in go-ethereum.
const maxReceiptHashes = 200

var errTooManyReceiptHashes = errors.New("exceed max number of transaction hashes allowed per transactionReceipts subscription")

// receiptFilter is the parameter of the subscription transactionReceipts.
type receiptFilter struct {
	TransactionHashes []common.Hash `json:"transactionHashes"` // empty: all
}

// TransactionReceipts announces the receipts of every block that becomes canonical, as a list: those of all its
// transactions, or of the named ones (eth_subscribe). A block that has none of these is not announced.
func (api *logAPI) TransactionReceipts(ctx context.Context, filter *receiptFilter) (*gethrpc.Subscription, error) {
	query := &receiptQuery{b: api.b, hashes: make(map[common.Hash]struct{})}
	if filter != nil {
		if len(filter.TransactionHashes) > maxReceiptHashes {
			return nil, errTooManyReceiptHashes
		}
		for _, hash := range filter.TransactionHashes {
			query.hashes[hash] = struct{}{}
		}
	}
	return api.subscribe(ctx, api.heads, api.b.Heads != nil, interest{receipts: query})
}

// receiptQuery selects receipts of a block.
type receiptQuery struct {
	b      *backend
	hashes map[common.Hash]struct{} // of transactions; empty: all
}

// of returns the selected receipts of the block with a header.
func (q *receiptQuery) of(header *types.Header) ([]jsonObject, error) {
	block := q.b.Chain.Block(header.Hash())
	if block == nil {
		return nil, fmt.Errorf("block %d is not stored", header.Number)
	}
	receipts, err := q.b.receipts(block)
	if err != nil {
		return nil, err
	}
	var selected []jsonObject
	signer := types.MakeSigner(q.b.Chain.Config(), header.Number, header.Time)
	for i, tx := range block.Transactions() {
		if _, named := q.hashes[tx.Hash()]; named || len(q.hashes) == 0 {
			selected = append(selected, receiptObject(receipts[i], tx, header, uint64(i), signer))
		}
	}
	return selected, nil
}
