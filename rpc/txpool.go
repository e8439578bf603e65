package rpc

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// txpoolAPI is the txpool namespace. As in go-ethereum, its lists are without blob transactions.
type txpoolAPI struct{ b *backend }

// Status counts the transactions that can be executed now and those that wait for others.
func (api *txpoolAPI) Status() map[string]hexutil.Uint {
	var pending, queued int
	if api.b.Pool != nil {
		pending, queued = api.b.Pool.Stats()
	}
	return map[string]hexutil.Uint{"pending": hexutil.Uint(pending), "queued": hexutil.Uint(queued)}
}

// Content lists all transactions by sender and nonce.
func (api *txpoolAPI) Content() map[string]map[string]map[string]*transactionObject {
	return listed(api.b, api.show())
}

// ContentFrom lists the transactions of one sender by nonce.
func (api *txpoolAPI) ContentFrom(addr common.Address) map[string]map[string]*transactionObject {
	var pending, queued []*types.Transaction
	if api.b.Pool != nil {
		pending, queued = api.b.Pool.ContentFrom(addr)
	}
	show := api.show()
	return map[string]map[string]*transactionObject{"pending": byNonce(pending, show), "queued": byNonce(queued, show)}
}

// Inspect lists all transactions by sender and nonce, in a line each.
func (api *txpoolAPI) Inspect() map[string]map[string]map[string]string {
	return listed(api.b, func(tx *types.Transaction) string {
		to := "contract creation"
		if tx.To() != nil {
			to = tx.To().Hex()
		}
		return fmt.Sprintf("%s: %v wei + %v gas × %v wei", to, tx.Value(), tx.Gas(), tx.GasPrice())
	})
}

func (api *txpoolAPI) show() func(*types.Transaction) *transactionObject {
	head, config := api.b.Chain.CurrentHeader(), api.b.Chain.Config()
	return func(tx *types.Transaction) *transactionObject { return pooledTransaction(tx, head, config) }
}

// listed shows the pool's content.
func listed[T any](b *backend, show func(*types.Transaction) T) map[string]map[string]map[string]T {
	var pending, queued map[common.Address][]*types.Transaction
	if b.Pool != nil {
		pending, queued = b.Pool.Content()
	}
	out := make(map[string]map[string]map[string]T)
	for name, accounts := range map[string]map[common.Address][]*types.Transaction{"pending": pending, "queued": queued} {
		out[name] = make(map[string]map[string]T, len(accounts))
		for addr, txs := range accounts {
			out[name][addr.Hex()] = byNonce(txs, show)
		}
	}
	return out
}

func byNonce[T any](txs []*types.Transaction, show func(*types.Transaction) T) map[string]T {
	out := make(map[string]T, len(txs))
	for _, tx := range txs {
		out[fmt.Sprint(tx.Nonce())] = show(tx)
	}
	return out
}
