package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// backend is what the namespaces share.
type backend struct {
	Backend
	cfg    Config
	log    *slog.Logger
	states *gate // state queries
	meters *meters
}

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

// chainContext is the chain under a block as the EVM sees it. An ancestor that cannot
// be had sets its latch, because BLOCKHASH would answer zero.
type chainContext struct {
	ctx    context.Context //nolint:containedctx // of one request; core.ChainContext takes none
	b      *backend
	head   *types.Header
	engine consensus.Engine

	mu  sync.Mutex
	err error
}

func newChainContext(ctx context.Context, b *backend, head *types.Header) *chainContext {
	return &chainContext{ctx: ctx, b: b, head: head, engine: beacon.New(ethash.NewFaker())}
}

// Err is the latch: the first ancestor that could not be had.
func (c *chainContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// GetHeader finds an ancestor by hash, from peers if need be.
func (c *chainContext) GetHeader(hash common.Hash, number uint64) *types.Header {
	if header := c.b.Chain.Header(hash); header != nil {
		return header
	}
	err := errors.New("not held")
	if c.b.Ancestors != nil && c.Err() == nil {
		header, fetch := c.b.Ancestors.Header(c.ctx, hash, number)
		if fetch == nil && header != nil {
			return header
		}
		err = fetch
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = fmt.Errorf("header %d (%x): %w", number, hash, err)
	}
	return nil
}

func (c *chainContext) Config() *params.ChainConfig { return c.b.Chain.Config() }
func (c *chainContext) Engine() consensus.Engine    { return c.engine }

// CurrentHeader is the block that the request stands on.
func (c *chainContext) CurrentHeader() *types.Header { return c.head }

// GetHeaderByNumber finds a canonical header among those held.
func (c *chainContext) GetHeaderByNumber(number uint64) *types.Header {
	return c.b.Chain.HeaderByNumber(number)
}

// GetHeaderByHash finds a header among those held.
func (c *chainContext) GetHeaderByHash(hash common.Hash) *types.Header {
	return c.b.Chain.Header(hash)
}
