// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

var secret = [32]byte{1, 2, 3}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t *testing.T, cfg gethpeer.Config) (*gethpeer.Process, *mockcl.Client) {
	t.Helper()
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Binary, cfg.JWTSecret, cfg.CacheMB = binary, secret, 64
	geth, err := gethpeer.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := geth.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := mockcl.Dial(t.Context(), filepath.Base(cfg.Dir), geth.Auth(), secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return geth, client
}

// A geth with a state builds blocks of every kind of transaction; another one with the
// same state follows.
func TestChain(t *testing.T) {
	for _, amsterdam := range []bool{false, true} {
		t.Run(fmt.Sprintf("amsterdam=%t", amsterdam), func(t *testing.T) {
			spec := stategen.Spec{Accounts: 500, Senders: 20, Contracts: 5, Codes: 3, Slots: 2000, Amsterdam: amsterdam}
			builder, client := start(t, gethpeer.Config{Dir: filepath.Join(t.TempDir(), "builder"), Genesis: spec.Genesis()})
			other, follower := start(t, gethpeer.Config{Dir: filepath.Join(t.TempDir(), "follower"), Genesis: spec.Genesis()})
			for _, geth := range []*gethpeer.Process{builder, other} {
				if err := spec.Fill(t.Context(), geth.RPC(), nil); err != nil {
					t.Fatal(err)
				}
			}
			const blocks, gas = 5, 10_000_000
			b, err := mockcl.NewBuilder(t.Context(), client, builder.RPC(), spec.Config())
			if err != nil {
				t.Fatal(err)
			}
			var records []mockcl.Record
			traffic := stategen.NewTraffic(spec, 1)
			mix := stategen.Mix{Transfers: 1, NewAccounts: 1, Reads: 1, Writes: 1, Clears: 1, Forwards: 1, Pays: 1, Balances: 1, Deploys: 1}
			chain := mockcl.Chain{
				Builder:   b,
				Followers: []*mockcl.Follower{mockcl.NewFollower(follower, time.Second, func(r mockcl.Record) { records = append(records, r) }, discard())},
				Blocks:    blocks,
				Transactions: func(uint64, *big.Int) []*types.Transaction {
					return traffic.Block(gas, mix)
				},
			}
			first := b.Head().Number.Uint64() + 1
			if err := chain.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(records) != blocks {
				t.Fatalf("%d records: %+v", len(records), records)
			}
			for i, r := range records {
				if r.Status != engine.VALID || r.Number != first+uint64(i) || r.Client != "follower" || r.Err != "" || r.Latency <= 0 {
					t.Errorf("record %+v", r)
				}
				// Amsterdam charges more for the same work.
				if r.GasUsed < gas*7/10 || !amsterdam && r.GasUsed > gas*13/10 {
					t.Errorf("block %d used %d gas, want about %d", r.Number, r.GasUsed, gas)
				}
			}
			checkReceipts(t, ethclient.NewClient(other.RPC()), blocks)
			header := b.Head()
			if (header.SlotNumber != nil) != amsterdam || (header.BlockAccessListHash != nil) != amsterdam {
				t.Errorf("header %+v", header)
			}
		})
	}
}

// checkReceipts makes sure that the transactions did what they are for.
func checkReceipts(t *testing.T, client *ethclient.Client, blocks int) {
	t.Helper()
	head, err := client.BlockNumber(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, all := 0, 0
	for n := head - uint64(blocks) + 1; n <= head; n++ {
		block, err := client.BlockByNumber(t.Context(), new(big.Int).SetUint64(n))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			receipt, err := client.TransactionReceipt(t.Context(), tx.Hash())
			if err != nil {
				t.Fatal(err)
			}
			all++
			if receipt.Status == types.ReceiptStatusSuccessful {
				good++
			} else {
				t.Logf("failed: to %v, %d bytes of input %.80x, used %d of %d gas", tx.To(), len(tx.Data()), tx.Data(), receipt.GasUsed, tx.Gas())
			}
		}
	}
	if good != all || all == 0 {
		t.Errorf("%d of %d transactions succeeded", good, all)
	}
}

func TestBuildFromPool(t *testing.T) {
	spec := stategen.Spec{Accounts: 10, Senders: 5}
	geth, client := start(t, gethpeer.Config{Dir: filepath.Join(t.TempDir(), "geth"), Genesis: spec.Genesis()})
	if err := spec.Fill(t.Context(), geth.RPC(), nil); err != nil {
		t.Fatal(err)
	}
	b, err := mockcl.NewBuilder(t.Context(), client, geth.RPC(), spec.Config())
	if err != nil {
		t.Fatal(err)
	}
	txs := stategen.NewTraffic(spec, 1).Block(100_000, stategen.Mix{Transfers: 1})
	for _, tx := range txs {
		if err := ethclient.NewClient(geth.RPC()).SendTransaction(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(ctx context.Context) error { // geth rebuilds the payload a few times a second
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		return nil
	}
	p, err := b.BuildFromPool(t.Context(), 0, settle)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Data.Transactions) != len(txs) {
		t.Errorf("%d transactions in the block, %d in the pool", len(p.Data.Transactions), len(txs))
	}
}

// Engine API calls that were recorded elsewhere: go-ethereum's own test chain, 601 calls
// from V2 to V5.
func TestReplay(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/ethereum/go-ethereum").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "cmd", "devp2p", "internal", "ethtest", "testdata")
	calls, err := mockcl.ReadCalls(filepath.Join(dir, "newpayload.json"))
	if err != nil {
		t.Fatal(err)
	}
	choice, err := mockcl.ReadCalls(filepath.Join(dir, "headfcu.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != 601 || len(choice) != 1 {
		t.Fatalf("%d and %d calls", len(calls), len(choice))
	}
	genesis, err := gethpeer.ReadGenesis(filepath.Join(dir, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, client := start(t, gethpeer.Config{Dir: filepath.Join(t.TempDir(), "geth"), Genesis: genesis})
	versions := make(map[string]int)
	// The first is the genesis: it has a difficulty, which no payload can express.
	if status, err := client.Send(t.Context(), calls[0]); err != nil || status.Status != engine.INVALID {
		t.Errorf("the genesis as a payload: %+v, %v", status, err)
	}
	for i, call := range append(calls[1:], choice...) {
		status, err := client.Send(t.Context(), call)
		if err != nil || status.Status != engine.VALID {
			t.Fatalf("call %d: %+v, %v", i, status, err)
		}
		versions[call.Method]++
		if i%100 == 99 { // geth keeps the states of 128 blocks beyond its head
			if status, err := client.Send(t.Context(), headOf(t, call)); err != nil || status.Status != engine.VALID {
				t.Fatalf("fork choice after call %d: %+v, %v", i, status, err)
			}
		}
	}
	for _, method := range []string{"engine_newPayloadV2", "engine_newPayloadV3", "engine_newPayloadV4", "engine_newPayloadV5"} {
		if versions[method] == 0 {
			t.Errorf("no %s among %v", method, versions)
		}
	}
}

// headOf makes the payload of a newPayload call the head.
func headOf(t *testing.T, newPayload mockcl.Call) mockcl.Call {
	t.Helper()
	var payload struct {
		BlockHash common.Hash `json:"blockHash"`
	}
	if err := json.Unmarshal(newPayload.Params[0], &payload); err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal(engine.ForkchoiceStateV1{HeadBlockHash: payload.BlockHash})
	if err != nil {
		t.Fatal(err)
	}
	return mockcl.Call{Method: "engine_forkchoiceUpdatedV3", Params: []json.RawMessage{state, json.RawMessage("null")}}
}
