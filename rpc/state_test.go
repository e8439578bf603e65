// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/trie/trienode"
)

// stateCalls are calls of every method that reads state, for keys that are present and absent.
func stateCalls() []rpcCall {
	absent := common.Address{0xab}
	call := object{"from": userAddr, "to": readerAddr, "input": "0x01"}
	paid := object{"from": userAddr, "to": readerAddr, "input": "0x01", "gasPrice": "0x77359400"}
	override := object{readerAddr.Hex(): object{"balance": "0x5"}}
	tx, kinds := mainChain().blocks[11].Transactions()[1].Hash(), []string{"trace", "stateDiff", "vmTrace"}
	js := object{"tracer": `{fault: function() {}, step: function() {}, result: function(ctx, db) { return db.getBalance(ctx.from) }}`}
	return []rpcCall{
		{"eth_getBalance", []any{userAddr, "latest"}},
		{"eth_getBalance", []any{absent, "latest"}},
		{"eth_getTransactionCount", []any{userAddr, "latest"}},
		{"eth_getCode", []any{readerAddr, "latest"}},
		{"eth_getCode", []any{absent, "latest"}},
		{"eth_getStorageAt", []any{readerAddr, "0x5", "latest"}},
		{"eth_getStorageAt", []any{readerAddr, "0xdead", "latest"}},
		{"eth_getStorageValues", []any{object{readerAddr.Hex(): []common.Hash{{31: 5}, {31: 8}}, counterAddr.Hex(): []common.Hash{{}}}, "latest"}},
		{"eth_getProof", []any{readerAddr, []string{"0x5", "0xdead"}, "latest"}},
		{"eth_getProof", []any{absent, []string{"0x5"}, "latest"}},
		{"eth_call", []any{call, "latest"}},
		{"eth_call", []any{call, "latest", override}},
		{"eth_call", []any{object{"to": reverterAddr}, "latest"}},
		{"eth_estimateGas", []any{call, "latest"}},
		{"eth_estimateGas", []any{paid, "latest"}},
		{"eth_estimateGas", []any{object{"from": userAddr, "to": userAddr, "value": "0x1"}, "latest"}},
		{"eth_estimateGas", []any{object{"to": reverterAddr}, "latest"}},
		{"eth_createAccessList", []any{call, "latest"}},
		{"eth_simulateV1", []any{object{"blockStateCalls": []object{{"calls": []object{call, {"from": userAddr, "to": counterAddr}}}, {"calls": []object{{"to": hasherAddr}}}}}, "latest"}},
		{"debug_traceTransaction", []any{tx}},
		{"debug_traceTransaction", []any{tx, object{"tracer": "callTracer"}}},
		{"debug_traceBlockByNumber", []any{"0x5", object{"tracer": "prestateTracer", "tracerConfig": object{"diffMode": true}}}},
		{"debug_traceBlockByNumber", []any{"0x7", js}},
		{"debug_traceCall", []any{call, "latest"}},
		{"debug_traceCall", []any{call, "0x5", object{"tracer": "callTracer", "txIndex": "0x1", "stateOverrides": override}}},
		{"debug_intermediateRoots", []any{mainChain().blocks[6].Hash()}},
		{"trace_block", []any{"0x6"}},
		{"trace_transaction", []any{tx}},
		{"trace_filter", []any{object{"fromBlock": "0x9", "toBlock": "0xa"}}},
		{"trace_call", []any{call, kinds, "latest"}},
		{"trace_callMany", []any{[]any{[]any{call, kinds}, []any{object{"from": userAddr, "to": counterAddr}, kinds}}, "latest"}},
		{"trace_replayTransaction", []any{tx, kinds}},
		{"trace_replayBlockTransactions", []any{"0x5", kinds}},
	}
}

