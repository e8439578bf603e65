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

// view is the state under one block, for one request.
type view struct {
	header *types.Header
	db     StateDatabase
	state  *state.StateDB
	chain  *chainContext
}

// failure is the first read of this view that could not be answered. What was computed on
// a view with a failure means nothing.
func (v *view) failure() error {
	return cmp.Or(v.db.Err(), v.chain.Err(), v.state.Error())
}

// readState runs read on the state of a block, and is the only door to states. What read
// returns counts only if nothing was missing: a failed read of the state has precedence
// over both of its results.
func readState[T any](ctx context.Context, b *backend, at *gethrpc.BlockNumberOrHash, read func(context.Context, *view) (T, error)) (T, error) {
	var none T
	header, err := b.headerAt(orLatest(at))
	if err != nil {
		return none, err
	}
	if err := b.checkWindow(header); err != nil {
		return none, err
	}
	start := time.Now()
	ctx, leave, err := b.states.enter(ctx, b.cfg.EVMTimeout)
	if err != nil {
		b.meters.state("busy", start)
		return none, err
	}
	defer leave()

	v, err := b.open(ctx, header)
	if err != nil {
		b.meters.state("unavailable", start)
		return none, b.unavailable(ctx, err)
	}
	result, err := read(ctx, v)
	if failure := v.failure(); failure != nil {
		b.meters.state("unavailable", start)
		return none, b.unavailable(ctx, failure)
	}
	b.meters.state("ok", start)
	if err != nil {
		return none, err
	}
	return result, nil
}

// checkWindow refuses blocks whose state no peer serves any more.
func (b *backend) checkWindow(header *types.Header) error {
	window, number, head := b.States.Window(), header.Number.Uint64(), b.Chain.CurrentHeader().Number.Uint64()
	if window > 0 && number+window <= head {
		return errWindow(number, head, window)
	}
	return nil
}

func (b *backend) open(ctx context.Context, header *types.Header) (*view, error) {
	db, err := b.States.Open(ctx, header.Root)
	if err != nil {
		return nil, err
	}
	statedb, err := state.New(header.Root, db)
	if err != nil {
		return nil, err
	}
	return &view{header: header, db: db, state: statedb, chain: newChainContext(ctx, b, header)}, nil
}

// unavailable tells the caller what was missing, and whether time ran out.
func (b *backend) unavailable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && b.cfg.EVMTimeout > 0 {
		err = fmt.Errorf("not answered within %v: %w", b.cfg.EVMTimeout, err)
	}
	return &unavailableError{err}
}
