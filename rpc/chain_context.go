package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

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

func (c *chainContext) Engine() consensus.Engine { return c.engine }

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
