// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// stateView is the state after one block, opened for one request.
type stateView struct {
	header *types.Header
	db     StateDatabase
	state  *state.StateDB
	chain  *chainContext
	turn   *turn
}

// readError is the error latch of the view, nil if all reads succeeded. Results computed on a view with a
// read error are wrong.
func (v *stateView) readError() error {
	return cmp.Or(v.db.Err(), v.chain.Err(), v.state.Error())
}

// readState opens the state of a block and runs read on it, within the limits of state queries.
func readState[T any](ctx context.Context, b *backend, at *gethrpc.BlockNumberOrHash, read func(context.Context, *stateView) (T, error)) (T, error) {
	return readStateAt(ctx, b, orLatest(at), stateLimits{b.stateQueries, b.cfg.EVMTimeout, queryGrace}, read)
}

// readStateAt is readState with limits of the caller.
func readStateAt[T any](ctx context.Context, b *backend, at gethrpc.BlockNumberOrHash, limits stateLimits, read func(context.Context, *stateView) (T, error)) (T, error) {
	if number, ok := at.Number(); ok && b.isPending(number) {
		return readPending(ctx, b, limits, read)
	}
	header, err := b.headerAt(at)
	if err != nil {
		var none T
		return none, err
	}
	return readStateOf(ctx, b, header, limits, read)
}

// stateLimits bound how many requests of a kind read states at once, for how long each (zero: no limit), and for how long
// it may compute before it yields to others.
type stateLimits struct {
	*limiter
	timeout time.Duration
	grace   time.Duration
}

// readStateOf opens the state with the root of a header and runs read on it. No other function opens states. A failed
// read of the state has precedence over both results of read.
func readStateOf[T any](ctx context.Context, b *backend, header *types.Header, limits stateLimits, read func(context.Context, *stateView) (T, error)) (T, error) {
	var none T
	if err := cmp.Or(b.checkHead(), b.checkWindow(header)); err != nil {
		return none, err
	}
	start := time.Now()
	ctx, release, err := limits.acquire(ctx, limits.timeout)
	if err != nil {
		b.metrics.observeStateQuery(outcomeBusy, start)
		return none, err
	}
	defer release()
	turn := b.processors.begin(ctx, limits.grace, limits.timeout)
	defer turn.release()
	turn.yield()
	ctx = b.withMeter(ctx, turn)

	v, err := b.open(ctx, header, turn)
	if err != nil {
		b.metrics.observeStateQuery(outcomeUnavailable, start)
		return none, unavailable(ctx, err, limits.timeout)
	}
	result, err := read(ctx, v)
	if failure := v.readError(); failure != nil {
		b.metrics.observeStateQuery(outcomeUnavailable, start)
		return none, unavailable(ctx, failure, limits.timeout)
	}
	turn.yield() // the result is going to be encoded
	b.metrics.observeStateQuery(outcomeOK, start)
	if err != nil {
		return none, err
	}
	return result, nil
}

// checkHead refuses queries while the genesis block of a public network stands in for a head: callers would take its
// balances for those of today.
func (b *backend) checkHead() error {
	if b.Beam == nil {
		return nil
	}
	if progress := b.Beam.Progress(); progress.NoHead {
		return &unavailableError{errors.New(progress.Reason)}
	}
	return nil
}

// checkWindow refuses blocks whose state peers do not serve any more.
func (b *backend) checkWindow(header *types.Header) error {
	window, number, head := b.States.Window(), header.Number.Uint64(), b.Chain.CurrentHeader().Number.Uint64()
	if window > 0 && number+window <= head {
		return errOutsideWindow(number, head, window)
	}
	return nil
}

func (b *backend) open(ctx context.Context, header *types.Header, turn *turn) (*stateView, error) {
	opened, err := b.States.Open(ctx, header.Root)
	if err != nil {
		return nil, err
	}
	db := sharedState{opened, turn}
	statedb, err := state.New(header.Root, db)
	if err != nil {
		return nil, err
	}
	return &stateView{header: header, db: db, state: statedb, chain: newChainContext(ctx, b, header), turn: turn}, nil
}

// unavailable wraps the error of a failed read, and names the timeout if it has expired. A limit that was exceeded says enough.
func unavailable(ctx context.Context, err error, timeout time.Duration) error {
	var limit *codedError
	if errors.As(err, &limit) {
		return limit
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && timeout > 0 {
		err = fmt.Errorf("not answered within %v: %w", timeout, err)
	}
	return &unavailableError{err}
}
