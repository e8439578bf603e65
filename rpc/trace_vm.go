// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// opOverhead estimates the JSON of an instruction without what it pushes and writes, in bytes.
const opOverhead = 120

// vmRecorder records the instructions of one transaction.
type vmRecorder struct {
	state  *state.StateDB
	meter  *traceMeter
	root   *vmTrace
	frames []*vmFrame
}

// vmFrame is an open call frame. What its last instruction did is seen when the next one begins.
type vmFrame struct {
	trace   *vmTrace
	last    *vmOp
	pushes  int       // of last
	written [2]uint64 // offset and size of the memory that last writes
	gas     uint64    // left before last
}

func (r *vmRecorder) addTo(h *tracing.Hooks) {
	h.OnEnter, h.OnExit, h.OnOpcode = chained(h.OnEnter, r.enter), chainedExit(h.OnExit, r.exit), r.opcode
}

func (r *vmRecorder) enter(_ int, kind byte, _, to common.Address, input []byte, _ uint64, _ *big.Int) {
	trace := &vmTrace{Ops: []*vmOp{}}
	switch op := vm.OpCode(kind); op {
	case vm.CREATE, vm.CREATE2:
		trace.Code = bytes.Clone(input)
	case vm.SELFDESTRUCT:
	default:
		trace.Code = r.state.GetCode(to)
	}
	r.meter.add(2 * len(trace.Code))
	if len(r.frames) == 0 {
		r.root = trace
	} else if caller := r.frames[len(r.frames)-1]; caller.last != nil && len(trace.Code) > 0 {
		caller.last.Sub = trace
	}
	r.frames = append(r.frames, &vmFrame{trace: trace})
}

func (r *vmRecorder) exit(_ int, _ []byte, _ uint64, err error, _ bool) {
	frame := r.frames[len(r.frames)-1]
	r.frames = r.frames[:len(r.frames)-1]
	if last := frame.last; last != nil {
		last.Ex.Used = frame.gas - min(last.Cost, frame.gas)
		if err != nil && !errors.Is(err, vm.ErrExecutionReverted) {
			last.Ex = nil
		}
	}
}

func (r *vmRecorder) opcode(pc uint64, code byte, gas, cost uint64, scope tracing.OpContext, _ []byte, _ int, _ error) {
	if r.meter.exceeded() || len(r.frames) == 0 {
		return
	}
	frame, op, stack := r.frames[len(r.frames)-1], vm.OpCode(code), scope.StackData()
	frame.finish(gas, scope)
	frame.last = &vmOp{Cost: cost, Ex: &vmDone{Push: []string{}}, PC: pc, Op: op.String()}
	frame.gas, frame.pushes, frame.written = gas, pushed(op), memoryRange(op, stack)
	if op == vm.SSTORE && len(stack) >= 2 {
		frame.last.Ex.Store = &vmStore{Key: operand(stack, 0).Hex(), Val: operand(stack, 1).Hex()}
	}
	frame.trace.Ops = append(frame.trace.Ops, frame.last)
	r.meter.add(opOverhead + 70*frame.pushes + 2*int(min(frame.written[1], 1<<30)))
}

// finish completes the last instruction, which left stack and memory as they are now.
func (f *vmFrame) finish(gas uint64, scope tracing.OpContext) {
	if f.last == nil {
		return
	}
	done, stack, memory := f.last.Ex, scope.StackData(), scope.MemoryData()
	done.Used = gas
	for i := min(f.pushes, len(stack)); i > 0; i-- {
		done.Push = append(done.Push, stack[len(stack)-i].Hex())
	}
	if off, size := f.written[0], f.written[1]; size > 0 && off < uint64(len(memory)) && size <= uint64(len(memory))-off {
		done.Memory = &vmMemory{Data: hexutil.Bytes(bytes.Clone(memory[off : off+size])), Off: off}
	}
}

// operand is the n-th item of a stack from the top; zero if there is none.
func operand(stack []uint256.Int, n int) *uint256.Int {
	if n >= len(stack) {
		return new(uint256.Int)
	}
	return &stack[len(stack)-1-n]
}

// pushed is how many items at the top of the stack an instruction has written.
func pushed(op vm.OpCode) int {
	switch {
	case op >= vm.DUP1 && op <= vm.DUP16:
		return int(op-vm.DUP1) + 2
	case op >= vm.SWAP1 && op <= vm.SWAP16:
		return int(op-vm.SWAP1) + 2
	case op >= vm.LOG0 && op <= vm.LOG4:
		return 0
	}
	switch op {
	case vm.STOP, vm.POP, vm.MSTORE, vm.MSTORE8, vm.SSTORE, vm.TSTORE, vm.JUMP, vm.JUMPI, vm.JUMPDEST, vm.MCOPY, vm.CALLDATACOPY,
		vm.CODECOPY, vm.EXTCODECOPY, vm.RETURNDATACOPY, vm.RETURN, vm.REVERT, vm.INVALID, vm.SELFDESTRUCT:
		return 0
	}
	return 1
}

// memoryRange is the offset and size of the memory that an instruction writes, or that MLOAD reads.
func memoryRange(op vm.OpCode, stack []uint256.Int) [2]uint64 {
	at := func(offset, size int) [2]uint64 {
		from, length := operand(stack, offset), operand(stack, size)
		if !from.IsUint64() || !length.IsUint64() {
			return [2]uint64{} // out of gas
		}
		return [2]uint64{from.Uint64(), length.Uint64()}
	}
	fixed := func(size uint64) [2]uint64 { return [2]uint64{at(0, 0)[0], size} }
	switch op {
	case vm.MLOAD, vm.MSTORE:
		return fixed(32)
	case vm.MSTORE8:
		return fixed(1)
	case vm.CALLDATACOPY, vm.CODECOPY, vm.RETURNDATACOPY, vm.MCOPY:
		return at(0, 2)
	case vm.EXTCODECOPY:
		return at(1, 3)
	case vm.CALL, vm.CALLCODE:
		return at(5, 6)
	case vm.DELEGATECALL, vm.STATICCALL:
		return at(4, 5)
	}
	return [2]uint64{}
}
