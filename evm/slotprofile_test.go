// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func slotNumber(n int64) common.Hash { return common.BigToHash(big.NewInt(n)) }

// TestSlotProfiles predicts what most contracts read, and the slots of a proxy for unknown functions.
func TestSlotProfiles(t *testing.T) {
	var (
		p        = newSlotProfiles()
		function = selector{1, 2, 3, 4}
		input    = append(function[:], 9)
		unknown  = []common.Hash{implementationSlot, beaconSlot}
	)
	for _, c := range [][]byte{nil, {1}, input} {
		if got := p.likelySlots(c); !slices.Equal(got, unknown) {
			t.Errorf("unknown function %x: %x", c, got)
		}
	}
	for n := range byte(4) {
		slots := []common.Hash{slotNumber(6), slotNumber(int64(100 + n))}
		if n > 0 {
			slots = append(slots, slotNumber(7))
		}
		p.record(function, common.Address{1 + n}, slots)
		p.record(function, common.Address{1 + n}, slots) // again: counts once
	}
	if got, want := p.likelySlots(input), []common.Hash{slotNumber(6), slotNumber(7)}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	// Contracts that read another slot replace the first ones.
	for n := range byte(profileContracts) {
		p.record(function, common.Address{100 + n}, []common.Hash{slotNumber(8)})
	}
	if got, want := p.likelySlots(input), []common.Hash{slotNumber(8)}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	many := make([]common.Hash, 3*profileSlots)
	for n := range many {
		many[n] = slotNumber(int64(n))
	}
	p.record(selector{9}, common.Address{1}, many)
	if got := p.likelySlots([]byte{9, 0, 0, 0}); len(got) != maxLikelySlots {
		t.Errorf("%d slots are requested for one call", len(got))
	}
}
