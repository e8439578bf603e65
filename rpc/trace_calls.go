// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"errors"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
)

// callRecorder records the call traces of one transaction. The frames are in the order in which they began, each with
// the gas of its frame: that of the outermost does not include the intrinsic gas of the transaction.
type callRecorder struct {
	precompiles vm.PrecompiledContracts

	traces []*callTrace
	open   []*callTrace // frames that have not ended; nil for a frame that is left out
	output []byte       // of the outermost frame
}

func (r *callRecorder) addTo(h *tracing.Hooks) {
	h.OnEnter, h.OnExit = chained(h.OnEnter, r.enter), chainedExit(h.OnExit, r.exit)
}

func (r *callRecorder) enter(depth int, kind byte, from, to common.Address, input []byte, gas uint64, value *big.Int) {
	op := vm.OpCode(kind)
	if depth > 0 && r.leftOut(op, to, value) {
		r.open = append(r.open, nil)
		return
	}
	trace := &callTrace{TraceAddress: []int{}}
	if depth > 0 {
		if parent := r.open[len(r.open)-1]; parent != nil {
			trace.TraceAddress = append(append(trace.TraceAddress, parent.TraceAddress...), parent.Subtraces)
			parent.Subtraces++
		}
	}
	if value == nil { // of STATICCALL
		value = new(big.Int)
	}
	wei := (*hexutil.Big)(new(big.Int).Set(value))
	switch op {
	case vm.CREATE, vm.CREATE2:
		trace.Type, trace.Result = "create", &createOutput{Address: to}
		trace.Action = createAction{From: from, Method: strings.ToLower(op.String()), Gas: hexutil.Uint64(gas), Init: bytes.Clone(input), Value: wei}
	case vm.SELFDESTRUCT:
		trace.Type, trace.Action = "suicide", selfdestructAction{Address: from, RefundAddress: to, Balance: wei}
	default:
		trace.Type, trace.Result = "call", new(callOutput)
		trace.Action = callAction{From: from, CallType: strings.ToLower(op.String()), Gas: hexutil.Uint64(gas), Input: bytes.Clone(input), To: to, Value: wei}
	}
	r.traces, r.open = append(r.traces, trace), append(r.open, trace)
}

// leftOut reports whether a frame is not traced: a call of a precompile, unless it transfers ether.
func (r *callRecorder) leftOut(op vm.OpCode, to common.Address, value *big.Int) bool {
	switch op {
	case vm.CREATE, vm.CREATE2, vm.SELFDESTRUCT:
		return false
	}
	return r.precompiles[to] != nil && (value == nil || value.Sign() == 0)
}

func (r *callRecorder) exit(depth int, output []byte, gasUsed uint64, err error, _ bool) {
	last := len(r.open) - 1
	trace := r.open[last]
	r.open = r.open[:last]
	if depth == 0 {
		r.output = bytes.Clone(output)
	}
	if trace == nil {
		return
	}
	if err != nil {
		trace.Error = callError(err)
		if !errors.Is(err, vm.ErrExecutionReverted) {
			trace.Result = nil
		}
	}
	switch result := trace.Result.(type) {
	case *callOutput:
		result.GasUsed, result.Output = hexutil.Uint64(gasUsed), bytes.Clone(output)
	case *createOutput:
		result.GasUsed, result.Code = hexutil.Uint64(gasUsed), bytes.Clone(output)
	}
}

// callError is why a frame failed, in the words of Parity where it has them.
func callError(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{vm.ErrExecutionReverted, "Reverted"},
		{vm.ErrOutOfGas, "Out of gas"},
		{vm.ErrCodeStoreOutOfGas, "Out of gas"},
		{vm.ErrGasUintOverflow, "Out of gas"},
		{vm.ErrMaxCodeSizeExceeded, "Out of gas"},
		{vm.ErrInvalidJump, "Bad jump destination"},
		{vm.ErrReturnDataOutOfBounds, "Out of bounds"},
		{vm.ErrWriteProtection, "Mutable Call In Static Context"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	var (
		underflow *vm.ErrStackUnderflow
		overflow  *vm.ErrStackOverflow
		opcode    *vm.ErrInvalidOpCode
	)
	switch {
	case errors.As(err, &underflow):
		return "Stack underflow"
	case errors.As(err, &overflow):
		return "Out of stack"
	case errors.As(err, &opcode):
		return "Bad instruction"
	}
	return err.Error()
}

// chained calls one hook after another. The first may be nil.
func chained(first, second tracing.EnterHook) tracing.EnterHook {
	if first == nil {
		return second
	}
	return func(depth int, kind byte, from, to common.Address, input []byte, gas uint64, value *big.Int) {
		first(depth, kind, from, to, input, gas, value)
		second(depth, kind, from, to, input, gas, value)
	}
}

func chainedExit(first, second tracing.ExitHook) tracing.ExitHook {
	if first == nil {
		return second
	}
	return func(depth int, output []byte, gasUsed uint64, err error, reverted bool) {
		first(depth, output, gasUsed, err, reverted)
		second(depth, output, gasUsed, err, reverted)
	}
}
