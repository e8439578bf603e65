// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/logindex"
)

// NewHeads announces every block that becomes canonical (eth_subscribe). If one change of head makes more than
// maxHeads canonical, it announces the newest of them.
func (api *logAPI) NewHeads(ctx context.Context) (*gethrpc.Subscription, error) {
	return api.subscribe(ctx, api.heads, api.b.Heads != nil, interest{})
}

// NewPendingTransactions announces every transaction of the pool that becomes executable (eth_subscribe): its hash, or
// with full the whole transaction.
func (api *logAPI) NewPendingTransactions(ctx context.Context, full *bool) (*gethrpc.Subscription, error) {
	return api.subscribe(ctx, api.pending, api.b.Pool != nil, interest{encode: api.b.pendingEncoder(full)})
}

// pendingEncoder returns how pending transactions are announced.
func (b *backend) pendingEncoder(full *bool) func(*types.Transaction) any {
	if full == nil || !*full {
		return func(tx *types.Transaction) any { return tx.Hash() }
	}
	return func(tx *types.Transaction) any {
		return pooledTransaction(tx, b.Chain.CurrentHeader(), b.Chain.Config())
	}
}

// Logs announces the logs of every block that becomes canonical, and again, with removed set, those of every
// block that is no longer canonical (eth_subscribe).
func (api *logAPI) Logs(ctx context.Context, query filters.FilterCriteria) (*gethrpc.Subscription, error) {
	if err := api.checkSubscription(query); err != nil {
		return nil, err
	}
	return api.subscribe(ctx, api.heads, api.b.Heads != nil, interest{query: &query})
}

// subscribe creates a subscription to a feed, if that runs. It ends with its connection.
func (api *logAPI) subscribe(ctx context.Context, feed *eventFeed, runs bool, what interest) (*gethrpc.Subscription, error) {
	notifier, notifies := gethrpc.NotifierFromContext(ctx)
	conn, connected := gethrpc.ClientFromContext(ctx)
	if !notifies || !connected || !runs {
		return nil, gethrpc.ErrNotificationsUnsupported
	}
	return api.subscriptions.add(subscriberKey{conn, feed}, gethrpc.PeerInfoFromContext(ctx), notifier, what)
}

func (api *logAPI) checkSubscription(query filters.FilterCriteria) error {
	if query.BlockHash != nil {
		return invalidParams("can't subscribe to the logs of one block")
	}
	return api.checkSelectors(query)
}

// matching are the logs of an event that a subscription or filter announces.
func (ev *feedEvent) matching(query filters.FilterCriteria) (logs []*types.Log) {
	criteria := logindex.Criteria{Addresses: query.Addresses, Topics: query.Topics}
	for _, log := range ev.logs {
		if criteria.Match(log) && inRange(log, query) {
			logs = append(logs, log)
		}
	}
	return logs
}

// inRange applies the block range of a subscription. Tags do not limit it.
func inRange(log *types.Log, query filters.FilterCriteria) bool {
	number := new(big.Int).SetUint64(log.BlockNumber)
	if from := query.FromBlock; from != nil && from.Sign() >= 0 && number.Cmp(from) < 0 {
		return false
	}
	to := query.ToBlock
	return to == nil || to.Sign() < 0 || number.Cmp(to) <= 0
}
