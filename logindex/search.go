// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/filtermaps"
	"github.com/ethereum/go-ethereum/core/types"
)

// syncPatience is how long a search waits for filter maps, which cannot answer while they write and a block is imported.
const syncPatience = 200 * time.Millisecond

// ErrTooMany says that a search found more logs than its budget.
var ErrTooMany = errors.New("more logs than the budget")

// Query selects logs of the blocks from First to Last.
type Query struct {
	First, Last uint64
	Criteria
	Budget int // logs; zero: no limit
}

// Criteria selects logs by content. A log must have one of the addresses, unless there is none, and at each position one of the
// topics. An empty position matches every topic, but the log must have one there.
type Criteria struct {
	Addresses []common.Address
	Topics    [][]common.Hash
}

// Match says whether a log is selected.
func (c *Criteria) Match(log *types.Log) bool {
	if len(c.Addresses) > 0 && !slices.Contains(c.Addresses, log.Address) || len(c.Topics) > len(log.Topics) {
		return false
	}
	for i, topics := range c.Topics {
		if len(topics) > 0 && !slices.Contains(topics, log.Topics[i]) {
			return false
		}
	}
	return true
}

// Result is all selected logs of the blocks from First to Last, in the order of the chain.
type Result struct {
	First, Last uint64
	Covers      bool // false: no block is covered
	Logs        []*types.Log
}

// Search finds logs on the chain of a head, in as much of the range as the index covers: its part of a range that is wider. A query
// that every log matches is covered nowhere: reading the blocks is the fastest way. The errors are ErrTooMany and that of ctx.
func (x *Index) Search(ctx context.Context, head *types.Header, q Query) (Result, error) {
	if maps := x.maps.Load(); maps != nil {
		return x.search(ctx, maps, head, q)
	}
	return Result{}, ctx.Err()
}

func (x *Index) search(ctx context.Context, maps *filtermaps.FilterMaps, head *types.Header, q Query) (Result, error) {
	view := blocks{chain: x.cfg.Chain}.view(head)
	if view == nil {
		return Result{}, ctx.Err()
	}
	backend := maps.NewMatcherBackend()
	defer backend.Close()
	before, ok := synchronise(ctx, backend)
	if !ok {
		return Result{}, ctx.Err()
	}
	within := common.NewRange(q.First, q.Last+1-q.First).Intersection(before.IndexedBlocks)
	if within.IsEmpty() {
		return Result{}, nil
	}
	counted := &budget{MatcherBackend: backend, criteria: &q.Criteria, limit: int64(q.Budget)}
	logs, err := filtermaps.GetPotentialMatches(ctx, counted, within.First(), within.Last(), q.Addresses, q.Topics)
	switch {
	case ctx.Err() != nil:
		return Result{}, ctx.Err()
	case counted.exceeded():
		return Result{}, ErrTooMany
	case errors.Is(err, filtermaps.ErrMatchAll):
		return Result{}, nil
	}
	after, ok := synchronise(ctx, backend)
	if !ok {
		return Result{}, ctx.Err()
	}
	valid := after.ValidBlocks.Intersection(within)
	if err != nil {
		if valid == within { // what was read did not change meanwhile
			x.reportDamage(damageError{err, maps})
		}
		return Result{}, nil
	}
	valid = valid.Intersection(view.SharedRange(after.IndexedView))
	if valid.IsEmpty() {
		return Result{}, nil
	}
	logs = slices.DeleteFunc(logs, func(log *types.Log) bool {
		return !valid.Includes(log.BlockNumber) || !q.Match(log)
	})
	return Result{First: valid.First(), Last: valid.Last(), Covers: true, Logs: logs}, nil
}

// synchronise returns what the index covers, false if it takes too long to tell. Then the backend must not be asked again.
func synchronise(ctx context.Context, backend *filtermaps.FilterMapsMatcherBackend) (filtermaps.SyncRange, bool) {
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	at, err := backend.SyncLogIndex(ctx)
	return at, err == nil
}

func (x *Index) reportDamage(damage damageError) {
	select {
	case x.damaged <- damage:
	default:
	}
}

// budget ends a search that finds too many logs.
type budget struct {
	filtermaps.MatcherBackend
	criteria *Criteria
	limit    int64
	found    atomic.Int64
}

func (b *budget) exceeded() bool { return b.limit > 0 && b.found.Load() > b.limit }

// GetLogByLvIndex implements filtermaps.MatcherBackend.
func (b *budget) GetLogByLvIndex(ctx context.Context, index uint64) (*types.Log, error) {
	if b.exceeded() {
		return nil, ErrTooMany
	}
	log, err := b.MatcherBackend.GetLogByLvIndex(ctx, index)
	if log != nil && b.criteria.Match(log) {
		b.found.Add(1)
	}
	return log, err
}
