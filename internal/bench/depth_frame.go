// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// maxDepthMemory bounds the memory of a frame that levels are kept of, in bytes.
const maxDepthMemory = 4 << 20

// depthFrame is a call: the levels of what it works on.
type depthFrame struct {
	kind  vm.OpCode
	addr  common.Address // whose storage it has
	code  *level
	self  *level // of addr
	from  *level // of the caller's address
	value *level

	stack    []*level
	memory   []*level // a level for each byte; missing ones are known
	input    []*level
	output   []*level
	returned []*level // by the last call that it made

	at, size int // where the caller's memory takes the output
}

// depthCall is a call that begins with the next frame.
type depthCall struct {
	to, value *level
	input     []*level // of a creation: the code
	at, size  int
}

func (m *depthMeter) hooks() *tracing.Hooks {
	return &tracing.Hooks{OnOpcode: m.onOpcode, OnEnter: m.onEnter, OnExit: m.onExit}
}

func (m *depthMeter) top() *depthFrame { return m.frames[len(m.frames)-1] }

func (m *depthMeter) onEnter(depth int, typ byte, from, to common.Address, input []byte, _ uint64, _ *big.Int) {
	if depth == 0 {
		m.frames, m.calling, m.transient = nil, nil, make(map[depthKey]*level)
	}
	call := m.calling
	m.calling = nil
	f := &depthFrame{kind: vm.OpCode(typ), addr: to}
	switch f.kind { //nolint:exhaustive // the others are calls
	case vm.CREATE, vm.CREATE2:
		if call != nil {
			f.self, f.value, f.from, f.code = call.to, call.value, m.top().self, latest(call.input...)
		}
		m.account(to, f.self)
	case vm.SELFDESTRUCT:
	default:
		if depth == 0 {
			m.account(from, known)
			f.input, f.code = make([]*level, len(input)), m.code(to, known)
		} else if call != nil {
			f.call(call, m.top())
			f.code = m.code(to, call.to)
		}
	}
	m.frames = append(m.frames, f)
}

// call sets what a frame gets from the one that calls it.
func (f *depthFrame) call(call *depthCall, caller *depthFrame) {
	f.input, f.at, f.size = call.input, call.at, call.size
	f.self, f.from, f.value = call.to, caller.self, call.value
	switch f.kind { //nolint:exhaustive // the others have storage of their own
	case vm.DELEGATECALL:
		f.addr, f.self, f.from, f.value = caller.addr, caller.self, caller.from, caller.value
	case vm.CALLCODE:
		f.addr, f.self = caller.addr, caller.self
	}
}

func (m *depthMeter) onExit(_ int, output []byte, _ uint64, err error, _ bool) {
	if len(m.frames) == 0 {
		return
	}
	f := m.top()
	m.frames = m.frames[:len(m.frames)-1]
	if f.kind == vm.SELFDESTRUCT {
		return
	}
	result := f.output
	if len(result) != len(output) { // of a precompile, or an error
		result = repeat(latest(append(f.input, f.code)...), len(output))
	}
	creation := f.kind == vm.CREATE || f.kind == vm.CREATE2
	if creation && err == nil {
		m.created[f.addr] = latest(append(result, f.code)...)
		result = nil
	}
	if len(m.frames) == 0 {
		return
	}
	caller := m.top()
	caller.returned = result
	top := known // whether the call succeeded: a branch, so to say
	if creation {
		top = f.self
	} else {
		caller.store(f.at, result[:min(f.size, len(result))])
	}
	if n := len(caller.stack); n > 0 {
		caller.stack[n-1] = top
	}
}

// pop takes n words from the stack, the top one first.
func (f *depthFrame) pop(n int) []*level {
	words := make([]*level, n)
	for i := range words {
		if last := len(f.stack) - 1; last >= 0 {
			words[i], f.stack = f.stack[last], f.stack[:last]
		}
	}
	return words
}

// follow makes the stack as deep as the machine's. It differs after an operation that is not modelled.
func (f *depthFrame) follow(stack []uint256.Int) {
	for len(f.stack) < len(stack) {
		f.stack = append(f.stack, known)
	}
	f.stack = f.stack[:len(stack)]
}

// load returns the levels of a part of memory, or of another list of bytes.
func load(bytes []*level, at, size int) []*level {
	part := make([]*level, size)
	if at < len(bytes) {
		copy(part, bytes[at:])
	}
	return part
}

// store sets the levels of a part of memory.
func (f *depthFrame) store(at int, levels []*level) {
	end := at + len(levels)
	if len(levels) == 0 || end > maxDepthMemory {
		return
	}
	if end > len(f.memory) {
		f.memory = append(f.memory, make([]*level, end-len(f.memory))...)
	}
	copy(f.memory[at:], levels)
}

func repeat(l *level, n int) []*level {
	all := make([]*level, n)
	for i := range all {
		all[i] = l
	}
	return all
}

// offset is a place in memory, or a size.
func offset(word *uint256.Int) int {
	if !word.IsUint64() || word.Uint64() > maxDepthMemory {
		return maxDepthMemory
	}
	return int(word.Uint64())
}
