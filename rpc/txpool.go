// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// txpoolAPI is the txpool namespace. As in go-ethereum, its lists do not have blob transactions.
type txpoolAPI struct{ b *backend }

// Status counts the executable transactions (pending) and those behind a nonce gap (queued).
func (api *txpoolAPI) Status() map[string]hexutil.Uint {
	var pending, queued int
	if api.b.Pool != nil {
		pending, queued = api.b.Pool.Stats()
	}
	return map[string]hexutil.Uint{"pending": hexutil.Uint(pending), "queued": hexutil.Uint(queued)}
}

// Content lists all transactions by sender and nonce.
func (api *txpoolAPI) Content() map[string]map[string]map[string]*transactionObject {
	return contentByAccount(api.b, api.encoder())
}

// ContentFrom lists the transactions of one sender by nonce.
func (api *txpoolAPI) ContentFrom(addr common.Address) map[string]map[string]*transactionObject {
	var pending, queued []*types.Transaction
	if api.b.Pool != nil {
		pending, queued = api.b.Pool.ContentFrom(addr)
	}
	encode := api.encoder()
	return map[string]map[string]*transactionObject{"pending": byNonce(pending, encode), "queued": byNonce(queued, encode)}
}

// Inspect lists all transactions by sender and nonce, in a line each.
func (api *txpoolAPI) Inspect() map[string]map[string]map[string]string {
	return contentByAccount(api.b, func(tx *types.Transaction) string {
		to := "contract creation"
		if tx.To() != nil {
			to = tx.To().Hex()
		}
		return fmt.Sprintf("%s: %v wei + %v gas × %v wei", to, tx.Value(), tx.Gas(), tx.GasPrice())
	})
}

// encoder returns the encoding of a pooled transaction under the rules of the head.
func (api *txpoolAPI) encoder() func(*types.Transaction) *transactionObject {
	head, config := api.b.Chain.CurrentHeader(), api.b.Chain.Config()
	return func(tx *types.Transaction) *transactionObject { return pooledTransaction(tx, head, config) }
}

// contentByAccount encodes the pool's content by state (pending, queued), sender and nonce.
func contentByAccount[T any](b *backend, encode func(*types.Transaction) T) map[string]map[string]map[string]T {
	var pending, queued map[common.Address][]*types.Transaction
	if b.Pool != nil {
		pending, queued = b.Pool.Content()
	}
	return map[string]map[string]map[string]T{"pending": bySender(pending, encode), "queued": bySender(queued, encode)}
}

func bySender[T any](accounts map[common.Address][]*types.Transaction, encode func(*types.Transaction) T) map[string]map[string]T {
	out := make(map[string]map[string]T, len(accounts))
	for sender, txs := range accounts {
		out[sender.Hex()] = byNonce(txs, encode)
	}
	return out
}

func byNonce[T any](txs []*types.Transaction, encode func(*types.Transaction) T) map[string]T {
	out := make(map[string]T, len(txs))
	for _, tx := range txs {
		out[strconv.FormatUint(tx.Nonce(), 10)] = encode(tx)
	}
	return out
}