// TestFailedFetchIsAnError fails the k-th fetch of every state query, for every k. The response is always an
// error with the cause, never a zero, an empty code or a revert.
func TestFailedFetchIsAnError(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log = nil })
	client := n.client(t)
	total := 0
	for _, c := range stateCalls() {
		n.states.fail(0)
		good := response(client, c)
		fetches := n.states.fetches
		if fetches == 0 || strings.Contains(good, "unavailable") {
			t.Fatalf("%s: %d fetches, %s", c, fetches, good)
		}
		for k := 1; k <= fetches; k++ {
			n.states.fail(k)
			got := response(client, c)
			if !strings.HasPrefix(got, "error -32000 <nil>: state unavailable: ") || !strings.Contains(got, errInjected.Error()) {
				t.Errorf("%s with fetch %d of %d failed: %s", c, k, fetches, got)
			}
		}
		n.states.fail(0)
		if again := response(client, c); again != good {
			t.Errorf("%s: %s, then %s", c, good, again)
		}
		total += fetches
	}
	t.Logf("%d failed fetches", total)
}

// TestProof verifies eth_getProof with go-ethereum, for present and absent accounts and slots.
func TestProof(t *testing.T) {
	n := newFakeNode(t)
	client := n.client(t)
	root := n.chain.CurrentHeader().Root
	for _, address := range []common.Address{userAddr, readerAddr, {0xab}} {
		var got accountProof
		if err := client.Call(&got, "eth_getProof", address, []string{"0x5", "0xdead"}, "latest"); err != nil {
			t.Fatal(err)
		}
		value := verifyProof(t, root, address.Bytes(), got.Nodes)
		if address == (common.Address{0xab}) {
			if value != nil || got.StorageRoot != (common.Hash{}) || len(got.Slots[0].Nodes) != 0 {
				t.Errorf("absent account: %+v", got)
			}
			continue
		}
		var account types.StateAccount
		if err := rlp.DecodeBytes(value, &account); err != nil {
			t.Fatal(err)
		}
		if account.Balance.ToBig().Cmp(got.Balance.ToInt()) != 0 || account.Root != got.StorageRoot || uint64(got.Nonce) != account.Nonce {
			t.Errorf("%s: %+v, proved %+v", address, got, account)
		}
		if address == readerAddr {
			var slot []byte
			if err := rlp.DecodeBytes(verifyProof(t, account.Root, common.Hash{31: 5}.Bytes(), got.Slots[0].Nodes), &slot); err != nil {
				t.Fatal(err)
			}
			if value := got.Slots[0].Value.ToInt(); value.Int64() != 1005 || value.Cmp(new(big.Int).SetBytes(slot)) != 0 {
				t.Errorf("slot 5: %v, proved %x", value, slot)
			}
			if value := verifyProof(t, account.Root, common.HexToHash("0xdead").Bytes(), got.Slots[1].Nodes); value != nil {
				t.Errorf("slot 0xdead: %x", value)
			}
		}
	}
}

