// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestLastSeenOlder: what a block reads that is executed again does not replace what newer blocks showed, and is added otherwise.
func TestLastSeenOlder(t *testing.T) {
	addr, newAddr := common.Address{1}, common.Address{2}
	known, unknown := common.Hash{31: 1}, common.Hash{31: 2}
	after := func(value byte) *state.StateDB {
		statedb, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []common.Address{addr, newAddr} {
			statedb.SetCode(a, []byte{value}, 0)
			statedb.SetState(a, known, common.Hash{value})
			statedb.SetState(a, unknown, common.Hash{value})
		}
		return statedb
	}
	l := newLastSeen()
	newer := after(9)
	l.record(&trie.Touched{Accounts: []trie.TouchedAccount{{Address: addr, Slots: []common.Hash{known}}}}, newer, false)
	older := after(5)
	l.record(&trie.Touched{Accounts: []trie.TouchedAccount{
		{Address: addr, Slots: []common.Hash{known, unknown}}, {Address: newAddr, Slots: []common.Hash{known}},
	}}, older, true)
	for _, want := range []struct {
		addr  common.Address
		slot  common.Hash
		value byte
	}{{addr, known, 9}, {addr, unknown, 5}, {newAddr, known, 5}} {
		if got, ok := l.slot(want.addr, want.slot); !ok || got != (common.Hash{want.value}) {
			t.Errorf("slot %x of %x is %x, want %d", want.slot, want.addr, got, want.value)
		}
	}
	if got, _ := l.codeHash(addr); got != newer.GetCodeHash(addr) {
		t.Errorf("code hash %x of an older block", got)
	}
	if got, _ := l.codeHash(newAddr); got != older.GetCodeHash(newAddr) {
		t.Errorf("code hash %x is not the older block's", got)
	}
}
