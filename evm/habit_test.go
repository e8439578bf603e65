package evm

import (
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func slotNumber(n int64) common.Hash { return common.BigToHash(big.NewInt(n)) }

// TestHabits asks for what most contracts read, and for what proxies need where nothing is known.
func TestHabits(t *testing.T) {
	var (
		h        = newHabits()
		function = selector{1, 2, 3, 4}
		input    = append(function[:], 9)
		unknown  = []common.Hash{implementationSlot, beaconSlot}
	)
	for _, c := range [][]byte{nil, {1}, input} {
		if got := h.likely(c); !slices.Equal(got, unknown) {
			t.Errorf("nothing is known of %x: %x", c, got)
		}
	}
	for n := range byte(4) {
		slots := []common.Hash{slotNumber(6), slotNumber(int64(100 + n))}
		if n > 0 {
			slots = append(slots, slotNumber(7))
		}
		h.read(function, common.Address{1 + n}, slots)
		h.read(function, common.Address{1 + n}, slots) // again: counts once
	}
	if got, want := h.likely(input), []common.Hash{slotNumber(6), slotNumber(7)}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	// Contracts that read something else take the places of the first ones.
	for n := range byte(habitContracts) {
		h.read(function, common.Address{100 + n}, []common.Hash{slotNumber(8)})
	}
	if got, want := h.likely(input), []common.Hash{slotNumber(8)}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	many := make([]common.Hash, 3*habitSlots)
	for n := range many {
		many[n] = slotNumber(int64(n))
	}
	h.read(selector{9}, common.Address{1}, many)
	if got := h.likely([]byte{9, 0, 0, 0}); len(got) != habitAsked {
		t.Errorf("%d slots are asked for at once", len(got))
	}
}
