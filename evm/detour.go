package evm

import (
	"context"
	"math/big"

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

// habitual are slots that contracts read early, whatever they do: the first ones (of the contracts
// called in real blocks 17 % and 11 % have read them), and where proxies keep what they stand for
// (EIP-1967: implementation, 9 %, and beacon).
var habitual = []common.Hash{ //nolint:gochecknoglobals // constants
	{},
	{31: 1},
	common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"),
	common.HexToHash("0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"),
}

func newDetour(ctx context.Context, guess *trie.Guess, assume *assumption) *tracing.Hooks {
	d := &detour{ctx: ctx, guess: guess, assume: assume, turns: make(map[place]turn)}
	return &tracing.Hooks{OnOpcode: d.step, OnEnter: d.enter}
}

// enter notes contracts that the run makes: they are not there before.
func (d *detour) enter(_ int, typ byte, _ common.Address, to common.Address, input []byte, _ uint64, _ *big.Int) {
	switch vm.OpCode(typ) { //nolint:exhaustive // the others begin no call of a contract's own
	case vm.CREATE, vm.CREATE2:
		d.assume.created[to] = struct{}{}
	case vm.CALL, vm.STATICCALL:
		if len(input) > 0 && !marked(to[:]) && d.guess.Lacks(to) {
			d.guess.Want(to, habitual...)
		}
	}
}

// step comes before every operation.
func (d *detour) step(pc uint64, op byte, _, _ uint64, scope tracing.OpContext, _ []byte, _ int, err error) {
	if err != nil || op != byte(vm.JUMPI) && op != byte(vm.KECCAK256) {
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
