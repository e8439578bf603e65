// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl_test

import (
	"context"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// A geth v1.10.26 builds blocks of Paris by way of its pool; a geth of today follows.
func TestOldGeth(t *testing.T) {
	binary, err := gethpeer.OldBinary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := stategen.Spec{Accounts: 500, Senders: 20, Contracts: 3, Codes: 2, Slots: 500, Paris: true}
	old, err := gethpeer.Start(t.Context(), gethpeer.Config{
		Binary: binary, Old: true, Dir: filepath.Join(t.TempDir(), "old"), Genesis: spec.Genesis(), JWTSecret: secret, CacheMB: 64,
		GasLimit: spec.Genesis().GasLimit, Args: []string{"--rpc.txfeecap", "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := old.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := mockcl.Dial(t.Context(), "old", old.Auth(), secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	other, follower := start(t, gethpeer.Config{Dir: filepath.Join(t.TempDir(), "follower"), Genesis: spec.Genesis()})

	b, err := mockcl.NewBuilder(t.Context(), client, old.RPC(), spec.Config())
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(p *mockcl.Payload, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []func() (engine.PayloadStatusV1, error){
			func() (engine.PayloadStatusV1, error) { return follower.NewPayload(t.Context(), p) },
			func() (engine.PayloadStatusV1, error) { return follower.Forkchoice(t.Context(), p) },
		} {
			if status, err := call(); err != nil || status.Status != engine.VALID {
				t.Fatalf("block %d: %+v, %v", p.Data.Number, status, err)
			}
		}
	}
	fill := func(ctx context.Context, time uint64, txs []*types.Transaction) error {
		deliver(b.Build(ctx, time, txs))
		return nil
	}
	if err := spec.FillBy(t.Context(), fill); err != nil {
		t.Fatal(err)
	}
	made := b.Head().Number.Uint64()
	traffic := stategen.NewTraffic(spec, 1)
	for range 2 {
		deliver(b.Build(t.Context(), uint64(time.Now().Unix()), traffic.Block(2_000_000, stategen.Mixed())))
	}
	checkReceipts(t, ethclient.NewClient(other.RPC()), int(b.Head().Number.Uint64()))
	if balance, err := ethclient.NewClient(old.RPC()).BalanceAt(t.Context(), stategen.Account(499), new(big.Int).SetUint64(made)); err != nil || balance.Sign() == 0 {
		t.Errorf("balance of the last account: %v, %v", balance, err)
	}
}