func verifyProof(t *testing.T, root common.Hash, key []byte, proof []string) []byte {
	t.Helper()
	nodes := trienode.NewProofSet()
	for _, blob := range proof {
		blob := common.FromHex(blob)
		if err := nodes.Put(crypto.Keccak256(blob), blob); err != nil {
			t.Fatal(err)
		}
	}
	value, err := gethtrie.VerifyProof(root, crypto.Keccak256(key), nodes)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestWindow: the oldest block of the window is served, older ones are refused.
func TestWindow(t *testing.T) {
	n := newFakeNode(t)
	n.states.window = 4
	client := n.client(t)
	for number, want := range map[string]string{
		"0x8": "error 4444 <nil>: state unavailable: block 8 is outside the 4 newest blocks (head 12) whose state peers serve",
		"0x9": `"`, "0xc": `"`,
	} {
		for _, method := range []string{"eth_getBalance", "eth_getCode", "eth_getTransactionCount"} {
			if got := response(client, rpcCall{method, []any{readerAddr, number}}); !strings.HasPrefix(got, want) {
				t.Errorf("%s at %s: %s", method, number, got)
			}
		}
		got := response(client, rpcCall{"eth_call", []any{object{"to": readerAddr}, number}})
		if !strings.HasPrefix(got, want) {
			t.Errorf("eth_call at %s: %s", number, got)
		}
	}
	n.states.window = 0
	if got := response(client, rpcCall{"eth_getBalance", []any{readerAddr, "0x0"}}); got != `"0x1"` {
		t.Errorf("without a window: %s", got)
	}
}

// TestStateQueryTimeout: a query whose fetches hang ends after the timeout, with an error that names it.
func TestStateQueryTimeout(t *testing.T) {
	mainChain()
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t, func(c *Config, _ *Backend) { c.StateQueries, c.EVMTimeout, c.Log = 1, 2*time.Second, nil })
		n.states.hang = true
		api := &stateAPI{n.b}
		start := time.Now()
		failures := make(chan error, 2)
		for range 2 { // the second waits for the slot of the first, with the same deadline
			go func() {
				_, err := api.GetBalance(t.Context(), userAddr, nil)
				failures <- err
			}()
		}
		for range 2 {
			err := <-failures
			if err == nil || !strings.Contains(err.Error(), "not answered within 2s") && !strings.Contains(err.Error(), "too many concurrent state queries") {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestEndlessCall: the EVM timeout ends a call that does not fetch.
func TestEndlessCall(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.EVMTimeout, c.GasCap = 20*time.Millisecond, 0 })
	got := response(n.client(t), rpcCall{"eth_call", []any{object{"to": looperAddr}, "latest"}})
	if !strings.HasPrefix(got, "error -32000 <nil>: ") || !strings.Contains(got, "20ms") {
		t.Error(got)
	}
}

// ancestors returns headers of the main chain, or an error.
type ancestors struct{ err error }

func (a ancestors) Header(_ context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if a.err != nil {
		return nil, a.err
	}
	if header := mainChain().blocks[number].Header(); header.Hash() == hash {
		return header, nil
	}
	return nil, errors.New("no such header")
}

// TestBlockhashFetchesAncestors: for BLOCKHASH a header that is not stored is fetched, or the call fails. The
// hash is never zero.
func TestBlockhashFetchesAncestors(t *testing.T) {
	call := rpcCall{"eth_call", []any{object{"to": hasherAddr}, "latest"}}
	want, _ := json.Marshal(mainChain().blocks[mainChainBlocks-3].Hash())
	for _, test := range []struct {
		ancestors Ancestors
		want      string
	}{
		{nil, "error -32000 <nil>: state unavailable: header 11"},
		{ancestors{errInjected}, "error -32000 <nil>: state unavailable: header 11"},
		{ancestors{}, string(want)},
	} {
		n := newFakeNode(t, func(_ *Config, b *Backend) { b.Ancestors = test.ancestors })
		n.chain.oldest, n.chain.tail = mainChainBlocks, mainChainBlocks
		if got := response(n.client(t), call); !strings.HasPrefix(got, test.want) {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// TestUnexecutedHeader: a header whose block is not executed is not served, nor is its state.
func TestUnexecutedHeader(t *testing.T) {
	n := newFakeNode(t)
	n.chain.pending = &types.Header{Number: big.NewInt(mainChainBlocks + 1), ParentHash: n.chain.CurrentHeader().Hash(), Root: mainChain().blocks[3].Root(), Difficulty: common.Big0}
	client, hash := n.client(t), n.chain.pending.Hash()
	for _, c := range []rpcCall{
		{"eth_getBalance", []any{userAddr, hash}},
		{"eth_call", []any{object{"to": readerAddr}, hash}},
		{"eth_getProof", []any{userAddr, []string{}, hash}},
	} {
		if got := response(client, c); got != "error -32000 <nil>: header for hash not found" {
			t.Errorf("%s: %s", c, got)
		}
	}
	if got := response(client, rpcCall{"eth_getHeaderByHash", []any{hash}}); got != "null" {
		t.Error(got)
	}
}

// TestMissingHistory: requests for blocks older than the oldest stored one are error 4444, never null or a
// shorter list.
func TestMissingHistory(t *testing.T) {
	n := newFakeNode(t)
	n.chain.oldest, n.chain.tail = 9, 6
	client := n.client(t)
	w := mainChain()
	pruned := "error 4444 <nil>: pruned history unavailable"
	for _, c := range []rpcCall{
		{"eth_getBlockByNumber", []any{"0x8", false}},
		{"eth_getBlockByHash", []any{w.blocks[8].Hash(), false}},
		{"eth_getHeaderByNumber", []any{"0x5"}},
		{"eth_getBlockReceipts", []any{"0x8"}},
		{"eth_getBlockReceipts", []any{w.blocks[8].Hash()}},
		{"eth_getBlockTransactionCountByNumber", []any{"0x0"}},
		{"eth_getTransactionByBlockNumberAndIndex", []any{"0x1", "0x0"}},
		{"eth_getRawTransactionByBlockNumberAndIndex", []any{"0x1", "0x0"}},
		{"eth_getUncleByBlockNumberAndIndex", []any{"0x1", "0x0"}},
		{"eth_getLogs", []any{object{"fromBlock": "0x8"}}},
		{"eth_getLogs", []any{object{"blockHash": w.blocks[7].Hash()}}},
		{"eth_feeHistory", []any{"0x8", "latest", []float64{}}},
		{"eth_feeHistory", []any{"0x5", "latest", []float64{10}}},
		{"eth_getBalance", []any{userAddr, "0x5"}},
		{"debug_getRawReceipts", []any{"0x8"}},
	} {
		if got := response(client, c); got != pruned {
			t.Errorf("%s: %s", c, got)
		}
	}
	for c, want := range map[*rpcCall]string{
		{"eth_getHeaderByNumber", []any{"0x6"}}:                                       `{`,
		{"eth_getBlockByNumber", []any{"0xd", false}}:                                 `null`,
		{"eth_getBlockByNumber", []any{"earliest", false}}:                            `{`,
		{"eth_feeHistory", []any{"0x4", "latest", []float64{10}}}:                     `{"oldestBlock":"0x9"`,
		{"eth_feeHistory", []any{"0x7", "latest", []float64{}}}:                       `{"oldestBlock":"0x6"`,
		{"eth_getLogs", []any{object{"fromBlock": "earliest"}}}:                       `[{`,
		{"eth_getTransactionByHash", []any{common.Hash{5}}}:                           `null`,
		{"eth_maxPriorityFeePerGas", nil}:                                             `"0x`,
		{"engine_getPayloadBodiesByRangeV1", []any{"0x8", "0x2"}}:                     `[null,{`,
		{"engine_getPayloadBodiesByHashV1", []any{[]common.Hash{w.blocks[2].Hash()}}}: `[null]`,
	} {
		if got := response(client, *c); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", c, got)
		}
	}
	var caps capabilities
	if err := client.Call(&caps, "eth_capabilities"); err != nil {
		t.Fatal(err)
	}
	if *caps.Blocks.OldestBlock != 9 || *caps.Logs.OldestBlock != 9 || *caps.State.OldestBlock != 6 || *caps.State.DeleteStrategy.RetentionBlocks != 128 {
		t.Errorf("capabilities: %+v", caps)
	}
	// Tips are sampled from stored blocks: missing blocks do not count as free.
	var tip string
	if err := client.Call(&tip, "eth_maxPriorityFeePerGas"); err != nil || tip == "0x0" {
		t.Errorf("tip %s, %v", tip, err)
	}
}

// TestBadParameters: bad parameters are an error of the request, never a crash.
func TestBadParameters(t *testing.T) {
	n := newFakeNode(t)
	client := n.client(t)
	modules, err := client.SupportedModules()
	if err != nil || len(modules) < 8 {
		t.Fatalf("%v, %v", modules, err)
	}
	for _, c := range append(conformanceCalls(), stateCalls()...) {
		for _, params := range [][]any{nil, {nil}, {nil, nil, nil, nil, nil}, {"0x", "0x"}, {1, 2, 3}, {object{}, object{}}, {[]any{nil}}, {[]any{}, []any{}, []any{}, []any{}}} {
			if got := response(client, rpcCall{c.method, params}); strings.Contains(got, "crashed") {
				t.Errorf("%s%v: %s", c.method, params, got)
			}
		}
	}
	for _, c := range []rpcCall{
		{"eth_sendRawTransaction", []any{"0x00"}},
		{"eth_getBalance", []any{"0x12", "latest"}},
		{"admin_nodeInfo", nil},
		{"admin_addPeer", []any{"enode://nonsense"}},
		{"beam_status", nil},
		{"engine_getPayloadV3", []any{"0x0300000000000000"}},
	} {
		if got := response(client, c); !strings.HasPrefix(got, "error") || strings.HasPrefix(got, "error -32601") {
			t.Errorf("%s: %s", c, got)
		}
	}
}
