// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/tracers"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// maxChainTraces is how many subscriptions to traces of a chain may be open. Each traces one block at a time.
const maxChainTraces = 4

// traceChainAPI is the subscription to traces of a range of blocks (debug_subscribe).
type traceChainAPI struct {
	traces  debugTraceAPI
	limiter *limiter
}

// tracedBlock is one notification of a chain trace. The traces end with the first transaction that has none; Error is
// why a block has no traces at all, and then the subscription ends.
type tracedBlock struct {
	Block  hexutil.Uint64       `json:"block"`
	Hash   common.Hash          `json:"hash"`
	Traces []*tracedTransaction `json:"traces"`
	Error  string               `json:"error,omitempty"`
}

// TraceChain traces the canonical blocks after start up to end. It announces those that have transactions, and the last.
func (api *traceChainAPI) TraceChain(ctx context.Context, start, end gethrpc.BlockNumber, config *tracers.TraceConfig) (*gethrpc.Subscription, error) {
	from, err := api.traces.b.canonicalBlock(start)
	if err != nil {
		return nil, err
	}
	to, err := api.traces.b.canonicalBlock(end)
	if err != nil {
		return nil, err
	}
	if from.NumberU64() >= to.NumberU64() {
		return nil, fmt.Errorf("end block (#%d) needs to come after start block (#%d)", end, start)
	}
	notifier, supported := gethrpc.NotifierFromContext(ctx)
	if !supported {
		return &gethrpc.Subscription{}, gethrpc.ErrNotificationsUnsupported
	}
	ctx, release, err := api.limiter.tryAcquire(context.WithoutCancel(ctx)) // the context of the call ends with it
	if err != nil {
		return nil, err
	}
	sub := notifier.CreateSubscription()
	go func() {
		defer release()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-sub.Err():
				cancel()
			case <-ctx.Done():
			}
		}()
		api.announce(ctx, from.NumberU64()+1, to.NumberU64(), config, func(traced *tracedBlock) error { return notifier.Notify(sub.ID, traced) })
	}()
	return sub, nil
}

// announce traces blocks until one cannot be traced, a notification is not taken, or ctx ends.
func (api *traceChainAPI) announce(ctx context.Context, first, last uint64, config *tracers.TraceConfig, notify func(*tracedBlock) error) {
	for number := first; number <= last && ctx.Err() == nil; number++ {
		block, err := api.traces.b.canonicalBlock(gethrpc.BlockNumber(number))
		if err != nil {
			_ = notify(&tracedBlock{Block: hexutil.Uint64(number), Error: err.Error()}) // nothing follows in any case
			return
		}
		traced := &tracedBlock{Block: hexutil.Uint64(number), Hash: block.Hash()}
		if traced.Traces, err = api.block(ctx, block, config); err != nil {
			traced.Error = err.Error()
		}
		if len(traced.Traces) == 0 && err == nil && number != last {
			continue
		}
		if notify(traced) != nil || err != nil {
			return
		}
	}
}

// block traces the transactions of a block up to the first for which that fails. A panic of a tracer is an error, as it
// is where the RPC server recovers it.
func (api *traceChainAPI) block(ctx context.Context, block *types.Block, config *tracers.TraceConfig) (traces []*tracedTransaction, err error) {
	defer func() {
		if r := recover(); r != nil {
			traces, err = nil, fmt.Errorf("tracer panicked: %v", r)
		}
	}()
	return withReplay(ctx, api.traces.b, block, func(ctx context.Context, r *replay) ([]*tracedTransaction, error) {
		run := newTraceRun(api.traces.b, r.stateView, config)
		traces := make([]*tracedTransaction, len(block.Transactions()))
		for i, tx := range block.Transactions() {
			traced, err := run.traceNext(ctx, r, i)
			if err != nil {
				traces[i] = &tracedTransaction{TxHash: tx.Hash(), Error: err.Error()}
				break
			}
			traces[i] = traced
		}
		return traces, nil
	})
}
