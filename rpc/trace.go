// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/tracers"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// traceAPI is the trace namespace of Parity (https://openethereum.github.io/JSONRPC-trace-module), as Erigon,
// Nethermind and reth have it.
type traceAPI struct{ b *backend }

// traceKinds are the kinds of trace that a caller asks for.
type traceKinds struct{ calls, diff, vm bool }

// UnmarshalJSON implements json.Unmarshaler.
func (k *traceKinds) UnmarshalJSON(encoded []byte) error {
	var names []string
	if err := json.Unmarshal(encoded, &names); err != nil {
		return err
	}
	for _, name := range names {
		switch name {
		case "trace":
			k.calls = true
		case "stateDiff":
			k.diff = true
		case "vmTrace":
			k.vm = true
		default:
			return fmt.Errorf("unknown kind of trace %q (have trace, stateDiff, vmTrace)", name)
		}
	}
	return nil
}

// Block returns the call traces of all transactions of a block, and its rewards before the merge; null for a block
// number in the future.
func (api *traceAPI) Block(ctx context.Context, at gethrpc.BlockNumberOrHash) ([]*placedTrace, error) {
	block, err := api.b.blockAtOrPending(ctx, at)
	if block == nil || err != nil {
		return nil, err
	}
	return api.blockTraces(ctx, block, api.b.cfg.ResponseBytes)
}

// blockTraces returns the call traces of a block, at most limit bytes.
func (api *traceAPI) blockTraces(ctx context.Context, block *types.Block, limit int) ([]*placedTrace, error) {
	traces := []*placedTrace{}
	if block.NumberU64() == 0 {
		return traces, nil
	}
	results, err := api.replayBlock(ctx, block, traceKinds{calls: true}, limit)
	if err != nil {
		return nil, err
	}
	for i, result := range results {
		traces = append(traces, placed(result, block, i)...)
	}
	return append(traces, rewardTraces(api.b.Chain.Config(), block)...), nil
}

// Transaction returns the call traces of a canonical transaction; null for an unknown hash.
func (api *traceAPI) Transaction(ctx context.Context, hash common.Hash) ([]*placedTrace, error) {
	result, block, index, err := api.replayCanonical(ctx, hash, traceKinds{calls: true})
	if result == nil || err != nil {
		return nil, err
	}
	return placed(result, block, index), nil
}

// Get returns the call trace with an address among those of a transaction; null if there is none.
func (api *traceAPI) Get(ctx context.Context, hash common.Hash, address []hexutil.Uint64) (*placedTrace, error) {
	traces, err := api.Transaction(ctx, hash)
	for _, trace := range traces {
		if slices.EqualFunc(trace.TraceAddress, address, func(have int, want hexutil.Uint64) bool { return uint64(have) == uint64(want) }) {
			return trace, nil
		}
	}
	return nil, err
}

// ReplayTransaction returns traces of a canonical transaction.
func (api *traceAPI) ReplayTransaction(ctx context.Context, hash common.Hash, kinds traceKinds) (*replayResult, error) {
	result, _, _, err := api.replayCanonical(ctx, hash, kinds)
	return result, err
}

// ReplayBlockTransactions returns traces of all transactions of a block; null for a block number in the future.
func (api *traceAPI) ReplayBlockTransactions(ctx context.Context, at gethrpc.BlockNumberOrHash, kinds traceKinds) ([]*replayResult, error) {
	block, err := api.b.blockAtOrPending(ctx, at)
	if block == nil || err != nil {
		return nil, err
	}
	if block.NumberU64() == 0 {
		return []*replayResult{}, nil
	}
	results, err := api.replayBlock(ctx, block, kinds, api.b.cfg.ResponseBytes)
	for i, result := range results {
		result.TxHash = ptr(block.Transactions()[i].Hash())
	}
	return results, err
}

// replayBlock traces all transactions of a block, at most limit bytes.
func (api *traceAPI) replayBlock(ctx context.Context, block *types.Block, kinds traceKinds, limit int) ([]*replayResult, error) {
	return withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) ([]*replayResult, error) {
		run := newTraceRun(api.b, r.stateView, nil)
		run.left = limit
		results := make([]*replayResult, len(block.Transactions()))
		for i := range results {
			traced, err := r.traced(i)
			if err != nil {
				return nil, err
			}
			if results[i], err = run.record(ctx, traced, kinds); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

// replayCanonical traces a canonical transaction. The result is nil for an unknown hash.
func (api *traceAPI) replayCanonical(ctx context.Context, hash common.Hash, kinds traceKinds) (*replayResult, *types.Block, int, error) {
	tx, blockHash, _, position := api.b.Chain.Transaction(hash)
	if tx == nil {
		return nil, nil, 0, api.b.whyNotFound(hash)
	}
	index := int(position)
	block, err := api.b.blockByHash(blockHash)
	if block == nil || err != nil {
		return nil, nil, 0, err
	}
	result, err := withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) (*replayResult, error) {
		if err := r.advance(ctx, index); err != nil {
			return nil, err
		}
		traced, err := r.traced(index)
		if err != nil {
			return nil, err
		}
		return newTraceRun(api.b, r.stateView, nil).record(ctx, traced, kinds)
	})
	return result, block, index, err
}

// Call traces a message on the state of a block.
func (api *traceAPI) Call(ctx context.Context, args callObject, kinds traceKinds, at *gethrpc.BlockNumberOrHash) (*replayResult, error) {
	results, err := api.CallMany(ctx, []callToTrace{{args, kinds}}, at)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// callToTrace is a message with the kinds of its trace: [call object, kinds] in JSON.
type callToTrace struct {
	args  callObject
	kinds traceKinds
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *callToTrace) UnmarshalJSON(encoded []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(encoded, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("a call to trace is [call object, kinds of trace], not %d values", len(parts))
	}
	if err := json.Unmarshal(parts[0], &c.args); err != nil {
		return err
	}
	return json.Unmarshal(parts[1], &c.kinds)
}

// CallMany traces messages on the state of a block, each on the state that the one before it leaves.
func (api *traceAPI) CallMany(ctx context.Context, calls []callToTrace, at *gethrpc.BlockNumberOrHash) ([]*replayResult, error) {
	return readStateAt(ctx, api.b, orLatest(at), api.b.traceLimits(), func(ctx context.Context, v *stateView) ([]*replayResult, error) {
		run := newTraceRun(api.b, v, nil)
		results := make([]*replayResult, len(calls))
		for i, call := range calls {
			traced, err := api.b.tracedCall(v, v.header, call.args, nil)
			if err != nil {
				return nil, err
			}
			traced.place.TxIndex = i
			if results[i], err = run.record(ctx, traced, call.kinds); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

// RawTransaction traces a signed transaction on the state of the latest block, without sending it.
func (api *traceAPI) RawTransaction(ctx context.Context, encoded hexutil.Bytes, kinds traceKinds) (*replayResult, error) {
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(encoded); err != nil {
		return nil, err
	}
	header, config := api.b.Chain.CurrentHeader(), api.b.Chain.Config()
	msg, err := core.TransactionToMessage(tx, types.MakeSigner(config, header.Number, header.Time), header.BaseFee)
	if err != nil {
		return nil, err
	}
	return readStateOf(ctx, api.b, header, api.b.traceLimits(), func(ctx context.Context, v *stateView) (*replayResult, error) {
		place := tracers.Context{TxHash: tx.Hash()}
		traced := tracedTx{tx: tx, msg: msg, place: place, blockCtx: core.NewEVMBlockContext(header, v.chain, nil), state: v.state}
		return newTraceRun(api.b, v, nil).record(ctx, traced, kinds)
	})
}
