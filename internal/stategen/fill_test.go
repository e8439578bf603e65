// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen_test

import (
	"math/big"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

var small = stategen.Spec{Accounts: 2000, Senders: 10, Contracts: 4, Codes: 3, Slots: 2000}

// filled returns a client of a geth with the state.
func filled(t testing.TB, spec stategen.Spec) *ethclient.Client {
	t.Helper()
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	geth, err := gethpeer.Start(t.Context(), gethpeer.Config{
		Binary: binary, Dir: filepath.Join(t.TempDir(), "geth"), Genesis: spec.Genesis(), CacheMB: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := geth.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := spec.Fill(t.Context(), geth.RPC(), nil); err != nil {
		t.Fatal(err)
	}
	return ethclient.NewClient(geth.RPC())
}

func TestFill(t *testing.T) {
	ctx, client := t.Context(), filled(t, small)

	for what, want := range map[common.Address]uint64{
		stategen.Account(0):                                  1_000_000,
		stategen.Account(1999):                               1_001_999,
		stategen.Account(2000):                               0,
		crypto.PubkeyToAddress(stategen.Sender(9).PublicKey): 1_000_000_000_000,
	} {
		got, err := client.BalanceAt(ctx, what, nil)
		if err != nil || got.Cmp(new(big.Int).Mul(new(big.Int).SetUint64(want), big.NewInt(1e9))) != 0 {
			t.Errorf("balance of %v is %v, want %d gwei: %v", what, got, want, err)
		}
	}

	// 2,000 slots over 4 contracts, in proportion to 1, 1/2, 1/3, 1/4.
	codes := make(map[string]bool)
	for i := range small.Contracts {
		n := small.SlotsOf(i)
		for slot, filled := range map[uint64]bool{0: true, n - 1: true, n: false} {
			value, err := client.StorageAt(ctx, stategen.Contract(i), stategen.Slot(slot), nil)
			if err != nil || (new(big.Int).SetBytes(value).Sign() != 0) != filled {
				t.Errorf("contract %d slot %d of %d is %x, filled: %t: %v", i, slot, n, value, filled, err)
			}
		}
		code, err := client.CodeAt(ctx, stategen.Contract(i), nil)
		if err != nil || len(code) == 0 {
			t.Fatalf("contract %d has no code: %v", i, err)
		}
		codes[string(code)] = true
	}
	if len(codes) != small.Codes {
		t.Errorf("%d different codes, want %d", len(codes), small.Codes)
	}
	if got := []uint64{small.SlotsOf(0), small.SlotsOf(3)}; got[0] != 960 || got[1] != 240 {
		t.Errorf("slots %v", got)
	}
}

func TestCalls(t *testing.T) {
	ctx, client := t.Context(), filled(t, small)
	call := func(to int, input []byte) *big.Int {
		t.Helper()
		address := stategen.Contract(to)
		out, err := client.CallContract(ctx, ethereum.CallMsg{To: &address, Data: input, Gas: 10_000_000}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(out)
	}
	n := small.SlotsOf(1)
	want := new(big.Int)
	for k := range uint64(10) {
		value, err := client.StorageAt(ctx, stategen.Contract(1), stategen.Slot(stategen.Pick(77, k, n)), nil)
		if err != nil {
			t.Fatal(err)
		}
		want.Add(want, new(big.Int).SetBytes(value))
	}
	want.And(want, new(big.Int).Sub(new(big.Int).Lsh(common.Big1, 256), common.Big1))
	read := stategen.Call{Op: stategen.Read, Seed: 77, Count: 10, N: n}.Input()
	if got := call(1, read); got.Cmp(want) != 0 {
		t.Errorf("Read returned %x, want %x", got, want)
	}
	// The same by way of two other contracts.
	if got := call(3, stategen.Via(stategen.Contract(2), stategen.Via(stategen.Contract(1), read))); got.Cmp(want) != 0 {
		t.Errorf("forwarded Read returned %x, want %x", got, want)
	}

	want.SetUint64(0)
	for k := range uint64(5) {
		want.Add(want, new(big.Int).SetUint64(1_000_000+stategen.Pick(5, k, 2000)))
	}
	want.Mul(want, big.NewInt(1e9))
	if got := call(0, stategen.Call{Op: stategen.Balance, Seed: 5, Count: 5, N: 2000}.Input()); got.Cmp(want) != 0 {
		t.Errorf("Balance returned %v, want %v", got, want)
	}
}

// TestDeterministic compares the head hash with the known one of the spec.
func TestDeterministic(t *testing.T) {
	spec := stategen.Spec{Accounts: 10, Senders: 2, Contracts: 2, Codes: 1, Slots: 20, Amsterdam: true}
	header, err := filled(t, spec).HeaderByNumber(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "0xb31ff8cca6ef8526eb4a36e6efbdd6467ed2e6aca122954e83deebb2d0315c09"
	if got := header.Hash().Hex(); got != want {
		t.Errorf("head of %s is %s, want %s; if the state changed on purpose, increase version", spec.Name(), got, want)
	}
}

// BenchmarkFill makes the state of the demo.
func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		filled(b, stategen.Demo())
	}
}
