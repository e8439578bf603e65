// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestOptimisticRun runs a contract that requires an unknown slot to be set before it reads more, and
// that reads a mapping at an unknown key. Without the tracer it stops at the check.
func TestOptimisticRun(t *testing.T) {
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
	code.op(vm.SLOAD) // a key that depends on an unknown value
	code.push(0)
	code.op(vm.MSTORE)
	code.push(64)
	code.push(0)
	code.op(vm.KECCAK256, vm.SLOAD)
	code.push(11)
	code.op(vm.SLOAD, vm.STOP)

	for _, c := range []struct {
		traced bool
		mode   Mode
		want   int
	}{{false, ModeZero, 1}, {true, ModePlaceholder, 3}, {true, ModeZero, 4}} {
		partial := trie.NewLookupCache(common.Hash{1}, emptyStore{}).State()
		values := newFallback(c.mode, newLastSeen())
		partial.Fallback = values
		config := &runtime.Config{State: newState(t, partial)}
		config.State.SetCode(addr, code.code, 0)
		if c.traced {
			config.EVMConfig.Tracer = newOptimisticTracer(t.Context(), partial, values, newSlotProfiles()).hooks()
		}
		_, _, _ = runtime.Call(addr, nil, config)
		faults, _ := partial.Missing()
		keys := map[common.Hash]bool{}
		for _, fault := range faults {
			for _, key := range fault.StorageKeys {
				keys[key] = true
			}
		}
		if len(keys) != c.want || !keys[crypto.Keccak256Hash(common.BigToHash(big.NewInt(7)).Bytes())] {
			t.Errorf("traced %v, mode %d: %d slots requested, want %d", c.traced, c.mode, len(keys), c.want)
		}
	}
}

// TestOptimisticRunStops stops a loop by its context.
func TestOptimisticRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	partial := trie.NewLookupCache(common.Hash{1}, emptyStore{}).State()
	defer func() {
		if got := recover(); got != any(errStopped) {
			t.Errorf("the loop ended with %v, want %v", got, errStopped)
		}
	}()
	loop := []byte{byte(vm.JUMPDEST), byte(vm.PUSH1), 1, byte(vm.PUSH1), 0, byte(vm.JUMPI)}
	config := &runtime.Config{State: newState(t, partial), GasLimit: 50_000_000}
	config.EVMConfig.Tracer = newOptimisticTracer(ctx, partial, newFallback(ModePlaceholder, newLastSeen()), newSlotProfiles()).hooks()
	_, _, _ = runtime.Execute(loop, nil, config)
}

type emptyStore struct{}

func (emptyStore) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, nil }
func (emptyStore) Code(common.Hash) ([]byte, error)                      { return nil, nil }

func newState(t *testing.T, partial *trie.PartialState) *state.StateDB {
	t.Helper()
	statedb, err := state.New(common.Hash{1}, partial)
	if err != nil {
		t.Fatal(err)
	}
	return statedb
}
