package evm

import (
	"bytes"
	"context"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestStub calls the stub as callers do.
func TestStub(t *testing.T) {
	word := func(v ...byte) []byte { return common.LeftPadBytes(v, 32) }
	for name, c := range map[string]struct {
		input []byte
		want  []byte
	}{
		"transfer":     {common.FromHex("a9059cbb"), word(1)},
		"transferFrom": {append(common.FromHex("23b872dd"), make([]byte, 96)...), word(1)},
		"decimals":     {common.FromHex("313ce567"), word(18)},
		"unknown":      {common.FromHex("deadbeef"), bytes.Repeat(word(marker[:]...), stubWords)},
		"no input":     {nil, bytes.Repeat(word(marker[:]...), stubWords)},
	} {
		got, _, err := runtime.Execute(stubCode, c.input, nil)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	balance := func(gas uint64) *big.Int {
		got, _, err := runtime.Execute(stubCode, common.FromHex("70a08231"), &runtime.Config{GasLimit: gas})
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(got)
	}
	if early, late := balance(2_000_000), balance(1_900_000); early.Cmp(late) >= 0 || late.BitLen() > 112 {
		t.Errorf("balances %d, then %d", early, late)
	}
}

// TestTurns looks at branches as compilers write them.
func TestTurns(t *testing.T) {
	const (
		jumpdest = byte(vm.JUMPDEST)
		push     = byte(vm.PUSH1)
	)
	revert := []byte{push, 0, byte(vm.DUP1), byte(vm.REVERT)}
	live := []byte{push, 1, push, 0, byte(vm.SSTORE), byte(vm.STOP)}
	// The branch at 0 jumps to 16; the fallthrough starts at 1.
	branch := func(here, there []byte) []byte {
		code := append([]byte{byte(vm.JUMPI)}, here...)
		code = append(code, make([]byte, 16-len(code))...)
		return append(append(code, jumpdest), there...)
	}
	for name, c := range map[string]struct {
		code []byte
		want turn
	}{
		"require":          {branch(revert, live), jump},
		"if not, revert":   {branch(live, revert), stay},
		"both go on":       {branch(live, live), either},
		"both revert":      {branch(revert, revert), either},
		"shared revert":    {append(branch([]byte{push, 32, byte(vm.JUMP)}, live), append(make([]byte, 32-16-1-len(live)), append([]byte{jumpdest}, revert...)...)...), jump},
		"ends without end": {branch(live, nil), either},
	} {
		if got := turnAt(c.code, 0, uint256.NewInt(16)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := turnAt(branch(revert, live), 0, new(uint256.Int).Not(new(uint256.Int))); got != either {
		t.Error("a jump out of the world is decided")
	}
}

// TestBoldRunGoesOn runs a contract that checks an unknown slot and calls an unknown contract before it
// reads more, and that reads a mapping at an unknown key.
func TestBoldRunGoesOn(t *testing.T) {
	var (
		code assembler
		addr = common.HexToAddress("0xc0de")
	)
	code.push(7)
	code.op(vm.SLOAD, vm.ISZERO, vm.ISZERO) // require(slot 7 != 0)
	code.push(0, 13)
	code.op(vm.JUMPI)
	code.push(0)
	code.op(vm.DUP1, vm.REVERT)
	if len(code.code) != 13 {
		t.Fatal(len(code.code))
	}
	code.op(vm.JUMPDEST)
	code.push(9)
	code.op(vm.SLOAD) // a key that nobody knows
	code.push(0)
	code.op(vm.MSTORE)
	code.push(64)
	code.push(0)
	code.op(vm.KECCAK256, vm.SLOAD)
	code.push(11)
	code.op(vm.SLOAD, vm.STOP)

	for manner, want := range map[Manner]int{Plain: 1, Marked: 3} {
		guess := trie.OpenGuess(common.Hash{1}, emptyStore{})
		assume := newAssumption(manner, newMemory())
		guess.Assume = assume
		config := &runtime.Config{State: newState(t, guess)}
		config.State.SetCode(addr, code.code, 0)
		if manner != Plain {
			config.EVMConfig.Tracer = newDetour(t.Context(), guess, assume, newHabits()).hooks()
		}
		_, _, _ = runtime.Call(addr, nil, config)
		faults, _ := guess.Missing()
		riders := map[common.Hash]bool{}
		for _, fault := range faults {
			for _, key := range fault.Riders {
				riders[key] = true
			}
		}
		if len(riders) != want || !riders[crypto.Keccak256Hash(common.BigToHash(big.NewInt(7)).Bytes())] {
			t.Errorf("manner %d: %d slots asked for, want %d", manner, len(riders), want)
		}
	}
}

// TestBoldRunEnds stops a loop by its context.
func TestBoldRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guess := trie.OpenGuess(common.Hash{1}, emptyStore{})
	defer func() {
		if recover() == nil {
			t.Error("the loop went on")
		}
	}()
	loop := []byte{byte(vm.JUMPDEST), byte(vm.PUSH1), 1, byte(vm.PUSH1), 0, byte(vm.JUMPI)}
	config := &runtime.Config{State: newState(t, guess), GasLimit: 50_000_000}
	config.EVMConfig.Tracer = newDetour(ctx, guess, newAssumption(Marked, newMemory()), newHabits()).hooks()
	_, _, _ = runtime.Execute(loop, nil, config)
}

type emptyStore struct{}

func (emptyStore) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, nil }
func (emptyStore) Code(common.Hash) ([]byte, error)                      { return nil, nil }

func newState(t *testing.T, guess *trie.Guess) *state.StateDB {
	t.Helper()
	statedb, err := state.New(common.Hash{1}, guess)
	if err != nil {
		t.Fatal(err)
	}
	return statedb
}
