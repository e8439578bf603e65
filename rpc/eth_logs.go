// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

const (
	maxTopics = 4   // of a log
	maxHeads  = 128 // headers announced for one change of head

	maxLogSearches   = 4 // concurrent
	logSearchTimeout = 30 * time.Second
)

// logAPI is the part of the eth namespace about logs and subscriptions. Searches read stored blocks only.
// There is no log index: a search reads every header in its range, and the receipts where the bloom filter
// of the header matches.
type logAPI struct {
	b             *backend
	searches      *limiter
	heads         *eventFeed
	pending       *eventFeed // of transactions
	syncs         *eventFeed
	subscriptions *subscriptions
}

// GetLogs returns the matching logs in chain order. A range that begins before the oldest stored block is
// error 4444. A result that exceeds a limit is an error, because the caller could not tell a shorter list from a
// complete one.
func (api *logAPI) GetLogs(ctx context.Context, query filters.FilterCriteria) ([]*types.Log, error) {
	if err := api.checkSelectors(query); err != nil {
		return nil, err
	}
	ctx, release, err := api.searches.acquire(ctx, logSearchTimeout)
	if err != nil {
		return nil, err
	}
	defer release()
	if query.BlockHash != nil {
		return api.blockLogs(query)
	}
	first, last, err := api.resolve(query)
	if err != nil {
		return nil, err
	}
	result := newLogResult(api.b.cfg.Logs)
	for number := first; number <= last; number++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header := api.b.Chain.HeaderByNumber(number)
		if header == nil {
			return nil, errPruned()
		}
		found, err := api.search(header, query)
		if err != nil {
			return nil, err
		}
		result.add(found)
		if err := result.check(first, number); err != nil {
			api.b.metrics.limitExceeded.WithLabelValues(limitLogs).Inc()
			return nil, err
		}
	}
	return result.logs, nil
}

func (api *logAPI) checkSelectors(query filters.FilterCriteria) error {
	if len(query.Topics) > maxTopics {
		return errors.New("exceed max topics")
	}
	most := len(query.Addresses)
	for _, topics := range query.Topics {
		most = max(most, len(topics))
	}
	if limit := api.b.cfg.Logs.Selectors; limit > 0 && most > limit {
		return errors.New("exceed max addresses or topics per search position")
	}
	return nil
}

func (api *logAPI) blockLogs(query filters.FilterCriteria) ([]*types.Log, error) {
	if query.FromBlock != nil || query.ToBlock != nil {
		return nil, invalidParams("can't specify fromBlock/toBlock with blockHash")
	}
	block, err := api.b.blockByHash(*query.BlockHash)
	if err != nil {
		return nil, err
	}
	if block == nil {
		return nil, errors.New("unknown block")
	}
	logs, err := api.search(block.Header(), query)
	if logs == nil && err == nil {
		logs = []*types.Log{}
	}
	return logs, err
}

// resolve returns the block numbers of a range, all of them of stored blocks.
func (api *logAPI) resolve(query filters.FilterCriteria) (first, last uint64, err error) {
	if first, err = api.rangeEnd(query.FromBlock); err != nil {
		return 0, 0, err
	}
	if last, err = api.rangeEnd(query.ToBlock); err != nil {
		return 0, 0, err
	}
	head := api.b.Chain.CurrentHeader().Number.Uint64()
	inOrder := first <= last
	if first == latestBlock {
		first = head
	}
	if last == latestBlock {
		last = head
	}
	switch {
	case !inOrder || first > last:
		return 0, 0, invalidParams("invalid block range params")
	case last > head:
		return 0, 0, invalidParams("block range extends beyond current head block")
	case first < api.b.Chain.Oldest():
		return 0, 0, errPruned()
	case api.b.cfg.Logs.Range > 0 && last-first > api.b.cfg.Logs.Range:
		return 0, 0, invalidParams("exceed maximum block range %d", api.b.cfg.Logs.Range)
	}
	return first, last, nil
}

// latestBlock is the tag latest in a range. It is after every number, also that of the head, as in go-ethereum.
const latestBlock = math.MaxUint64

// rangeEnd returns the number of the first or last block of a range, or latestBlock.
func (api *logAPI) rangeEnd(n *big.Int) (uint64, error) {
	tag := gethrpc.LatestBlockNumber
	if n != nil {
		tag = gethrpc.BlockNumber(n.Int64())
	}
	switch tag {
	case gethrpc.LatestBlockNumber:
		return latestBlock, nil
	case gethrpc.PendingBlockNumber:
		return 0, invalidParams("pending logs are not supported")
	case gethrpc.SafeBlockNumber, gethrpc.FinalizedBlockNumber:
		number, err := api.b.number(tag)
		if err != nil {
			return 0, fmt.Errorf("%v header not found", tag)
		}
		return number, nil
	}
	return api.b.number(tag)
}

// search returns the matching logs of one block.
func (api *logAPI) search(header *types.Header, query filters.FilterCriteria) ([]*types.Log, error) {
	if !bloomMatches(header.Bloom, query) {
		return nil, nil
	}
	block := api.b.Chain.Block(header.Hash())
	if block == nil {
		return nil, errPruned()
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	var logs []*types.Log
	for _, receipt := range receipts {
		for _, log := range receipt.Logs {
			if logMatches(log, query) {
				logs = append(logs, log)
			}
		}
	}
	return logs, nil
}

func bloomMatches(bloom types.Bloom, query filters.FilterCriteria) bool {
	if len(query.Addresses) > 0 && !slices.ContainsFunc(query.Addresses, func(a common.Address) bool {
		return types.BloomLookup(bloom, a)
	}) {
		return false
	}
	for _, topics := range query.Topics {
		if len(topics) > 0 && !slices.ContainsFunc(topics, func(t common.Hash) bool {
			return types.BloomLookup(bloom, t)
		}) {
			return false
		}
	}
	return true
}

// logMatches reports whether a log has one of the addresses, and at each position one of the topics. An empty
// position matches every topic, but the log must have one there.
func logMatches(log *types.Log, query filters.FilterCriteria) bool {
	if len(query.Addresses) > 0 && !slices.Contains(query.Addresses, log.Address) {
		return false
	}
	if len(query.Topics) > len(log.Topics) {
		return false
	}
	for i, topics := range query.Topics {
		if len(topics) > 0 && !slices.Contains(topics, log.Topics[i]) {
			return false
		}
	}
	return true
}
