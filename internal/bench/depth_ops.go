// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// operands are what an operation takes from the stack, the top word first: values and their levels.
type operands struct {
	values []uint256.Int // the stack before, the top word last
	levels []*level
}

func (o operands) value(i int) *uint256.Int { return &o.values[len(o.values)-1-i] }

// region is the place and the size in operands i and i+1.
func (o operands) region(i int) (at, size int) { return offset(o.value(i)), offset(o.value(i + 1)) }

func (o operands) address(i int) common.Address { return o.value(i).Bytes20() }
func (o operands) slot(i int) common.Hash       { return o.value(i).Bytes32() }

// arity is how many words an operation takes from the stack. What is not here takes none.
var arity = [256]int{ //nolint:gochecknoglobals // a constant
	vm.ADD: 2, vm.MUL: 2, vm.SUB: 2, vm.DIV: 2, vm.SDIV: 2, vm.MOD: 2, vm.SMOD: 2, vm.ADDMOD: 3, vm.MULMOD: 3, vm.EXP: 2,
	vm.SIGNEXTEND: 2, vm.LT: 2, vm.GT: 2, vm.SLT: 2, vm.SGT: 2, vm.EQ: 2, vm.ISZERO: 1, vm.AND: 2, vm.OR: 2, vm.XOR: 2,
	vm.NOT: 1, vm.BYTE: 2, vm.SHL: 2, vm.SHR: 2, vm.SAR: 2, vm.CLZ: 1, vm.KECCAK256: 2,
	vm.BALANCE: 1, vm.CALLDATALOAD: 1, vm.CALLDATACOPY: 3, vm.CODECOPY: 3, vm.EXTCODESIZE: 1, vm.EXTCODECOPY: 4,
	vm.RETURNDATACOPY: 3, vm.EXTCODEHASH: 1, vm.BLOCKHASH: 1, vm.BLOBHASH: 1,
	vm.POP: 1, vm.MLOAD: 1, vm.MSTORE: 2, vm.MSTORE8: 2, vm.SLOAD: 1, vm.SSTORE: 2, vm.JUMP: 1, vm.JUMPI: 2,
	vm.TLOAD: 1, vm.TSTORE: 2, vm.MCOPY: 3, vm.LOG0: 2, vm.LOG1: 3, vm.LOG2: 4, vm.LOG3: 5, vm.LOG4: 6,
	vm.CREATE: 3, vm.CALL: 7, vm.CALLCODE: 7, vm.RETURN: 2, vm.DELEGATECALL: 6, vm.CREATE2: 4, vm.STATICCALL: 6,
	vm.REVERT: 2, vm.SELFDESTRUCT: 1,
}

// silent has the operations that put no word on the stack.
var silent = [256]bool{ //nolint:gochecknoglobals // a constant
	vm.STOP: true, vm.CALLDATACOPY: true, vm.CODECOPY: true, vm.EXTCODECOPY: true, vm.RETURNDATACOPY: true, vm.POP: true,
	vm.MSTORE: true, vm.MSTORE8: true, vm.SSTORE: true, vm.JUMP: true, vm.JUMPI: true, vm.JUMPDEST: true, vm.TSTORE: true,
	vm.MCOPY: true, vm.LOG0: true, vm.LOG1: true, vm.LOG2: true, vm.LOG3: true, vm.LOG4: true, vm.RETURN: true,
	vm.REVERT: true, vm.INVALID: true, vm.SELFDESTRUCT: true,
}

// onOpcode comes before every operation.
func (m *depthMeter) onOpcode(_ uint64, opcode byte, _, _ uint64, scope tracing.OpContext, _ []byte, _ int, err error) {
	if len(m.frames) == 0 || err != nil {
		return
	}
	f, op, stack := m.top(), vm.OpCode(opcode), scope.StackData()
	f.follow(stack)
	switch {
	case op >= vm.DUP1 && op <= vm.DUP16:
		f.stack = append(f.stack, f.stack[len(f.stack)-1-int(op-vm.DUP1)])
		return
	case op >= vm.SWAP1 && op <= vm.SWAP16:
		top := len(f.stack) - 1
		other := top - 1 - int(op-vm.SWAP1)
		f.stack[top], f.stack[other] = f.stack[other], f.stack[top]
		return
	case len(stack) < arity[op]:
		return
	}
	in := operands{stack, f.pop(arity[op])}
	result := m.operation(f, op, in)
	if !silent[op] {
		f.stack = append(f.stack, result)
	}
}

