// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/logindex"
)

const (
	maxTopics = 4   // of a log
	maxHeads  = 128 // headers announced for one change of head

	maxLogSearches   = 4 // concurrent
	logSearchTimeout = 30 * time.Second
)

// logAPI is the part of the eth namespace about logs and subscriptions. Searches read stored blocks only.
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
	turn := api.b.processors.begin(ctx, queryGrace, logSearchTimeout)
	defer turn.release()
	return api.rangeLogs(ctx, turn, query)
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
	logs, err := api.b.matchingLogs(block.Header(), &logindex.Criteria{Addresses: query.Addresses, Topics: query.Topics})
	if logs == nil && err == nil {
		logs = []*types.Log{}
	}
	return logs, err
}

// resolve returns the block numbers of a range, all of them of stored blocks of the chain of a head.
func (api *logAPI) resolve(query filters.FilterCriteria, head uint64) (first, last uint64, err error) {
	if first, err = api.rangeEnd(query.FromBlock); err != nil {
		return 0, 0, err
	}
	if last, err = api.rangeEnd(query.ToBlock); err != nil {
		return 0, 0, err
	}
	numbers := query.FromBlock != nil && query.FromBlock.Sign() > 0 && query.ToBlock != nil && query.ToBlock.Sign() > 0
	inOrder, distance := first <= last, last-first // which wraps around if they are not in order, as in go-ethereum
	if last == latestBlock && first != latestBlock {
		distance = head - min(first, head)
	}
	if first == latestBlock {
		first = head
	}
	if last == latestBlock {
		last = head
	}
	switch {
	case numbers && !inOrder:
		return 0, 0, invalidParams("invalid block range params")
	case api.b.cfg.Logs.Range > 0 && distance > api.b.cfg.Logs.Range:
		return 0, 0, invalidParams("exceed maximum block range %d", api.b.cfg.Logs.Range)
	case !inOrder || first > last:
		return 0, 0, invalidParams("invalid block range params")
	case last > head:
		return 0, 0, invalidParams("block range extends beyond current head block")
	case first < api.b.Chain.Oldest():
		return 0, 0, errPruned()
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
