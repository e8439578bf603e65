// SPDX-License-Identifier: LGPL-3.0-or-later

package witnessfile

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// Execute executes the block on db, which is opened on PreRoot. Headers finds the ancestors that
// BLOCKHASH reads. The executor does it if the file has the parent's header. Without that header the
// executor refuses the block, so Execute runs go-ethereum's processor on the stand-in.
func (f *File) Execute(ctx context.Context, executor *evm.Executor, db evm.State, headers evm.Headers) *evm.Result {
	if f.HasParent {
		return executor.Execute(ctx, evm.Job{Block: f.Block, Parent: f.Parent, State: db, Headers: headers})
	}
	stop := context.AfterFunc(ctx, func() { db.Fail(context.Cause(ctx)) })
	defer stop()
	result, rejection := f.executeOnStandIn(ctx, db, headers)
	if err := db.Err(); err != nil {
		return &evm.Result{Outcome: evm.Incomplete, Err: err}
	}
	if rejection != nil {
		return &evm.Result{Outcome: evm.Invalid, Err: rejection}
	}
	return result
}

// executeOnStandIn executes and validates. Its error is an objection to the block only if the state
// answered every read.
func (f *File) executeOnStandIn(ctx context.Context, db evm.State, headers evm.Headers) (*evm.Result, error) {
	statedb, err := state.New(f.PreRoot, db)
	if err != nil {
		return nil, err
	}
	chain := &standInChain{ctx: ctx, file: f, headers: headers, db: db, engine: beacon.New(ethash.NewFaker())}
	config := vm.Config{Tracer: f.parentHashFix(statedb)}
	processed, err := core.NewStateProcessor(chain).Process(ctx, f.Block, statedb, nil, nil, config, nil)
	if err != nil {
		return nil, err
	}
	if err := core.NewBlockValidator(f.Config, nil).ValidateState(f.Block, statedb, processed, false); err != nil {
		return nil, err
	}
	rules := f.Config.Rules(f.Block.Number(), f.Block.Difficulty().Sign() == 0, f.Block.Time())
	nodes, codes, err := db.Finish(statedb, rules, f.Number)
	if err != nil {
		db.Fail(err)
		return nil, err
	}
	return &evm.Result{
		Outcome:  evm.Valid,
		Receipts: processed.Receipts,
		Requests: processed.Requests,
		Logs:     processed.Logs,
		GasUsed:  processed.GasUsed,
		Nodes:    nodes,
		Codes:    codes,
	}, nil
}

// parentHashFix returns a tracer for EIP-2935: where go-ethereum stores the hash of the stand-in, it
// stores the true parent hash at once. So nothing in the block reads the wrong hash.
func (f *File) parentHashFix(statedb *state.StateDB) *tracing.Hooks {
	wrong := f.Parent.Hash()
	return &tracing.Hooks{
		OnStorageChange: func(addr common.Address, slot, _, value common.Hash) {
			if addr == params.HistoryStorageAddress && value == wrong {
				statedb.SetState(addr, slot, f.Block.ParentHash())
			}
		},
	}
}

// standInChain is core.ChainContext for a block whose parent header is not known.
type standInChain struct {
	ctx     context.Context //nolint:containedctx // ChainContext has none to pass
	file    *File
	headers evm.Headers
	db      evm.State
	engine  consensus.Engine
	started atomic.Bool // the processor has the stand-in
}

// GetHeader implements consensus.ChainHeaderReader. The first request for the parent is that of the
// processor and gets the stand-in. Later ones are those of BLOCKHASH, which reads the hash of the
// grandparent from the header: only the true parent will do.
func (c *standInChain) GetHeader(hash common.Hash, number uint64) *types.Header {
	if hash == c.file.Block.ParentHash() && c.started.CompareAndSwap(false, true) {
		return c.file.Parent
	}
	header, err := c.headers.Header(c.ctx, hash, number)
	if err != nil {
		c.db.Fail(fmt.Errorf("header of block %d %x: %w", number, hash, err))
		return nil
	}
	return header
}

// Config implements consensus.ChainHeaderReader.
func (c *standInChain) Config() *params.ChainConfig { return c.file.Config }

// Engine implements core.ChainContext.
func (c *standInChain) Engine() consensus.Engine { return c.engine }

// CurrentHeader implements consensus.ChainHeaderReader.
func (c *standInChain) CurrentHeader() *types.Header { return c.file.Parent }

// GetHeaderByHash implements consensus.ChainHeaderReader. Execution does not call it.
func (c *standInChain) GetHeaderByHash(common.Hash) *types.Header { return nil }

// GetHeaderByNumber implements consensus.ChainHeaderReader. Execution does not call it.
func (c *standInChain) GetHeaderByNumber(uint64) *types.Header { return nil }
