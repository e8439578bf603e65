// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/tracers"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// debugTraceAPI is the part of the debug namespace that traces transactions and calls with go-ethereum's tracers. They
// are replayed on the state of the parent block. The member reexec has no effect, as in go-ethereum: a state that
// peers do not serve any more is not computed from an older one.
type debugTraceAPI struct{ b *backend }

// tracedTransaction is the trace of a transaction of a block, or why there is none.
type tracedTransaction struct {
	TxHash common.Hash     `json:"txHash"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// TraceTransaction traces a canonical transaction.
func (api *debugTraceAPI) TraceTransaction(ctx context.Context, hash common.Hash, config *tracers.TraceConfig) (json.RawMessage, error) {
	tx, blockHash, _, index := api.b.Chain.Transaction(hash)
	if tx == nil {
		return nil, cmp.Or(api.b.whyNotFound(hash), errors.New("transaction not found"))
	}
	block, err := api.traceable(blockHash)
	if err != nil {
		return nil, err
	}
	return withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) (json.RawMessage, error) {
		if err := r.advance(ctx, int(index)); err != nil {
			return nil, err
		}
		traced, err := r.traced(int(index))
		if err != nil {
			return nil, err
		}
		return newTraceRun(api.b, r.stateView, config).trace(ctx, traced)
	})
}

// traced is the transaction with an index, to be traced on the state that the replay has reached.
func (r *replay) traced(index int) (tracedTx, error) {
	tx := r.block.Transactions()[index]
	msg, err := r.message(tx)
	place := tracers.Context{BlockHash: r.block.Hash(), BlockNumber: r.block.Number(), TxIndex: index, TxHash: tx.Hash()}
	return tracedTx{tx: tx, msg: msg, place: place, blockCtx: r.blockCtx, state: r.state}, err
}

// TraceBlockByNumber traces the transactions of a canonical block, or of the pending one.
func (api *debugTraceAPI) TraceBlockByNumber(ctx context.Context, number gethrpc.BlockNumber, config *tracers.TraceConfig) ([]*tracedTransaction, error) {
	block, err := api.b.blockByNumber(ctx, number)
	if err == nil && block == nil {
		err = fmt.Errorf("block #%d not found", number)
	}
	if err != nil {
		return nil, err
	}
	return api.traceBlock(ctx, block, config)
}

// TraceBlockByHash traces the transactions of a block.
func (api *debugTraceAPI) TraceBlockByHash(ctx context.Context, hash common.Hash, config *tracers.TraceConfig) ([]*tracedTransaction, error) {
	block, err := api.traceable(hash)
	if err != nil {
		return nil, err
	}
	return api.traceBlock(ctx, block, config)
}

// TraceBlock traces the transactions of a block in RLP, whose parent is stored. The block may be invalid.
func (api *debugTraceAPI) TraceBlock(ctx context.Context, encoded hexutil.Bytes, config *tracers.TraceConfig) ([]*tracedTransaction, error) {
	block := new(types.Block)
	if err := rlp.DecodeBytes(encoded, block); err != nil {
		return nil, fmt.Errorf("could not decode block: %w", err)
	}
	return api.traceBlock(ctx, block, config)
}

// TraceBlockFromFile is TraceBlock for a block in a file.
func (api *debugTraceAPI) TraceBlockFromFile(ctx context.Context, name string, config *tracers.TraceConfig) ([]*tracedTransaction, error) {
	path, err := api.b.filePath(ctx, name)
	if err != nil {
		return nil, err
	}
	encoded, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("could not read file: %w", err)
	}
	return api.TraceBlock(ctx, encoded, config)
}

// traceable returns a valid block.
func (api *debugTraceAPI) traceable(hash common.Hash) (*types.Block, error) {
	block, err := api.b.blockByHash(hash)
	if err == nil && block == nil {
		err = fmt.Errorf("block %s not found", hash.Hex())
	}
	return block, err
}

func (api *debugTraceAPI) traceBlock(ctx context.Context, block *types.Block, config *tracers.TraceConfig) ([]*tracedTransaction, error) {
	return withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) ([]*tracedTransaction, error) {
		run := newTraceRun(api.b, r.stateView, config)
		traceNext := run.traceNext
		if name := run.config.Tracer; name != nil && *name != "" && tracers.DefaultDirectory.IsJS(*name) {
			traceNext = run.traceNextApart
		}
		traces := make([]*tracedTransaction, len(block.Transactions()))
		for i := range traces {
			var err error
			if traces[i], err = traceNext(ctx, r, i); err != nil {
				return nil, err
			}
		}
		return traces, nil
	})
}

// traceNext traces the next transaction of a block.
func (t *traceRun) traceNext(ctx context.Context, r *replay, index int) (*tracedTransaction, error) {
	traced, err := r.traced(index)
	if err != nil {
		return nil, err
	}
	result, err := t.trace(ctx, traced)
	if err != nil {
		return nil, err
	}
	return &tracedTransaction{TxHash: traced.place.TxHash, Result: result}, nil
}

// traceNextApart traces the next transaction of a block on a copy of the state, so that a tracer which fails in the midst
// of it does not end the trace of the block.
func (t *traceRun) traceNextApart(ctx context.Context, r *replay, index int) (*tracedTransaction, error) {
	traced, err := r.traced(index)
	if err != nil {
		return nil, err
	}
	traced.state = r.state.Copy()
	result, failure := t.trace(ctx, traced)
	var beyond *codedError
	if errors.As(failure, &beyond) || t.readError() != nil {
		return nil, failure
	}
	if err := r.apply(ctx, index); err != nil {
		return nil, err
	}
	entry := &tracedTransaction{TxHash: traced.place.TxHash, Result: result}
	if failure != nil {
		entry.Error = failure.Error()
	}
	return entry, nil
}

// IntermediateRoots returns the state root after each transaction of a block, up to the first that cannot be executed.
func (api *debugTraceAPI) IntermediateRoots(ctx context.Context, hash common.Hash, _ *tracers.TraceConfig) ([]common.Hash, error) {
	block := api.b.badBlock(hash)
	if block == nil {
		var err error
		if block, err = api.traceable(hash); err != nil {
			return nil, err
		}
	}
	return withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) ([]common.Hash, error) {
		var roots []common.Hash
		for i := range block.Transactions() {
			if r.apply(ctx, i) != nil {
				break
			}
			roots = append(roots, r.state.IntermediateRoot(r.plain.GetRules()))
		}
		return roots, ctx.Err()
	})
}
