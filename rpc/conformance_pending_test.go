// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// pendingCalls have the tag pending.
func pendingCalls() []rpcCall {
	reader := object{"from": userAddr, "to": readerAddr}
	calls := []rpcCall{
		{"eth_getBlockByNumber", []any{"pending", false}},
		{"eth_getBlockByNumber", []any{"pending", true}},
		{"eth_getHeaderByNumber", []any{"pending"}},
		{"eth_getBlockTransactionCountByNumber", []any{"pending"}},
		{"eth_getUncleCountByBlockNumber", []any{"pending"}},
		{"eth_getUncleByBlockNumberAndIndex", []any{"pending", "0x0"}},
		{"eth_getTransactionByBlockNumberAndIndex", []any{"pending", "0x0"}},
		{"eth_getTransactionByBlockNumberAndIndex", []any{"pending", "0x9"}},
		{"eth_getRawTransactionByBlockNumberAndIndex", []any{"pending", "0x1"}},
		{"eth_getBlockReceipts", []any{"pending"}},
		{"eth_getStorageAt", []any{counterAddr, "0x0", "pending"}},
		{"eth_getStorageValues", []any{object{counterAddr.Hex(): []common.Hash{{}}}, "pending"}},
		{"eth_call", []any{reader, "pending"}},
		{"eth_estimateGas", []any{reader, "pending"}},
		{"eth_createAccessList", []any{reader, "pending"}},
		{"eth_simulateV1", []any{object{"blockStateCalls": []object{{"calls": []object{reader}}}}, "pending"}},
		{"eth_feeHistory", []any{"0x4", "pending", []int{10, 60}}},
		{"eth_feeHistory", []any{"0x1", "pending", nil}},
		{"debug_traceBlockByNumber", []any{"pending", object{"tracer": "callTracer"}}},
		{"debug_traceCall", []any{reader, "pending"}},
		{"debug_traceBlockByNumber", []any{"pending"}},
		{"eth_getLogs", []any{object{"fromBlock": "pending"}}},
	}
	for _, address := range []common.Address{userAddr, counterAddr, {}} {
		calls = append(calls, rpcCall{"eth_getBalance", []any{address, "pending"}}, rpcCall{"eth_getCode", []any{address, "pending"}})
	}
	return calls
}

// TestPendingSameAsGeth: with go-ethereum's pending block, all methods that know the tag answer what it answers.
func TestPendingSameAsGeth(t *testing.T) {
	stack, backend := runGeth(t, mainChain())
	geth := stack.Attach()
	raws, _ := poolTxs()
	for _, raw := range raws[:len(raws)-6] { // without blobs
		response(geth, rpcCall{"eth_sendRawTransaction", []any{raw}})
	}
	var block *types.Block
	var receipts types.Receipts
	await := func() bool {
		block, receipts, _ = backend.Miner().Pending()
		return block != nil && len(block.Transactions()) > 1
	}
	for deadline := time.Now().Add(time.Minute); !await(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("go-ethereum's pending block has no transactions")
		}
	}
	payloads := &fakePayloads{pending: func() (*types.Block, types.Receipts) { return block, receipts }}
	n := newFakeNode(t, func(_ *Config, b *Backend) { b.Payloads = payloads })
	n.chain.final = 5
	ours := n.client(t)
	for _, c := range pendingCalls() {
		for try := 0; ; try++ { // go-ethereum builds it anew after two seconds
			await()
			want, got := response(geth, c), response(ours, c)
			if got == want {
				break
			}
			if now, _, _ := backend.Miner().Pending(); now.Hash() == block.Hash() || try == 20 {
				t.Errorf("%s\n got %.2000s\nwant %.2000s", c, got, want)
				break
			}
		}
	}
	checkPendingTraces(t, ours, block)
}

// checkPendingTraces: go-ethereum has no such methods. They see the pending block, and the state after it.
func checkPendingTraces(t *testing.T, client *gethrpc.Client, block *types.Block) {
	t.Helper()
	traces := response(client, rpcCall{"trace_replayBlockTransactions", []any{"pending", []string{"trace"}}})
	calls := response(client, rpcCall{"trace_block", []any{"pending"}})
	for _, tx := range block.Transactions() {
		if !strings.Contains(traces, tx.Hash().Hex()) || !strings.Contains(calls, tx.Hash().Hex()) {
			t.Errorf("transaction %x is not in %s or %s", tx.Hash(), traces, calls)
		}
	}
	transfer := object{"from": userAddr, "to": common.Address{0xab}, "value": "0x1"}
	diff := response(client, rpcCall{"trace_call", []any{transfer, []string{"stateDiff"}, "pending"}})
	latest := response(client, rpcCall{"trace_call", []any{transfer, []string{"stateDiff"}, "latest"}})
	if strings.HasPrefix(diff, "error") || diff == latest {
		t.Errorf("a call on pending: %s, on latest: %s", diff, latest)
	}
}

// TestPendingUnavailable: a block that cannot be built is an error with the reason, and no other block; history of fees ends with the latest one.
func TestPendingUnavailable(t *testing.T) {
	n := newFakeNode(t, func(_ *Config, b *Backend) { b.Payloads = new(fakePayloads) })
	n.engine.outcome = importer.Outcome{}
	client := n.client(t)
	for method, params := range map[string][]any{
		"eth_getBlockByNumber": {"pending", false}, "eth_getBalance": {userAddr, "pending"}, "eth_call": {object{"to": readerAddr}, "pending"},
		"eth_getBlockReceipts": {"pending"}, "debug_traceBlockByNumber": {"pending"}, "trace_block": {"pending"}, "trace_call": {object{"to": readerAddr}, []string{"trace"}, "pending"},
	} {
		got := response(client, rpcCall{method, params})
		if !strings.HasPrefix(got, "error") || !strings.Contains(got, "is not available: payload is not ready") {
			t.Errorf("%s: %s", method, got)
		}
	}
	if got := response(client, rpcCall{"debug_storageRangeAt", []any{"pending", 1, counterAddr, "0x", 5}}); !strings.Contains(got, "is not available") {
		t.Errorf("storage: %s", got)
	}
	for method, params := range map[string][]any{
		"debug_getRawBlock": {"pending"}, "debug_getRawHeader": {"pending"}, "debug_executionWitness": {"pending"}, "eth_getProof": {userAddr, []string{}, "pending"},
	} {
		if got := response(client, rpcCall{method, params}); !strings.Contains(got, "is not stored") {
			t.Errorf("%s: %s", method, got)
		}
	}
	with, without := rpcCall{"eth_feeHistory", []any{"0x4", "pending", nil}}, rpcCall{"eth_feeHistory", []any{"0x3", "latest", nil}}
	if got, want := response(client, with), response(client, without); got != want {
		t.Errorf("fees: %s, want %s", got, want)
	}
}
