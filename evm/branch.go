// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// branchOverride is what an optimistic run does at a conditional jump, whatever the condition is.
type branchOverride uint8

const (
	overrideNone     branchOverride = iota // follow the condition
	overrideTaken                          // jump
	overrideNotTaken                       // do not jump
)

const (
	// revertSteps bounds the look ahead in operations. A revert with a message takes fewer.
	revertSteps = 200
	// revertJumps bounds the unconditional jumps that the look ahead follows: compilers share the code of
	// reverts between checks.
	revertJumps = 4
)

// overrideAt decides on the conditional jump at pc to dest: the branch that only reverts is avoided,
// unless both do.
func overrideAt(code []byte, pc uint64, dest *uint256.Int) branchOverride {
	if !dest.IsUint64() {
		return overrideNone
	}
	switch taken, notTaken := onlyReverts(code, dest.Uint64(), revertJumps), onlyReverts(code, pc+1, revertJumps); {
	case taken && !notTaken:
		return overrideNotTaken
	case notTaken && !taken:
		return overrideTaken
	}
	return overrideNone
}

// onlyReverts reports whether the code from pc on surely reverts before it does anything else of
// consequence. A branch, a storage access or a call counts as something else.
func onlyReverts(code []byte, pc uint64, jumps int) bool {
	var target *uint256.Int // pushed by the operation before
	for range revertSteps {
		if pc >= uint64(len(code)) {
			return false
		}
		op := vm.OpCode(code[pc])
		switch op { //nolint:exhaustive // the others have no effect outside
		case vm.REVERT, vm.INVALID:
			return true
		case vm.JUMP:
			return target != nil && target.IsUint64() && jumps > 0 && onlyReverts(code, target.Uint64(), jumps-1)
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
