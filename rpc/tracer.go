// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/tracers"
	_ "github.com/ethereum/go-ethereum/eth/tracers/js" // tracers of callers, and those by name that are written in JavaScript
	"github.com/ethereum/go-ethereum/eth/tracers/logger"
	_ "github.com/ethereum/go-ethereum/eth/tracers/native" // callTracer, prestateTracer and others
	"github.com/ethereum/go-ethereum/params"
)

const (
	// defaultTxTraceTimeout is the time for one transaction, unless the caller gives another; that of go-ethereum.
	defaultTxTraceTimeout = 5 * time.Second
	// frameOverhead estimates the JSON of a call frame without its input and output, in bytes.
	frameOverhead = 400
)

// tracedTx is a transaction to be traced, or a call that is like one.
type tracedTx struct {
	tx          *types.Transaction
	msg         *core.Message
	place       tracers.Context
	blockCtx    vm.BlockContext
	state       *state.StateDB
	precompiles vm.PrecompiledContracts // nil: those of the fork
}

// traceRun makes the traces of one request, within its limits.
type traceRun struct {
	chain     *params.ChainConfig
	config    tracers.TraceConfig
	readError func() error
	turn      *turn
	limit     int // bytes of JSON of all traces
	left      int // of limit
}

func newTraceRun(b *backend, v *stateView, config *tracers.TraceConfig) *traceRun {
	limit := b.cfg.ResponseBytes
	return &traceRun{chain: b.Chain.Config(), config: valueOr(config, tracers.TraceConfig{}), readError: v.readError, turn: v.turn, limit: limit, left: limit}
}

