// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

const filterExpiry = 5 * time.Minute // since the last poll, as in go-ethereum

// errFilterNotFound is go-ethereum's error for an unknown id and for the id of an expired filter.
var errFilterNotFound = errors.New("filter not found")

// filterAPI is the part of the eth namespace for clients that poll for new blocks and logs. A filter is a reader of
// head events, so it holds no events itself. It expires if it is not polled within filterExpiry, or if the feed
// drops an event that it has not read.
type filterAPI struct {
	logs *logAPI

	mu    sync.Mutex
	open  map[gethrpc.ID]*filter
	slots int // of all open filters
}

type filter struct {
	interest              // blocks, logs or pending transactions
	reader   *eventReader // guarded by filterAPI.mu
	expiry   *time.Timer
}

func newFilterAPI(logs *logAPI) *filterAPI {
	return &filterAPI{logs: logs, open: make(map[gethrpc.ID]*filter)}
}

// NewBlockFilter creates a filter for the hashes of blocks that become canonical.
func (api *filterAPI) NewBlockFilter() (gethrpc.ID, error) {
	return api.add(api.logs.heads, interest{})
}

// NewPendingTransactionFilter creates a filter for the transactions of the pool that become executable: their hashes,
// or with full the whole transactions.
func (api *filterAPI) NewPendingTransactionFilter(full *bool) (gethrpc.ID, error) {
	return api.add(api.logs.pending, interest{encode: api.logs.b.pendingEncoder(full)})
}

// NewFilter creates a filter for the logs that the subscription Logs would announce.
func (api *filterAPI) NewFilter(query filters.FilterCriteria) (gethrpc.ID, error) {
	if err := api.logs.checkSubscription(query); err != nil {
		return "", err
	}
	return api.add(api.logs.heads, interest{query: &query})
}

func (api *filterAPI) add(feed *eventFeed, what interest) (gethrpc.ID, error) {
	api.mu.Lock()
	defer api.mu.Unlock()
	limit, metrics := api.logs.b.cfg.Subscriptions.Filters, api.logs.b.metrics
	if api.slots+what.slots() > limit {
		metrics.limitExceeded.WithLabelValues(limitFilters).Inc()
		return "", errTooMany("filters on this node", limit, "rpc.max-filters")
	}
	id := gethrpc.NewID()
	api.open[id] = &filter{
		interest: what,
		reader:   feed.open(),
		expiry:   time.AfterFunc(filterExpiry, func() { api.UninstallFilter(id) }),
	}
	api.slots += what.slots()
	metrics.filters.Set(float64(api.slots))
	return id, nil
}

// UninstallFilter removes a filter. It returns false if there is none.
func (api *filterAPI) UninstallFilter(id gethrpc.ID) bool {
	api.mu.Lock()
	defer api.mu.Unlock()
	return api.removeLocked(id)
}

func (api *filterAPI) removeLocked(id gethrpc.ID) bool {
	f, ok := api.open[id]
	if !ok {
		return false
	}
	f.expiry.Stop()
	f.reader.close()
	delete(api.open, id)
	api.slots -= f.interest.slots()
	api.logs.b.metrics.filters.Set(float64(api.slots))
	return true
}

// GetFilterChanges returns the logs, block hashes or pending transactions since the last poll. If there are more logs than one response
// may have, it ends with a whole event, and the next poll returns what follows.
func (api *filterAPI) GetFilterChanges(id gethrpc.ID) (any, error) {
	api.mu.Lock()
	defer api.mu.Unlock()
	f, ok := api.open[id]
	if !ok {
		return nil, errFilterNotFound
	}
	f.expiry.Reset(filterExpiry)
	hashes, txs, logs := []common.Hash{}, []any{}, newLogResult(api.logs.b.cfg.Logs)
	for !logs.full() {
		ev, _, _, err := f.reader.read()
		if err != nil {
			api.logs.b.log.Debug("Removed filter", "id", id, "err", err)
			api.removeLocked(id)
			return nil, errFilterNotFound
		}
		if ev == nil {
			break
		}
		for _, tx := range ev.txs {
			txs = append(txs, f.encode(tx))
		}
		if f.query == nil {
			for _, header := range ev.headers {
				hashes = append(hashes, header.Hash())
			}
			continue
		}
		logs.add(ev.matching(*f.query))
	}
	switch {
	case f.encode != nil:
		return txs, nil
	case f.query == nil:
		return hashes, nil
	}
	return logs.logs, nil
}

// GetFilterLogs returns all logs that match a log filter, as GetLogs does.
func (api *filterAPI) GetFilterLogs(ctx context.Context, id gethrpc.ID) ([]*types.Log, error) {
	api.mu.Lock()
	f, ok := api.open[id]
	api.mu.Unlock()
	if !ok || f.query == nil {
		return nil, errFilterNotFound
	}
	return api.logs.GetLogs(ctx, *f.query)
}
