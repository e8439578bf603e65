// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Headers finds ancestors for the BLOCKHASH opcode by hash, locally or in the network. It blocks until
// the header is there or ctx ends.
type Headers interface {
	Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error)
}

// chainContext implements go-ethereum's core.ChainContext over [Headers] for one execution. That
// interface has no error: it answers nil for a missing header, which the BLOCKHASH opcode turns
// into a zero hash. So the first failure is latched here and in the state.
type chainContext struct {
	ctx    context.Context //nolint:containedctx // ChainContext has none to pass
	config *params.ChainConfig
	engine consensus.Engine
	parent *types.Header
	source Headers
	state  State

	mu      sync.Mutex // never held across a fetch
	headers map[common.Hash]*types.Header
	began   bool   // the processor has asked for the parent, which it does first
	oldest  uint64 // of the numbers of headers that were asked for since, and of the block itself
	failed  error
}

func newChainContext(ctx context.Context, e *Executor, job Job) *chainContext {
	return &chainContext{
		ctx:     ctx,
		config:  e.config,
		engine:  e.engine,
		parent:  job.Parent,
		source:  job.Headers,
		state:   job.State,
		headers: map[common.Hash]*types.Header{job.Block.ParentHash(): job.Parent},
		oldest:  job.Block.NumberU64(),
	}
}

// err returns the latched failure, nil if every header was found.
func (c *chainContext) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// oldestHash is the number of the oldest ancestor whose hash was read, at least that of the parent. The hash of an ancestor is
// in the header of its child, which is the oldest header that go-ethereum asks for.
func (c *chainContext) oldestHash() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.oldest - 1
}

// fail latches the failure, also in the state, so that the execution ends early.
func (c *chainContext) fail(err error) {
	c.mu.Lock()
	if c.failed == nil {
		c.failed = err
	}
	c.mu.Unlock()
	c.state.Fail(err)
}

// GetHeader implements consensus.ChainHeaderReader. If the header cannot be had it latches the
// failure and returns nil.
func (c *chainContext) GetHeader(hash common.Hash, number uint64) *types.Header {
	c.mu.Lock()
	header, failed := c.headers[hash], c.failed != nil
	if c.began {
		c.oldest = min(c.oldest, number)
	}
	c.began = true
	c.mu.Unlock()
	if header != nil || failed {
		return header
	}
	header, err := c.source.Header(c.ctx, hash, number)
	if err == nil && (header == nil || header.Hash() != hash) {
		err = trie.ErrWrongBlob
	}
	if err != nil {
		c.fail(fmt.Errorf("header of block %d %x: %w", number, hash, err))
		return nil
	}
	c.mu.Lock()
	c.headers[hash] = header
	c.mu.Unlock()
	return header
}

// Config implements consensus.ChainHeaderReader.
func (c *chainContext) Config() *params.ChainConfig { return c.config }

// Engine implements core.ChainContext.
func (c *chainContext) Engine() consensus.Engine { return c.engine }

// CurrentHeader implements consensus.ChainHeaderReader.
func (c *chainContext) CurrentHeader() *types.Header { return c.parent }

// GetHeaderByHash implements consensus.ChainHeaderReader. Execution does not call it.
func (c *chainContext) GetHeaderByHash(hash common.Hash) *types.Header {
	return c.GetHeader(hash, c.parent.Number.Uint64())
}

// GetHeaderByNumber implements consensus.ChainHeaderReader. Execution does not call it, and
// [Headers] finds ancestors by hash only, so it returns nil.
func (c *chainContext) GetHeaderByNumber(uint64) *types.Header { return nil }