// operation returns the level of an operation's result.
func (m *depthMeter) operation(f *depthFrame, op vm.OpCode, in operands) *level {
	if memory := memoryOperations[op]; memory != nil {
		return memory(f, in)
	}
	if op >= vm.PUSH0 && op <= vm.PUSH32 || op == vm.PC || op == vm.CODESIZE {
		return f.code // what code says is known with it
	}
	switch op { //nolint:exhaustive // the others are pure functions of their operands
	case vm.SLOAD:
		return m.load(f, in)
	case vm.SSTORE:
		m.slot(f.addr, in.slot(0), f.keyLevel(in)) // it reads the value before, for gas
		m.storage[depthKey{'s', f.addr, in.slot(0)}] = in.levels[1]
	case vm.TLOAD:
		return m.transient[depthKey{'s', f.addr, in.slot(0)}]
	case vm.TSTORE:
		m.transient[depthKey{'s', f.addr, in.slot(0)}] = in.levels[1]
	case vm.BALANCE, vm.EXTCODEHASH, vm.SELFDESTRUCT:
		return m.account(in.address(0), in.levels[0])
	case vm.SELFBALANCE:
		return m.account(f.addr, f.self)
	case vm.EXTCODESIZE:
		return m.code(in.address(0), in.levels[0])
	case vm.EXTCODECOPY:
		at, _ := in.region(1)
		f.store(at, repeat(m.code(in.address(0), in.levels[0]), offset(in.value(3))))
	case vm.CREATE, vm.CREATE2, vm.CALL, vm.CALLCODE, vm.DELEGATECALL, vm.STATICCALL:
		m.calling = f.begin(op, in)
		return m.calling.to // until the call ends
	default:
		return latest(in.levels...)
	}
	return known
}

// keyLevel returns the level of the key of a slot, in operand 0.
func (f *depthFrame) keyLevel(in operands) *level { return latest(in.levels[0], f.self, f.code) }

// load returns the level of a slot's value.
func (m *depthMeter) load(f *depthFrame, in operands) *level {
	slot, from := in.slot(0), f.keyLevel(in)
	at := m.slot(f.addr, slot, from)
	if written, ok := m.storage[depthKey{'s', f.addr, slot}]; ok {
		return written
	}
	if m.local.knowsSlot(f.addr, slot, func() common.Hash { return m.statedb.GetState(f.addr, slot) }) {
		return from // it is fetched, but what depends on it does not wait
	}
	return at
}

// begin describes the call that an operation makes.
func (f *depthFrame) begin(op vm.OpCode, in operands) *depthCall {
	region := func(i int) []*level {
		at, size := in.region(i)
		return load(f.memory, at, size)
	}
	switch op { //nolint:exhaustive // the calls
	case vm.CREATE:
		return &depthCall{to: f.self, value: in.levels[0], input: region(1)}
	case vm.CREATE2:
		code := region(1)
		return &depthCall{to: latest(latest(code...), in.levels[3], f.self), value: in.levels[0], input: code}
	case vm.CALL, vm.CALLCODE:
		at, size := in.region(5)
		return &depthCall{to: in.levels[1], value: in.levels[2], input: region(3), at: at, size: size}
	default:
		at, size := in.region(4)
		return &depthCall{to: in.levels[1], input: region(2), at: at, size: size}
	}
}

// memoryOperations move bytes, or read what belongs to the frame.
var memoryOperations = [256]func(*depthFrame, operands) *level{ //nolint:gochecknoglobals // a constant
	vm.ADDRESS:   func(f *depthFrame, _ operands) *level { return f.self },
	vm.CALLER:    func(f *depthFrame, _ operands) *level { return f.from },
	vm.CALLVALUE: func(f *depthFrame, _ operands) *level { return f.value },
	vm.KECCAK256: func(f *depthFrame, in operands) *level {
		at, size := in.region(0)
		return latest(load(f.memory, at, size)...)
	},
	vm.CALLDATALOAD: func(f *depthFrame, in operands) *level {
		return latest(in.levels[0], latest(load(f.input, offset(in.value(0)), 32)...))
	},
	vm.CALLDATACOPY: func(f *depthFrame, in operands) *level { return f.move(f.input, in) },
	vm.CODECOPY: func(f *depthFrame, in operands) *level {
		f.store(offset(in.value(0)), repeat(f.code, offset(in.value(2))))
		return known
	},
	vm.RETURNDATACOPY: func(f *depthFrame, in operands) *level { return f.move(f.returned, in) },
	vm.MCOPY:          func(f *depthFrame, in operands) *level { return f.move(f.memory, in) },
	vm.MLOAD: func(f *depthFrame, in operands) *level {
		return latest(in.levels[0], latest(load(f.memory, offset(in.value(0)), 32)...))
	},
	vm.MSTORE: func(f *depthFrame, in operands) *level {
		f.store(offset(in.value(0)), repeat(in.levels[1], 32))
		return known
	},
	vm.MSTORE8: func(f *depthFrame, in operands) *level {
		f.store(offset(in.value(0)), in.levels[1:2])
		return known
	},
	vm.RETURN: func(f *depthFrame, in operands) *level { return f.end(in) },
	vm.REVERT: func(f *depthFrame, in operands) *level { return f.end(in) },
}

// move copies bytes to memory.
func (f *depthFrame) move(from []*level, in operands) *level {
	at, size := in.region(1)
	f.store(offset(in.value(0)), load(from, at, size))
	return known
}

// end sets what a frame returns.
func (f *depthFrame) end(in operands) *level {
	at, size := in.region(0)
	f.output = load(f.memory, at, size)
	return known
}
