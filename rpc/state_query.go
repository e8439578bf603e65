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
}

// readError is the error latch of the view, nil if all reads succeeded. Results computed on a view with a
// read error are wrong.
func (v *stateView) readError() error {
	return cmp.Or(v.db.Err(), v.chain.Err(), v.state.Error())
}

// readState opens the state of a block and runs read on it. No other function opens states. A failed read of
// the state has precedence over both results of read.
func readState[T any](ctx context.Context, b *backend, at *gethrpc.BlockNumberOrHash, read func(context.Context, *stateView) (T, error)) (T, error) {
	var none T
	header, err := b.headerAt(orLatest(at))
	if err != nil {
		return none, err
	}
	if err := b.checkWindow(header); err != nil {
		return none, err
	}
	start := time.Now()
	ctx, release, err := b.stateQueries.acquire(ctx, b.cfg.EVMTimeout)
	if err != nil {
		b.metrics.observeStateQuery(outcomeBusy, start)
		return none, err
	}
	defer release()

	v, err := b.open(ctx, header)
	if err != nil {
		b.metrics.observeStateQuery(outcomeUnavailable, start)
		return none, b.unavailable(ctx, err)
	}
	result, err := read(ctx, v)
	if failure := v.readError(); failure != nil {
		b.metrics.observeStateQuery(outcomeUnavailable, start)
		return none, b.unavailable(ctx, failure)
	}
	b.metrics.observeStateQuery(outcomeOK, start)
	if err != nil {
		return none, err
	}
	return result, nil
}

// checkWindow refuses blocks whose state peers do not serve any more.
func (b *backend) checkWindow(header *types.Header) error {
	window, number, head := b.States.Window(), header.Number.Uint64(), b.Chain.CurrentHeader().Number.Uint64()
	if window > 0 && number+window <= head {
		return errOutsideWindow(number, head, window)
	}
	return nil
}

func (b *backend) open(ctx context.Context, header *types.Header) (*stateView, error) {
	db, err := b.States.Open(ctx, header.Root)
	if err != nil {
		return nil, err
	}
	statedb, err := state.New(header.Root, db)
	if err != nil {
		return nil, err
	}
	return &stateView{header: header, db: db, state: statedb, chain: newChainContext(ctx, b, header)}, nil
}

// unavailable wraps the error of a failed read, and names the timeout if it has expired.
func (b *backend) unavailable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && b.cfg.EVMTimeout > 0 {
		err = fmt.Errorf("not answered within %v: %w", b.cfg.EVMTimeout, err)
	}
	return &unavailableError{err}
}
