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

// detour keeps a bold run going: from the first thing on that is not held, conditional jumps
// avoid branches that can do nothing but revert. A check that fails on a value thought up says
// nothing, and what comes after it is most of what the transaction reads. It also watches for
// keys that are hashes of something thought up, which are not worth asking for.
//
// It works as a tracer that changes the stack, which go-ethereum asks tracers not to do: the
// condition of a JUMPI is all it touches, just before it is used.
type detour struct {
	ctx    context.Context //nolint:containedctx // hooks have none to pass
	steps  int             // conditional jumps and hashes so far
	guess  *trie.Guess
	assume *assumption
	turns  map[place]turn

	habits  *habits
	hashed  bool                  // the operation before was a hash
	derived map[[31]byte]struct{} // hashes without their last byte: members of a structure are beside each other
	reads   map[reading][]common.Hash
}

// place is a conditional jump in a code, told by its first byte's address.
type place struct {
	code *byte
	pc   uint64
}

// turn is what to do at a conditional jump.
type turn uint8

const (
	either turn = iota
	jump
	stay
)

const (
	// deadSteps and deadHops bound the look ahead: reverting takes a message at most, in code
	// that compilers share between checks.
	deadSteps = 200
	deadHops  = 4
	// stepsToLook is after how many jumps and hashes a run looks whether it should end.
	stepsToLook = 256
	// hashedWords bounds the input of a hash that is looked at: keys are made of two words,
	// or three.
	hashedWords = 8
)

func newDetour(ctx context.Context, guess *trie.Guess, assume *assumption, habits *habits) *detour {
	return &detour{
		ctx: ctx, guess: guess, assume: assume, habits: habits,
		turns: make(map[place]turn), derived: make(map[[31]byte]struct{}), reads: make(map[reading][]common.Hash),
	}
}

func (d *detour) hooks() *tracing.Hooks {
	return &tracing.Hooks{OnOpcode: d.step, OnEnter: d.enter}
}

// enter notes contracts that the run makes: they are not there before. Of those that it calls and whose
// code is not held it notes what they are likely to read.
func (d *detour) enter(_ int, typ byte, _ common.Address, to common.Address, input []byte, _ uint64, _ *big.Int) {
	switch vm.OpCode(typ) { //nolint:exhaustive // the others begin no call of a contract's own
	case vm.CREATE, vm.CREATE2:
		d.assume.created[to] = struct{}{}
	case vm.CALL, vm.STATICCALL:
		if len(input) == 0 || marked(to[:]) || !d.lacks(to) {
			return
		}
		d.guess.Want(to, d.habits.likely(input)...)
		if value, held := d.guess.Slot(to, implementationSlot); held && value != (common.Hash{}) {
			d.guess.Want(common.BytesToAddress(value[:]))
		}
		if value, held := d.guess.Slot(to, beaconSlot); held && value != (common.Hash{}) {
			d.guess.Want(common.BytesToAddress(value[:]), d.habits.likely(implementationCall)...)
		}
	}
}

// implementationCall asks a beacon for what stands behind it: implementation() (EIP-1967).
var implementationCall = []byte{0x5c, 0x60, 0xda, 0x1b} //nolint:gochecknoglobals // a constant

// lacks says whether a contract's code is not there to be run.
func (d *detour) lacks(addr common.Address) bool {
	if hash, known := d.assume.memory.code(addr); known {
		return !d.guess.HasCode(hash)
	}
	return d.guess.Lacks(addr)
}

// reading is a function that reads storage of a contract.
type reading struct {
	function selector
	addr     common.Address
}

// load notes a slot that is about to be read, unless it was computed by hashing.
func (d *detour) load(scope tracing.OpContext, slot common.Hash) {
	input := scope.CallInput()
	if _, derived := d.derived[[31]byte(slot[:31])]; derived || len(input) < len(selector{}) {
		return
	}
	if by := (reading{selector(input), scope.Address()}); !slices.Contains(d.reads[by], slot) && len(d.reads[by]) < habitSlots {
		d.reads[by] = append(d.reads[by], slot)
	}
}

