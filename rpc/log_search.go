// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"

	"github.com/sunbeam-eth/sunbeam/logindex"
)

// errChainChanged says that the blocks that were searched are no longer those of one chain.
var errChainChanged = errors.New("chain changed during the search")

// logSearch is a search for logs in a range of canonical blocks. What the log index covers is found there. Of the other blocks
// it reads all headers, and the receipts where the bloom filter of the header matches.
type logSearch struct {
	api         *logAPI
	turn        *turn
	head        *types.Header // of the chain that is searched
	first, last uint64
	logindex.Criteria
	result *logResult
}

// rangeLogs returns the matching logs of a range. Its blocks are those of one chain: if that changes, the search begins anew.
func (api *logAPI) rangeLogs(ctx context.Context, turn *turn, query filters.FilterCriteria) ([]*types.Log, error) {
	for {
		head := api.b.Chain.CurrentHeader()
		first, last, err := api.resolve(query, head.Number.Uint64())
		if err != nil {
			return nil, err
		}
		end := api.b.Chain.HeaderByNumber(last)
		if end == nil {
			return nil, errPruned() // by a pivot
		}
		s := &logSearch{api, turn, head, first, last, logindex.Criteria{Addresses: query.Addresses, Topics: query.Topics}, newLogResult(api.b.cfg.Logs)}
		switch err := s.run(ctx); {
		case !api.b.canonical(end) || errors.Is(err, errChainChanged):
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		}
		return s.result.logs, nil
	}
}

func (s *logSearch) run(ctx context.Context) error {
	for next := s.first; next <= s.last; {
		found, err := s.indexed(ctx, next)
		if err != nil {
			return err
		}
		if !found.Covers {
			return s.scan(ctx, next, s.last)
		}
		if next < found.First {
			if err := s.scan(ctx, next, found.First-1); err != nil {
				return err
			}
		}
		if err := s.add(found.Logs); err != nil {
			return err
		}
		next = found.Last + 1
	}
	return nil
}

// indexed searches the index for blocks from next on: all of them, or as many as have no more logs than the result may have.
func (s *logSearch) indexed(ctx context.Context, next uint64) (logindex.Result, error) {
	index := s.api.b.LogIndex
	if index == nil {
		return logindex.Result{}, nil
	}
	s.turn.yield()
	query := logindex.Query{First: next, Last: s.last, Criteria: s.Criteria, Budget: s.result.limits.Results}
	for {
		found, err := index.Search(ctx, s.head, query)
		if !errors.Is(err, logindex.ErrTooMany) {
			return found, err
		}
		query.Last = query.First + (query.Last-query.First)/2
		if query.First == query.Last {
			query.Budget = 0 // no shorter range could be asked for
		}
	}
}

// scan searches blocks by the bloom filters of their headers.
func (s *logSearch) scan(ctx context.Context, first, last uint64) error {
	var parent common.Hash
	for number := first; number <= last; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.turn.yield()
		header := s.api.b.Chain.HeaderByNumber(number)
		switch {
		case header == nil:
			return errPruned()
		case number > first && header.ParentHash != parent:
			return errChainChanged
		}
		parent = header.Hash()
		logs, err := s.api.b.matchingLogs(header, &s.Criteria)
		if err != nil {
			return err
		}
		if err := s.add(logs); err != nil {
			return err
		}
	}
	return nil
}

// add adds the logs of one or more blocks. It fails at the first block that exceeds a limit of the result.
func (s *logSearch) add(logs []*types.Log) error {
	for len(logs) > 0 {
		number := logs[0].BlockNumber
		n := slices.IndexFunc(logs, func(log *types.Log) bool { return log.BlockNumber != number })
		if n < 0 {
			n = len(logs)
		}
		s.result.add(logs[:n])
		if err := s.result.check(s.first, number); err != nil {
			s.api.b.metrics.limitExceeded.WithLabelValues(limitLogs).Inc()
			return err
		}
		logs = logs[n:]
	}
	return nil
}

// matchingLogs returns the matching logs of one block.
func (b *backend) matchingLogs(header *types.Header, c *logindex.Criteria) ([]*types.Log, error) {
	if !bloomMatches(header.Bloom, c) {
		return nil, nil
	}
	block := b.Chain.Block(header.Hash())
	if block == nil {
		return nil, errPruned()
	}
	receipts, err := b.receipts(block)
	if err != nil {
		return nil, err
	}
	var logs []*types.Log
	for _, receipt := range receipts {
		for _, log := range receipt.Logs {
			if c.Match(log) {
				logs = append(logs, log)
			}
		}
	}
	return logs, nil
}

func bloomMatches(bloom types.Bloom, c *logindex.Criteria) bool {
	if len(c.Addresses) > 0 && !slices.ContainsFunc(c.Addresses, func(a common.Address) bool {
		return types.BloomLookup(bloom, a)
	}) {
		return false
	}
	for _, topics := range c.Topics {
		if len(topics) > 0 && !slices.ContainsFunc(topics, func(t common.Hash) bool {
			return types.BloomLookup(bloom, t)
		}) {
			return false
		}
	}
	return true
}
