// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// maxFilteredBlocks is how many blocks one trace_filter may replay.
const maxFilteredBlocks = 100

// traceFilter selects call traces of a range of blocks.
type traceFilter struct {
	FromBlock *gethrpc.BlockNumber `json:"fromBlock"` // absent: earliest
	ToBlock   *gethrpc.BlockNumber `json:"toBlock"`   // absent: latest
	From      []common.Address     `json:"fromAddress"`
	To        []common.Address     `json:"toAddress"`
	Mode      string               `json:"mode"`  // of From and To: union, which is the default, or intersection
	After     *hexutil.Uint64      `json:"after"` // how many to leave out
	Count     *hexutil.Uint64      `json:"count"` // how many to return
}

// Filter returns the call traces of a range of blocks whose sender or recipient is in a list.
func (api *traceAPI) Filter(ctx context.Context, query traceFilter) ([]*placedTrace, error) {
	first, last, err := api.filterRange(query)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withOptionalTimeout(api.b.withBudget(ctx), api.b.cfg.Traces.Timeout)
	defer cancel()
	found, skip, left := []*placedTrace{}, uint64(valueOr(query.After, 0)), api.b.cfg.ResponseBytes
	for number := first; number <= last; number++ {
		block, err := api.b.canonicalBlock(gethrpc.BlockNumber(number))
		if err != nil {
			return nil, err
		}
		traces, err := api.blockTraces(ctx, block, left)
		if err != nil {
			return nil, err
		}
		for _, trace := range traces {
			switch {
			case !query.matches(trace):
			case skip > 0:
				skip--
			case query.Count != nil && uint64(len(found)) >= uint64(*query.Count):
				return found, nil
			default:
				found = append(found, trace)
				left -= trace.size()
			}
		}
	}
	return found, nil
}

func (api *traceAPI) filterRange(query traceFilter) (first, last uint64, err error) {
	switch query.Mode {
	case "", "union", "intersection":
	default:
		return 0, 0, invalidParams("unknown mode %q (have union, intersection)", query.Mode)
	}
	if first, err = api.b.number(valueOr(query.FromBlock, gethrpc.EarliestBlockNumber)); err != nil {
		return 0, 0, err
	}
	if last, err = api.b.number(valueOr(query.ToBlock, gethrpc.LatestBlockNumber)); err != nil {
		return 0, 0, err
	}
	switch {
	case first > last:
		return 0, 0, invalidParams("invalid block range: %d to %d", first, last)
	case last-first >= maxFilteredBlocks:
		return 0, 0, &codedError{codeLimitExceeded, fmt.Sprintf("%d blocks to replay, at most %d in one call", last-first+1, maxFilteredBlocks)}
	}
	return first, last, nil
}

// matches reports whether the filter selects a trace. A list that is empty selects all.
func (q *traceFilter) matches(trace *placedTrace) bool {
	from, to := trace.parties()
	sends, receives := slices.Contains(q.From, from), slices.Contains(q.To, to)
	switch {
	case len(q.From) == 0 && len(q.To) == 0:
		return true
	case len(q.From) == 0:
		return receives
	case len(q.To) == 0:
		return sends
	case q.Mode == "intersection":
		return sends && receives
	}
	return sends || receives
}

// parties are the addresses that a trace_filter compares.
func (t *placedTrace) parties() (from, to common.Address) {
	switch action := t.Action.(type) {
	case callAction:
		return action.From, action.To
	case createAction:
		if created, ok := t.Result.(*createOutput); ok {
			to = created.Address
		}
		return action.From, to
	case selfdestructAction:
		return action.Address, action.RefundAddress
	case rewardAction:
		return common.Address{}, action.Author
	}
	return from, to
}

// size estimates the JSON of a trace, in bytes.
func (t *placedTrace) size() int {
	size := frameOverhead
	switch action := t.Action.(type) {
	case callAction:
		size += 2 * len(action.Input)
	case createAction:
		size += 2 * len(action.Init)
	}
	switch result := t.Result.(type) {
	case *callOutput:
		size += 2 * len(result.Output)
	case *createOutput:
		size += 2 * len(result.Code)
	}
	return size
}
