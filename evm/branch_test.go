// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// TestBranchOverrides decides on branches as compilers write them.
func TestBranchOverrides(t *testing.T) {
	const (
		jumpdest = byte(vm.JUMPDEST)
		push     = byte(vm.PUSH1)
	)
	revert := []byte{push, 0, byte(vm.DUP1), byte(vm.REVERT)}
	live := []byte{push, 1, push, 0, byte(vm.SSTORE), byte(vm.STOP)}
	// The branch at 0 jumps to 16; the fallthrough starts at 1.
	branch := func(notTaken, taken []byte) []byte {
		code := append([]byte{byte(vm.JUMPI)}, notTaken...)
		code = append(code, make([]byte, 16-len(code))...)
		return append(append(code, jumpdest), taken...)
	}
	for name, c := range map[string]struct {
		code []byte
		want branchOverride
	}{
		"require":         {branch(revert, live), overrideTaken},
		"if not, revert":  {branch(live, revert), overrideNotTaken},
		"neither reverts": {branch(live, live), overrideNone},
		"both revert":     {branch(revert, revert), overrideNone},
		"shared revert":   {append(branch([]byte{push, 32, byte(vm.JUMP)}, live), append(make([]byte, 32-16-1-len(live)), append([]byte{jumpdest}, revert...)...)...), overrideTaken},
		"past the end":    {branch(live, nil), overrideNone},
	} {
		if got := overrideAt(c.code, 0, uint256.NewInt(16)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := overrideAt(branch(revert, live), 0, new(uint256.Int).Not(new(uint256.Int))); got != overrideNone {
		t.Errorf("destination out of range: %d, want %d", got, overrideNone)
	}
}
