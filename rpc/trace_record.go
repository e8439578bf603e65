// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/tracers"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// record executes a transaction and returns the kinds of trace that the caller asks for. The state changes.
func (t *traceRun) record(ctx context.Context, traced tracedTx, kinds traceKinds) (*replayResult, error) {
	if traced.precompiles == nil {
		c := &traced.blockCtx
		traced.precompiles = vm.ActivePrecompiledContracts(t.chain.Rules(c.BlockNumber, c.Random != nil, c.Time))
	}
	var (
		meter   = &traceMeter{left: t.left, limit: t.limit}
		hooks   = new(tracing.Hooks)
		calls   = &callRecorder{precompiles: traced.precompiles}
		diff    *diffRecorder
		ops     *vmRecorder
		stopped atomic.Pointer[error]
	)
	calls.addTo(hooks)
	if kinds.diff {
		diff = newDiffRecorder(traced.state, meter)
		diff.addTo(hooks)
	}
	if kinds.vm {
		ops = &vmRecorder{state: traced.state, meter: meter}
		ops.addTo(hooks)
	}
	tracer := &tracers.Tracer{Hooks: hooks, Stop: func(err error) { stopped.CompareAndSwap(nil, &err) }}
	if err := t.execute(ctx, traced, tracer, meter); err != nil {
		return nil, err
	}
	if why := stopped.Load(); why != nil {
		return nil, *why
	}
	t.left = meter.left
	result := &replayResult{Output: calls.output, Trace: []*callTrace{}}
	if kinds.calls {
		result.Trace = calls.traces
	}
	if kinds.diff {
		result.StateDiff = diff.result(traced.state)
	}
	if kinds.vm {
		result.VMTrace = ops.root
	}
	return result, t.readError()
}

// placed are the call traces of the transaction with an index in a block.
func placed(result *replayResult, block *types.Block, index int) []*placedTrace {
	hash, position := block.Transactions()[index].Hash(), uint64(index)
	traces := make([]*placedTrace, len(result.Trace))
	for i, trace := range result.Trace {
		traces[i] = &placedTrace{
			Action: trace.Action, BlockHash: block.Hash(), BlockNumber: block.NumberU64(), Error: trace.Error, Result: trace.Result,
			Subtraces: trace.Subtraces, TraceAddress: trace.TraceAddress, TxHash: &hash, TxPosition: &position, Type: trace.Type,
		}
	}
	return traces
}

// rewardTraces are the rewards of a block and of its uncles, which there were before the merge.
func rewardTraces(config *params.ChainConfig, block *types.Block) (traces []*placedTrace) {
	if block.Difficulty().Sign() == 0 {
		return nil
	}
	base := ethash.FrontierBlockReward
	if config.IsByzantium(block.Number()) {
		base = ethash.ByzantiumBlockReward
	}
	if config.IsConstantinople(block.Number()) {
		base = ethash.ConstantinopleBlockReward
	}
	add := func(header *types.Header, kind string, wei *uint256.Int) {
		action := rewardAction{Author: header.Coinbase, Type: kind, Value: (*hexutil.Big)(wei.ToBig())}
		traces = append(traces, &placedTrace{Action: action, BlockHash: block.Hash(), BlockNumber: block.NumberU64(), TraceAddress: []int{}, Type: "reward"})
	}
	uncles := uint64(len(block.Uncles()))
	share := new(uint256.Int).Rsh(base, 5) // for including an uncle
	add(block.Header(), "block", new(uint256.Int).Add(base, share.Mul(share, uint256.NewInt(uncles))))
	for _, uncle := range block.Uncles() {
		wei := uint256.NewInt(uncle.Number.Uint64() + 8 - block.NumberU64())
		add(uncle, "uncle", wei.Rsh(wei.Mul(wei, base), 3))
	}
	return traces
}
