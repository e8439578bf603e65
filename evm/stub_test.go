// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
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
		"unknown":      {common.FromHex("deadbeef"), bytes.Repeat(word(placeholder[:]...), stubWords)},
		"no input":     {nil, bytes.Repeat(word(placeholder[:]...), stubWords)},
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
