// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
)

var mainnetSpec = Spec{Accounts: 100_000, Senders: 200, Contracts: 1000, Codes: 100, Slots: 300_000, Mainnet: true}

// TestLocality: of what a block touches, as many as on mainnet were touched in so many blocks before.
func TestLocality(t *testing.T) {
	traffic := NewTraffic(mainnetSpec, 3)
	const blocks, counted = 290, 20
	seen := make(map[entry]int)
	touched, within := 0, map[int]int{}
	for block := range blocks {
		for gas := uint64(0); gas < 8_000_000; {
			gas += traffic.plan(Mainnet()).use
		}
		now := traffic.recent.touched
		traffic.recent.next()
		for e := range now {
			if last, known := seen[e]; block >= blocks-counted {
				touched++
				for _, window := range []int{8, 32, 256} {
					if known && block-last <= window {
						within[window]++
					}
				}
			}
			seen[e] = block
		}
	}
	for window, want := range map[int]int{8: 60, 32: 70, 256: 81} {
		if got := 100 * within[window] / touched; got < want-3 || got > want+3 {
			t.Errorf("%d %% of %d were touched in the %d blocks before, want %d", got, touched, window, want)
		}
	}
	t.Logf("%d touched a block, within: %v", touched/counted, within)
}

// TestTouch runs a chain of calls: through a router and a proxy to two contracts.
func TestTouch(t *testing.T) {
	statedb, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	code := append(mainnetSpec.runtime(), byte(vm.INVALID))
	router, proxy, last, implementation := common.Address{1}, common.Address{2}, common.Address{3}, common.Address{4}
	for _, addr := range []common.Address{router, last, implementation} {
		statedb.SetCode(addr, code, 0)
	}
	deployed, _, err := runtime.Execute(proxyInit(implementation), nil, &runtime.Config{State: statedb})
	if err != nil {
		t.Fatal(err)
	}
	statedb.SetCode(proxy, deployed, 0)
	statedb.SetState(proxy, implementationSlot, common.BytesToHash(implementation[:]))
	input := TouchInput([]Touches{
		{To: router, Spin: 100},
		{To: proxy, Reads: []uint64{1, 2}, Writes: []uint64{3}},
		{To: last, Writes: []uint64{4, 5}},
	})
	if _, _, err := runtime.Call(router, input, &runtime.Config{State: statedb}); err != nil {
		t.Fatal(err)
	}
	for addr, slots := range map[common.Address]map[uint64]bool{
		router: {3: false}, implementation: {3: false}, proxy: {1: false, 3: true, 4: false}, last: {3: false, 4: true, 5: true},
	} {
		for slot, written := range slots {
			if value := statedb.GetState(addr, Slot(slot)); (value != common.Hash{}) != written {
				t.Errorf("entry %d of contract %x is %x, written: %v", slot, addr[:1], value, written)
			}
		}
	}
	var from []common.Address
	for _, log := range statedb.Logs() {
		from = append(from, log.Address)
	}
	if len(from) != 2 || from[0] != proxy || from[1] != last {
		t.Errorf("logs of %x", from)
	}
}
