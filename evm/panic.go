// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"
)

// errStopped is the only panic that is control flow. A tracer throws it to leave go-ethereum's block
// processor, which looks at no context; recoverRun catches it.
var errStopped = errors.New("speculation stopped")

// Option configures an [Executor].
type Option func(*Executor)

// ReportPanics makes speculation survive panics: each is counted, and the first one of a block is
// logged. The block itself is not affected, as it is executed without the speculation.
//
// Without this option a panic goes on to the caller. So it fails tests, and a node must not run
// without the option.
func ReportPanics(log *slog.Logger, registerer prometheus.Registerer) Option {
	count := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "beam_speculation_panics_total",
		Help: "Panics in speculative execution. Each is a bug.",
	})
	if registerer != nil {
		registerer.MustRegister(count)
	}
	report := &panicReport{log: log, count: count}
	return func(e *Executor) { e.panics = report }
}

type panicReport struct {
	log   *slog.Logger
	count prometheus.Counter

	mu   sync.Mutex
	last common.Hash // the block logged last
}

// add counts a panic. A block runs many times, so that one log line a block is enough.
func (p *panicReport) add(run *speculationRun, value any) {
	p.count.Inc()
	p.mu.Lock()
	hash := run.block.Hash()
	logged := p.last == hash
	p.last = hash
	p.mu.Unlock()
	if logged {
		return
	}
	p.log.Error("Speculative execution panicked, please report this bug; the block is executed normally",
		"number", run.block.NumberU64(), "hash", hash, "tx", run.tx(), "panic", value, "stack", string(debug.Stack()))
}

// speculationRun is what is known of a run when it panics.
type speculationRun struct {
	block   *types.Block
	statedb *state.StateDB // nil if the run executes no transactions, or has not begun
}

// tx returns the index of the current transaction, -1 if there is none.
func (r *speculationRun) tx() int {
	if r.statedb == nil {
		return -1
	}
	return r.statedb.TxIndex()
}

// recoverRun ends a speculation that panicked. It is to be deferred.
func (e *Executor) recoverRun(run *speculationRun) {
	value := recover()
	switch {
	case value == nil || value == any(errStopped):
	case e.panics == nil:
		panic(value)
	default:
		e.panics.add(run, value)
	}
}
