// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/tracers"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// traceCallConfig are the options of debug_traceCall.
type traceCallConfig struct {
	tracers.TraceConfig
	StateOverrides *stateOverride
	BlockOverrides *blockOverride
	TxIndex        *hexutil.Uint // trace on the state before this transaction of the block
}

// TraceCall traces a message on the state of a block, or on that before one of its transactions.
func (api *debugTraceAPI) TraceCall(ctx context.Context, args callObject, at *gethrpc.BlockNumberOrHash, config *traceCallConfig) (json.RawMessage, error) {
	block, err := api.blockAt(orLatest(at))
	if err != nil {
		return nil, err
	}
	if config != nil && config.TxIndex != nil {
		if block.NumberU64() == 0 {
			return nil, errors.New("no transaction in genesis")
		}
		return withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) (json.RawMessage, error) {
			if err := r.advance(ctx, int(*config.TxIndex)); err != nil {
				return nil, err
			}
			return api.traceCall(ctx, r.stateView, block.Header(), args, config)
		})
	}
	return readStateOf(ctx, api.b, block.Header(), api.b.traceLimits(), func(ctx context.Context, v *stateView) (json.RawMessage, error) {
		return api.traceCall(ctx, v, v.header, args, config)
	})
}

func (api *debugTraceAPI) blockAt(at gethrpc.BlockNumberOrHash) (*types.Block, error) {
	if hash, ok := at.Hash(); ok {
		return api.traceable(hash)
	}
	number, ok := at.Number()
	switch {
	case !ok:
		return nil, errNoSelector
	case number == gethrpc.PendingBlockNumber:
		return nil, errors.New("tracing on top of pending is not supported")
	}
	return api.b.canonicalBlock(number)
}

// traceCall traces a message on the state of a view, in the block with a header.
func (api *debugTraceAPI) traceCall(ctx context.Context, v *stateView, header *types.Header, args callObject, config *traceCallConfig) (json.RawMessage, error) {
	traced, err := api.b.tracedCall(v, header, args, config)
	if err != nil {
		return nil, err
	}
	run := newTraceRun(api.b, v, nil)
	if config != nil {
		run.config = config.TraceConfig
	}
	return run.trace(ctx, traced)
}

// tracedCall is a message as a transaction to be traced.
func (b *backend) tracedCall(v *stateView, header *types.Header, args callObject, config *traceCallConfig) (tracedTx, error) {
	traced := tracedTx{blockCtx: core.NewEVMBlockContext(header, v.chain, nil), state: v.state}
	chain := b.Chain.Config()
	if config != nil {
		if err := overrideTraced(&traced, v, header, config.BlockOverrides); err != nil {
			return traced, err
		}
		rules := chain.Rules(traced.blockCtx.BlockNumber, traced.blockCtx.Random != nil, traced.blockCtx.Time)
		traced.precompiles = vm.ActivePrecompiledContracts(rules)
		if err := config.StateOverrides.apply(v.state, traced.precompiles); err != nil {
			return traced, err
		}
	}
	defaults := callDefaults{gas: uncappedGas, gasCap: b.cfg.GasCap, baseFee: traced.blockCtx.BaseFee, chainID: chain.ChainID}
	msg, err := args.message(defaults)
	if err != nil {
		return traced, err
	}
	traced.msg, traced.tx = msg.SkipExecutionGasCapCheck(), args.unsigned(defaults, args.AccessList)
	waiveBaseFees(&traced.blockCtx, msg)
	return traced, nil
}

// overrideTraced applies a block override. If it moves the call to the next block, as wallets do, BLOCKHASH finds the
// block on whose state the call runs.
func overrideTraced(traced *tracedTx, v *stateView, header *types.Header, override *blockOverride) error {
	if override != nil && override.Number != nil && override.Number.ToInt().Uint64() == header.Number.Uint64()+1 {
		next := types.CopyHeader(header)
		next.ParentHash, next.Number = header.Hash(), following(header.Number)
		traced.blockCtx.GetHash = core.GetHashFn(next, v.chain)
	}
	_, err := override.apply(&traced.blockCtx, header)
	return err
}
