// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// optimisticTracer keeps a speculation going past missing state. A check that fails on a placeholder
// value proves nothing, and most of what a transaction reads comes after its checks. So from the first
// missing read on, conditional jumps avoid branches that only revert.
//
// The tracer also finds keys that are hashes of placeholders, which are not worth a request, and
// collects the fixed slots that functions read, for [slotProfiles].
//
// It changes the condition of a JUMPI on the stack just before it is used. Go-ethereum asks tracers
// not to change the stack; this is all that is changed.
type optimisticTracer struct {
	ctx       context.Context //nolint:containedctx // hooks have none to pass
	steps     int             // conditional jumps and hashes so far
	state     *trie.PartialState
	fallback  *fallback
	overrides map[jumpSite]branchOverride
	overrode  bool // a jump went another way than its condition says

	profiles  *slotProfiles
	afterHash bool                  // the operation before was KECCAK256
	hashes    map[[31]byte]struct{} // computed hashes less the last byte: members of a struct have adjacent slots
	reads     map[contractFunction][]common.Hash
}

// jumpSite is a conditional jump in a code, which is identified by the address of its first byte.
type jumpSite struct {
	code *byte
	pc   uint64
}

// contractFunction is a function of one contract.
type contractFunction struct {
	function selector
	addr     common.Address
}

const (
	// stopCheckSteps is after how many jumps and hashes a run checks its context.
	stopCheckSteps = 256
	// maxHashedWords bounds the input of a hash that is inspected: keys are made of two words, or three.
	maxHashedWords = 8
)

// implementationCall asks a beacon for its implementation: implementation() (EIP-1967).
var implementationCall = []byte{0x5c, 0x60, 0xda, 0x1b} //nolint:gochecknoglobals // a constant

func newOptimisticTracer(ctx context.Context, state *trie.PartialState, values *fallback, profiles *slotProfiles) *optimisticTracer {
	return &optimisticTracer{
		ctx: ctx, state: state, fallback: values, profiles: profiles,
		overrides: make(map[jumpSite]branchOverride),
		hashes:    make(map[[31]byte]struct{}),
		reads:     make(map[contractFunction][]common.Hash),
	}
}

func (t *optimisticTracer) hooks() *tracing.Hooks {
	return &tracing.Hooks{OnOpcode: t.onOpcode, OnEnter: t.onEnter}
}

// onEnter records contracts that the run creates. Of a called contract whose code is missing it
// requests what the contract is likely to read.
func (t *optimisticTracer) onEnter(_ int, typ byte, _ common.Address, to common.Address, input []byte, _ uint64, _ *big.Int) {
	switch vm.OpCode(typ) { //nolint:exhaustive // the others do not run a contract on its own storage
	case vm.CREATE, vm.CREATE2:
		t.fallback.created[to] = struct{}{}
	case vm.CALL, vm.STATICCALL:
		if len(input) == 0 || isPlaceholder(to[:]) || !t.lacksCode(to) {
			return
		}
		t.state.Want(to, t.profiles.likelySlots(input)...)
		if value, local := t.state.Slot(to, implementationSlot); local && value != (common.Hash{}) {
			t.state.Want(common.BytesToAddress(value[:]))
		}
		if value, local := t.state.Slot(to, beaconSlot); local && value != (common.Hash{}) {
			t.state.Want(common.BytesToAddress(value[:]), t.profiles.likelySlots(implementationCall)...)
		}
	}
}

// lacksCode reports whether the code of a contract is missing.
func (t *optimisticTracer) lacksCode(addr common.Address) bool {
	if hash, known := t.fallback.lastSeen.codeHash(addr); known {
		return !t.state.HasCode(hash)
	}
	return t.state.Lacks(addr)
}

// onLoad records a slot that is about to be read, unless its key was computed by hashing.
func (t *optimisticTracer) onLoad(scope tracing.OpContext, slot common.Hash) {
	input := scope.CallInput()
	if _, hashed := t.hashes[[31]byte(slot[:31])]; hashed || len(input) < len(selector{}) {
		return
	}
	by := contractFunction{selector(input), scope.Address()}
	if known := t.reads[by]; !slices.Contains(known, slot) && len(known) < profileSlots {
		t.reads[by] = append(known, slot)
	}
}

// finish adds the recorded reads to the profiles.
func (t *optimisticTracer) finish() {
	for by, slots := range t.reads {
		t.profiles.record(by.function, by.addr, slots)
	}
}

// onOpcode comes before every operation.
func (t *optimisticTracer) onOpcode(pc uint64, op byte, _, _ uint64, scope tracing.OpContext, _ []byte, _ int, err error) {
	if err != nil {
		return
	}
	if t.afterHash {
		t.afterHash = false
		if stack := scope.StackData(); len(stack) > 0 {
			hash := stack[len(stack)-1].Bytes32()
			t.hashes[[31]byte(hash[:31])] = struct{}{}
		}
	}
	switch vm.OpCode(op) { //nolint:exhaustive // the others do not matter
	case vm.JUMPI:
	case vm.KECCAK256:
		t.afterHash = true
	case vm.SLOAD:
		if stack := scope.StackData(); len(stack) > 0 {
			t.onLoad(scope, stack[len(stack)-1].Bytes32())
		}
		return
	default:
		return
	}
	if t.steps++; t.steps%stopCheckSteps == 0 && t.ctx.Err() != nil {
		panic(errStopped) // recoverRun ends the run
	}
	if !t.state.Missed() {
		return
	}
	stack := scope.StackData()
	if len(stack) < 2 {
		return
	}
	first, second := &stack[len(stack)-1], &stack[len(stack)-2]
	if vm.OpCode(op) == vm.KECCAK256 {
		t.onHash(scope.MemoryData(), first, second)
		return
	}
	t.overrideCondition(scope.ContractCode(), pc, first, second)
}

// overrideCondition changes the condition of the jump at pc to dest if one branch only reverts.
func (t *optimisticTracer) overrideCondition(code []byte, pc uint64, dest, condition *uint256.Int) {
	site := jumpSite{&code[0], pc}
	override, known := t.overrides[site]
	if !known {
		override = overrideAt(code, pc, dest)
		t.overrides[site] = override
	}
	switch {
	case override == overrideTaken && condition.IsZero():
		condition.SetOne()
		t.overrode = true
	case override == overrideNotTaken && !condition.IsZero():
		condition.Clear()
		t.overrode = true
	}
}

// onHash marks the hash as tainted if its input contains a placeholder or a tainted hash.
func (t *optimisticTracer) onHash(memory []byte, offset, size *uint256.Int) {
	if !offset.IsUint64() || !size.IsUint64() {
		return
	}
	from, n := offset.Uint64(), size.Uint64()
	if n < common.HashLength || n > maxHashedWords*common.HashLength || from > uint64(len(memory)) {
		return
	}
	input := make([]byte, n) // the operation extends memory later, with zeros
	copy(input, memory[from:])
	for rest := input; len(rest) >= common.HashLength; rest = rest[common.HashLength:] {
		word := common.Hash(rest)
		if _, tainted := t.fallback.tainted[word]; tainted || isPlaceholder(word[:]) {
			t.fallback.tainted[crypto.Keccak256Hash(input)] = struct{}{}
			return
		}
	}
}
