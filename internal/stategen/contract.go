// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// Op is the operation that a call repeats Call.Count times.
type Op uint64

// The operations of the generated contracts.
const (
	Fill    Op = iota // write the slots Seed, Seed+1, ... of the mapping
	Read              // read random slots
	Write             // write random slots; the value depends on the block
	Clear             // write zero to random slots
	Forward           // pass on a call to another contract
	Pay               // send 1 wei to random accounts
	Balance           // read the balance of random accounts
	Give              // send 1 wei to the accounts Seed, Seed+1, ...; with Spec.Paris only
	Touch             // see Touches; with Spec.Mainnet only
)

// Call is one call of a generated contract. A random choice is keccak256(Seed, k) mod N for k in
// 0..Count-1, so that it can be computed outside as well. The contract returns the sum of what it read.
type Call struct {
	Op    Op
	Seed  uint64
	Count uint64
	N     uint64 // number of slots or accounts to choose from
}

// Input is the calldata.
func (c Call) Input() []byte {
	return words(uint64(c.Op), c.Seed, c.Count, c.N)
}

// Via is the calldata with which a contract forwards input to another one. It nests.
func Via(to common.Address, input []byte) []byte {
	head := words(uint64(Forward), 0)
	copy(head[44:], to[:])
	return append(head, input...)
}

func words(values ...uint64) []byte {
	out := make([]byte, 32*len(values))
	for i, v := range values {
		binary.BigEndian.PutUint64(out[32*i+24:], v)
	}
	return out
}

// Slot is the storage key of entry i of a contract's mapping.
func Slot(i uint64) common.Hash { return crypto.Keccak256Hash(words(i, 0)) }

// Account is the address of the i-th generated account. From Spec.Accounts on they do not exist.
func Account(i uint64) common.Address {
	return common.BytesToAddress(crypto.Keccak256(words(i, 1)))
}

// Pick is the k-th random entry out of n that a call with this seed uses.
func Pick(seed, k, n uint64) uint64 {
	hash := new(uint256.Int).SetBytes(crypto.Keccak256(words(seed, k)))
	return hash.Mod(hash, uint256.NewInt(n)).Uint64()
}

// runtime is the common part of the code of all contracts.
func (s Spec) runtime() []byte {
	a := assembler{labels: make(map[string]int), paris: s.Paris}
	if s.Mainnet {
		a.push(0).op(vm.CALLDATALOAD).push(byte(Touch)).op(vm.EQ).jumpIf("touch")
	}
	a.push(0).op(vm.CALLDATALOAD).push(byte(Forward)).op(vm.EQ).jumpIf("forward")

	a.push(0)        // k
	a.label("again") // stack: k
	a.push(0x40).op(vm.CALLDATALOAD, vm.DUP2, vm.LT, vm.ISZERO).jumpIf("end")
	a.push(0).op(vm.CALLDATALOAD, vm.ISZERO).jumpIf("linear")
	if s.Paris {
		a.push(0).op(vm.CALLDATALOAD).push(byte(Give)).op(vm.EQ).jumpIf("linear")
	}
	a.push(0x20).op(vm.CALLDATALOAD).push(0).op(vm.MSTORE) // keccak256(seed, k) mod n
	a.op(vm.DUP1).push(0x20).op(vm.MSTORE)
	a.push(0x60).op(vm.CALLDATALOAD).push(0x40).push(0).op(vm.KECCAK256, vm.MOD).jump("chosen")
	a.label("linear")
	a.op(vm.DUP1).push(0x20).op(vm.CALLDATALOAD, vm.ADD)

	a.label("chosen") // stack: i k; h = keccak256(i, 1 for accounts)
	a.push(0).op(vm.MSTORE)
	a.push(byte(Forward)).push(0).op(vm.CALLDATALOAD, vm.GT).push(0x20).op(vm.MSTORE)
	a.push(0x40).push(0).op(vm.KECCAK256)

	a.push(0).op(vm.CALLDATALOAD) // stack: op h k
	branches := []branch{{Read, "read"}, {Clear, "clear"}, {Pay, "pay"}, {Balance, "balance"}}
	if s.Paris {
		branches = append(branches, branch{Give, "pay"})
	}
	for _, b := range branches {
		a.op(vm.DUP1).push(byte(b.op)).op(vm.EQ).jumpIf(b.label)
	}
	a.op(vm.POP) // Fill and Write: any value that is never zero and differs between blocks
	a.op(vm.NUMBER, vm.DUP2, vm.ADD, vm.SWAP1, vm.SSTORE).jump("next")
	a.label("read").op(vm.POP, vm.SLOAD).jump("sum")
	a.label("clear").op(vm.POP).push(0).op(vm.SWAP1, vm.SSTORE).jump("next")
	a.label("pay").op(vm.POP)
	a.push(0).push(0).push(0).push(0).push(1).op(vm.DUP6).push(0).op(vm.CALL, vm.POP, vm.POP).jump("next")
	a.label("balance").op(vm.POP, vm.BALANCE)
	a.label("sum").push(0x40).op(vm.MLOAD, vm.ADD).push(0x40).op(vm.MSTORE)
	a.label("next").push(1).op(vm.ADD).jump("again")

	a.label("end").push(0x20).push(0x40).op(vm.RETURN)

	a.label("forward") // calldata: Forward, to, calldata for to
	a.push(0x40).op(vm.CALLDATASIZE, vm.SUB)
	a.op(vm.DUP1).push(0x40).push(0).op(vm.CALLDATACOPY) // stack: size
	a.push(0x20).push(0).op(vm.DUP3).push(0).push(0).push(0x20).op(vm.CALLDATALOAD, vm.GAS, vm.CALL)
	a.jumpIf("done")
	a.push(0).push(0).op(vm.REVERT)
	a.label("done").push(0x20).push(0).op(vm.RETURN)
	if s.Mainnet {
		a.touch()
	}
	return a.bytes()
}