// teach adds what was read to the habits.
func (d *detour) teach() {
	for by, slots := range d.reads {
		d.habits.read(by.function, by.addr, slots)
	}
}

// step comes before every operation.
func (d *detour) step(pc uint64, op byte, _, _ uint64, scope tracing.OpContext, _ []byte, _ int, err error) {
	if err != nil {
		return
	}
	if d.hashed {
		d.hashed = false
		if stack := scope.StackData(); len(stack) > 0 {
			hash := stack[len(stack)-1].Bytes32()
			d.derived[[31]byte(hash[:31])] = struct{}{}
		}
	}
	switch vm.OpCode(op) { //nolint:exhaustive // the others do not matter
	case vm.JUMPI:
	case vm.KECCAK256:
		d.hashed = true
	case vm.SLOAD:
		if stack := scope.StackData(); len(stack) > 0 {
			d.load(scope, stack[len(stack)-1].Bytes32())
		}
		return
	default:
		return
	}
	if d.steps++; d.steps%stepsToLook == 0 && d.ctx.Err() != nil {
		panic(d.ctx.Err()) // the only way out of go-ethereum's block processor; caught where the run began
	}
	if !d.guess.Missed() {
		return
	}
	stack := scope.StackData()
	if len(stack) < 2 {
		return
	}
	first, second := &stack[len(stack)-1], &stack[len(stack)-2]
	if op == byte(vm.KECCAK256) {
		d.hash(scope.MemoryData(), first, second)
		return
	}
	code := scope.ContractCode()
	at := place{&code[0], pc}
	way, known := d.turns[at]
	if !known {
		way = turnAt(code, pc, first)
		d.turns[at] = way
	}
	switch {
	case way == jump && second.IsZero():
		second.SetOne()
	case way == stay:
		second.Clear()
	}
}

// hash remembers the hash of memory that holds something thought up.
func (d *detour) hash(memory []byte, offset, size *uint256.Int) {
	if !offset.IsUint64() || !size.IsUint64() {
		return
	}
	from, n := offset.Uint64(), size.Uint64()
	if n < common.HashLength || n > hashedWords*common.HashLength || from > uint64(len(memory)) {
		return
	}
	input := make([]byte, n) // memory grows only after this, with zeros
	copy(input, memory[from:])
	for rest := input; len(rest) >= common.HashLength; rest = rest[common.HashLength:] {
		word := common.Hash(rest)
		if _, tainted := d.assume.tainted[word]; tainted || marked(word[:]) {
			d.assume.tainted[crypto.Keccak256Hash(input)] = struct{}{}
			return
		}
	}
}

// turnAt decides for a conditional jump at pc to dest.
func turnAt(code []byte, pc uint64, dest *uint256.Int) turn {
	if !dest.IsUint64() {
		return either
	}
	switch there, here := dead(code, dest.Uint64(), deadHops), dead(code, pc+1, deadHops); {
	case there && !here:
		return stay
	case here && !there:
		return jump
	}
	return either
}

// dead says whether code from pc on does nothing but revert, as far as can be seen.
func dead(code []byte, pc uint64, hops int) bool {
	var target *uint256.Int // pushed just before
	for range deadSteps {
		if pc >= uint64(len(code)) {
			return false
		}
		op := vm.OpCode(code[pc])
		switch op { //nolint:exhaustive // the others go on
		case vm.REVERT, vm.INVALID:
			return true
		case vm.JUMP:
			return target != nil && target.IsUint64() && hops > 0 && dead(code, target.Uint64(), hops-1)
		case vm.JUMPI, vm.STOP, vm.RETURN, vm.SELFDESTRUCT, vm.SLOAD, vm.SSTORE, vm.CALL, vm.CALLCODE, vm.DELEGATECALL, vm.STATICCALL:
			return false
		}
		target = nil
		if op.IsPush() && op != vm.PUSH0 {
			end := pc + 1 + uint64(op-vm.PUSH1) + 1
			if end <= uint64(len(code)) {
				target = new(uint256.Int).SetBytes(code[pc+1 : end])
			}
			pc = end
			continue
		}
		pc++
	}
	return false
}