// trace executes a transaction and returns what the tracer that the caller asks for has recorded.
func (t *traceRun) trace(ctx context.Context, traced tracedTx) (json.RawMessage, error) {
	tracer, err := t.newTracer(&traced.place)
	if err != nil {
		return nil, err
	}
	timeout := defaultTxTraceTimeout
	if t.config.Timeout != nil {
		if timeout, err = time.ParseDuration(*t.config.Timeout); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := t.execute(ctx, traced, tracer, &traceMeter{left: t.left, limit: t.limit}); err != nil {
		return nil, err
	}
	return t.result(tracer)
}

// execute runs a transaction under a tracer, at most until ctx ends. The state changes. A trace that read state which
// could not be fetched is an error, and so is one beyond the limit.
func (t *traceRun) execute(ctx context.Context, traced tracedTx, tracer *tracers.Tracer, meter *traceMeter) error {
	meter.turn = t.turn
	hooks := meter.hooks(tracer.Hooks)
	evm := vm.NewEVM(traced.blockCtx, state.NewHookedState(traced.state, hooks), t.chain, vm.Config{Tracer: hooks, NoBaseFee: true})
	defer evm.Release()
	meter.stop = func(err error) {
		meter.stopped.Store(true)
		tracer.Stop(err)
		evm.Cancel()
	}
	if traced.precompiles != nil {
		evm.SetPrecompiles(traced.precompiles)
	}
	defer context.AfterFunc(ctx, func() { meter.stop(errors.New("execution timeout")) })()

	traced.state.SetTxContext(traced.place.TxHash, traced.place.TxIndex, uint32(traced.place.TxIndex+1))
	_, _, err := core.ApplyTransactionWithEVM(ctx, traced.msg, core.NewGasPool(traced.msg.GasLimit), traced.state,
		traced.blockCtx.BlockNumber, traced.place.BlockHash, traced.blockCtx.Time, traced.tx, evm)
	switch failed := t.readError(); {
	case failed != nil:
		return failed
	case meter.exceeded():
		return errResponseTooLarge(t.limit)
	case err != nil:
		return fmt.Errorf("tracing failed: %w", err)
	}
	return nil
}

// newTracer makes the tracer that the caller asks for. The default one writes a log for each opcode; its size is bounded
// by the limit of the response, or by a lower one of the caller.
func (t *traceRun) newTracer(place *tracers.Context) (*tracers.Tracer, error) {
	if t.config.Tracer != nil {
		return tracers.DefaultDirectory.New(*t.config.Tracer, place, t.config.TracerConfig, t.chain)
	}
	config := valueOr(t.config.Config, logger.Config{})
	if config.Limit <= 0 || config.Limit > t.left {
		config.Limit = t.left
	}
	l := logger.NewStructLogger(&config)
	return &tracers.Tracer{Hooks: l.Hooks(), GetResult: l.GetResult, Stop: l.Stop}, nil
}

// result is what a tracer has recorded. A result beyond the limit may lack what came after it, so it is refused.
func (t *traceRun) result(tracer *tracers.Tracer) (json.RawMessage, error) {
	t.turn.yield()
	result, err := tracer.GetResult()
	if failed := t.readError(); failed != nil { // JavaScript can read the state here, too
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	if t.left -= len(result); t.left <= 0 {
		return nil, errResponseTooLarge(t.limit)
	}
	return result, nil
}

// traceMeter estimates how much a tracer records, and stops it at a limit. It counts what go-ethereum's tracers
// record of calls and logs; the struct logger has a limit of its own.
type traceMeter struct {
	limit   int
	left    int
	turn    *turn
	stop    func(error)
	stopped atomic.Bool
}

func (m *traceMeter) exceeded() bool { return m.left < 0 }

func (m *traceMeter) add(bytes int) {
	if m.exceeded() {
		return
	}
	if m.left -= bytes; m.exceeded() {
		m.stop(errResponseTooLarge(m.limit))
	}
}

// entered counts a call frame, exited what it returned.
func (m *traceMeter) entered(input []byte) {
	m.turn.yield()
	m.add(frameOverhead + 2*len(input))
}

func (m *traceMeter) exited(output []byte) {
	m.turn.yield()
	m.add(2 * len(output))
}

// hooks are those of a tracer, with the meter. While a block is imported they wait.
func (m *traceMeter) hooks(of *tracing.Hooks) *tracing.Hooks {
	h := *of
	m.addFrames(&h, of)
	if of.OnOpcode != nil {
		h.OnOpcode = func(pc uint64, op byte, gas, cost uint64, scope tracing.OpContext, data []byte, depth int, err error) {
			m.turn.yield()
			of.OnOpcode(pc, op, gas, cost, scope, data, depth, err)
		}
	}
	if of.OnOpcodeV2 != nil {
		h.OnOpcodeV2 = func(pc uint64, op byte, gas, cost tracing.Gas, scope tracing.OpContext, data []byte, depth int, err error) {
			m.turn.yield()
			of.OnOpcodeV2(pc, op, gas, cost, scope, data, depth, err)
		}
	}
	if of.OnLog != nil {
		h.OnLog = func(log *types.Log) {
			of.OnLog(log)
			m.add(jsonSize([]*types.Log{log}))
		}
	}
	if of.OnTxEnd != nil {
		h.OnTxEnd = func(receipt *types.Receipt, err error) {
			if !m.stopped.Load() { // callTracer panics here if it was stopped before the first frame
				of.OnTxEnd(receipt, err)
			}
		}
	}
	return &h
}

// addFrames adds the meter to the hooks of call frames. A tracer that has both versions of a hook is told of the second only.
func (m *traceMeter) addFrames(h, of *tracing.Hooks) {
	if of.OnEnter != nil {
		h.OnEnter = func(depth int, kind byte, from, to common.Address, input []byte, gas uint64, value *big.Int) {
			of.OnEnter(depth, kind, from, to, input, gas, value)
			m.entered(input)
		}
	}
	if of.OnEnterV2 != nil {
		h.OnEnterV2 = func(depth int, kind byte, from, to common.Address, input []byte, gas tracing.Gas, value *big.Int) {
			of.OnEnterV2(depth, kind, from, to, input, gas, value)
			m.entered(input)
		}
	}
	if of.OnExit != nil {
		h.OnExit = func(depth int, output []byte, gasUsed uint64, err error, reverted bool) {
			of.OnExit(depth, output, gasUsed, err, reverted)
			m.exited(output)
		}
	}
	if of.OnExitV2 != nil {
		h.OnExitV2 = func(depth int, output []byte, gasLeft tracing.Gas, err error, reverted bool) {
			of.OnExitV2(depth, output, gasLeft, err, reverted)
			m.exited(output)
		}
	}
}