// code is the i-th of the different bytecodes: the common part, and up to 20 kB of random bytes.
func (s Spec) code(i int) []byte {
	random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	noise := make([]byte, 32+i*1777%20_000)
	random.Read(noise) //nolint:errcheck // never fails
	return append(append(s.runtime(), byte(vm.INVALID)), noise...)
}

// initCode returns the code that deploys code.
func (s Spec) initCode(code []byte) []byte {
	const prefix = 12
	size := []byte{byte(len(code) >> 8), byte(len(code))}
	out := []byte{byte(vm.PUSH2), size[0], size[1], byte(vm.DUP1), byte(vm.PUSH1), prefix}
	if s.Paris {
		out = append(out, byte(vm.RETURNDATASIZE), byte(vm.CODECOPY), byte(vm.RETURNDATASIZE), byte(vm.RETURN)) // nothing was returned: 0
	} else {
		out = append(out, byte(vm.PUSH0), byte(vm.CODECOPY), byte(vm.PUSH0), byte(vm.RETURN))
	}
	for len(out) < prefix {
		out = append(out, byte(vm.STOP))
	}
	return append(out, code...)
}

// assembler builds contract code. Jumps may name labels that come later.
type assembler struct {
	code   []byte
	labels map[string]int
	fixups []fixup
	paris  bool // PUSH0 does not exist
}

type fixup struct {
	at    int
	label string
}

type branch struct {
	op    Op
	label string
}

func (a *assembler) op(ops ...vm.OpCode) *assembler {
	for _, op := range ops {
		a.code = append(a.code, byte(op))
	}
	return a
}

func (a *assembler) push(v byte) *assembler {
	if v == 0 && !a.paris {
		return a.op(vm.PUSH0)
	}
	a.code = append(a.code, byte(vm.PUSH1), v)
	return a
}

func (a *assembler) pushBytes(v []byte) *assembler {
	a.code = append(a.code, byte(vm.PUSH1)+byte(len(v)-1))
	a.code = append(a.code, v...)
	return a
}

func (a *assembler) label(name string) *assembler {
	a.labels[name] = len(a.code)
	return a.op(vm.JUMPDEST)
}

func (a *assembler) target(label string) *assembler {
	a.fixups = append(a.fixups, fixup{len(a.code) + 1, label})
	a.code = append(a.code, byte(vm.PUSH2), 0, 0)
	return a
}

func (a *assembler) jump(label string) *assembler   { return a.target(label).op(vm.JUMP) }
func (a *assembler) jumpIf(label string) *assembler { return a.target(label).op(vm.JUMPI) }

func (a *assembler) bytes() []byte {
	for _, f := range a.fixups {
		at, ok := a.labels[f.label]
		if !ok {
			panic(fmt.Sprintf("no label %s", f.label))
		}
		binary.BigEndian.PutUint16(a.code[f.at:], uint16(at))
	}
	return a.code
}
