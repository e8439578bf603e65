// SPDX-License-Identifier: LGPL-3.0-or-later

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

	"github.com/sunbeam-eth/sunbeam/trie"
)

// chainContext gives the EVM the ancestors of a block, for BLOCKHASH. An ancestor that cannot be fetched
// sets the error latch, because BLOCKHASH would return zero.
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

// Err is the error latch: the first ancestor that could not be fetched.
func (c *chainContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// GetHeader returns an ancestor by hash, from peers if it is not stored. A header with another number is none:
// the block number of a call can be overridden, and such a block has no ancestors.
func (c *chainContext) GetHeader(hash common.Hash, number uint64) *types.Header {
	if header := c.b.Chain.Header(hash); header != nil {
		if header.Number.Uint64() != number {
			return nil
		}
		return header
	}
	err := errors.New("not stored")
	if c.b.Ancestors != nil && c.Err() == nil {
		header, fetch := c.fetch(hash, number)
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

func (c *chainContext) fetch(hash common.Hash, number uint64) (*types.Header, error) {
	if meter := trie.MeterOf(c.ctx); meter != nil {
		if err := meter.Begin(); err != nil {
			return nil, err
		}
		defer meter.End()
	}
	return c.b.Ancestors.Header(c.ctx, hash, number)
}

func (c *chainContext) Config() *params.ChainConfig { return c.b.Chain.Config() }

func (c *chainContext) Engine() consensus.Engine { return c.engine }

// CurrentHeader is the header of the view.
func (c *chainContext) CurrentHeader() *types.Header { return c.head }

// GetHeaderByNumber returns a stored canonical header.
func (c *chainContext) GetHeaderByNumber(number uint64) *types.Header {
	return c.b.Chain.HeaderByNumber(number)
}

// GetHeaderByHash returns a stored header.
func (c *chainContext) GetHeaderByHash(hash common.Hash) *types.Header {
	return c.b.Chain.Header(hash)
}
