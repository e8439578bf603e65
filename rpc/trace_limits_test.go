// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestTraceFilter selects traces by sender, recipient, range and count.
func TestTraceFilter(t *testing.T) {
	client := newFakeNode(t).client(t)
	count := func(query object) int {
		t.Helper()
		return len(call[[]flatTrace](t, client, "trace_filter", query))
	}
	all := count(object{"fromBlock": "0x1", "toBlock": "0xc"})
	from, to := count(object{"fromAddress": []any{userAddr}}), count(object{"toAddress": []any{counterAddr}})
	both := count(object{"fromAddress": []any{userAddr}, "toAddress": []any{counterAddr}, "mode": "intersection"})
	either := count(object{"fromAddress": []any{userAddr}, "toAddress": []any{counterAddr}})
	if all < 24 || from == 0 || to == 0 || both == 0 || both >= from || either < from || either != from+to-both {
		t.Errorf("all %d, from %d, to %d, both %d, either %d", all, from, to, both, either)
	}
	if got := count(object{"after": "0x2", "count": "0x3"}); got != 3 {
		t.Errorf("%d traces, want 3", got)
	}
	if got := count(object{"after": hexutil.Uint64(all - 1)}); got != 1 {
		t.Errorf("%d traces after all but one", got)
	}
	for text, query := range map[string]object{
		"invalid block range": {"fromBlock": "0x5", "toBlock": "0x4"}, "unknown mode": {"mode": "none"},
		"at most 100": {"fromBlock": "0x1", "toBlock": "0xffff"}, "not found": {"fromBlock": "0xc", "toBlock": "0xd"},
	} {
		if got := response(client, rpcCall{"trace_filter", []any{query}}); !strings.Contains(got, text) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestTraceLimits: a trace that is too large, too slow or one too many is an error, never a part of a trace.
func TestTraceLimits(t *testing.T) {
	kinds := []string{"trace", "vmTrace", "stateDiff"}
	loop := object{"from": userAddr, "to": looperAddr, "gas": "0x2faf080"}
	small := newFakeNode(t, func(c *Config, _ *Backend) { c.ResponseBytes = 500 }).client(t)
	for _, c := range []rpcCall{
		{"debug_traceCall", []any{loop, "latest", object{"timeout": "5m"}}}, // a slow machine must not end it first
		{"debug_traceBlockByNumber", []any{"0x3"}},
		{"debug_traceBlockByNumber", []any{"0x3", object{"tracer": "prestateTracer"}}},
		{"debug_traceCall", []any{object{"to": readerAddr, "input": "0x" + strings.Repeat("00", 2000)}, "latest", object{"tracer": "callTracer"}}},
		{"trace_call", []any{loop, kinds, "latest"}},
		{"trace_call", []any{object{"to": readerAddr, "input": "0x" + strings.Repeat("00", 2000)}, kinds, "latest"}},
		{"trace_replayBlockTransactions", []any{"0x3", kinds}},
		{"trace_filter", []any{object{"fromBlock": "0x1"}}},
		{"eth_simulateV1", []any{object{"blockStateCalls": []object{{"calls": []object{{"to": "0x0000000000000000000000000000000000000004", "input": "0x" + strings.Repeat("00", 2000)}}}}}}},
	} {
		if got := response(small, c); !strings.HasPrefix(got, "error -38026") {
			t.Errorf("%s: %.300s", c, got)
		}
	}
	quick := newFakeNode(t, func(c *Config, _ *Backend) { c.Traces.Timeout = time.Millisecond }).client(t)
	for _, c := range []rpcCall{
		{"debug_traceCall", []any{loop, "latest", object{"tracer": "callTracer"}}},
		{"debug_traceCall", []any{loop, "latest", object{"tracer": "callTracer", "timeout": "1h"}}},
		{"trace_call", []any{loop, kinds[:1], "latest"}},
	} {
		if got := response(quick, c); !strings.Contains(got, "execution timeout") && !strings.Contains(got, "not answered within") {
			t.Errorf("%s: %.300s", c, got)
		}
	}
	if got := response(newFakeNode(t).client(t), rpcCall{"debug_traceCall", []any{loop, "latest", object{"tracer": "callTracer", "timeout": "1ms"}}}); !strings.Contains(got, "execution timeout") {
		t.Errorf("timeout of the caller: %.300s", got)
	}
}

// TestTraceWindow: blocks whose parent's state peers do not serve any more are error 4444.
func TestTraceWindow(t *testing.T) {
	n := newFakeNode(t)
	n.states.window = 4
	client := n.client(t)
	for number, traceable := range map[int]bool{8: false, 9: false, 10: true, 12: true} {
		got := response(client, rpcCall{"debug_traceBlockByNumber", []any{hexutil.Uint64(number), object{"tracer": "callTracer"}}})
		if strings.HasPrefix(got, "error 4444") == traceable {
			t.Errorf("block %d: %.200s", number, got)
		}
	}
}

// TestRewardTraces has the rewards of a chain from before the merge, which are those that its states have.
func TestRewardTraces(t *testing.T) {
	w := proofOfWorkChain()
	n := newFakeNode(t)
	n.chain.w, n.chain.head, n.states.db = w, len(w.blocks)-1, w.db
	client := n.client(t)
	uncles := 0
	for number, block := range w.blocks[1:] {
		var rewards []flatTrace
		for _, trace := range call[[]flatTrace](t, client, "trace_block", hexutil.Uint64(number+1)) {
			if trace.Type == "reward" {
				rewards = append(rewards, trace)
			}
		}
		if len(rewards) != 1+len(block.Uncles()) || rewards[0].TransactionHash != nil {
			t.Errorf("block %d: %s", number+1, mustString(rewards))
		}
		for i, uncle := range block.Uncles() {
			balance := call[hexutil.Big](t, client, "eth_getBalance", uncle.Coinbase, hexutil.Uint64(number+1))
			const sent = 1000 // wei that transactions sent to some of them
			if reward := rewards[i+1].Action.Value.ToInt(); new(big.Int).Sub(balance.ToInt(), reward).Cmp(big.NewInt(sent)) > 0 || balance.ToInt().Cmp(reward) < 0 {
				t.Errorf("uncle %d of block %d has %v, the trace %v", i, number+1, balance, rewards[i+1].Action.Value)
			}
			uncles++
		}
	}
	if uncles == 0 {
		t.Error("no uncles")
	}
}

// TestRawTransactionTrace traces a transaction that is not in the chain.
func TestRawTransactionTrace(t *testing.T) {
	n := newFakeNode(t)
	client, w := n.client(t), mainChain()
	nonce := call[hexutil.Uint64](t, client, "eth_getTransactionCount", userAddr, "latest")
	sign := func(nonce uint64) hexutil.Bytes {
		tx := types.MustSignNewTx(userKey, types.LatestSigner(w.config), &types.LegacyTx{Nonce: nonce, To: &counterAddr, Gas: 100_000, GasPrice: new(big.Int).Lsh(w.blocks[12].BaseFee(), 1)})
		encoded, err := tx.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	result := call[struct {
		Trace     []flatTrace
		StateDiff map[common.Address]any
	}](t, client, "trace_rawTransaction", sign(uint64(nonce)), []string{"trace", "stateDiff"})
	if len(result.Trace) != 1 || *result.Trace[0].Action.To != counterAddr || len(result.StateDiff) < 3 {
		t.Errorf("%s", mustString(result))
	}
	if got := response(client, rpcCall{"trace_rawTransaction", []any{sign(0), []string{"trace"}}}); !strings.Contains(got, "nonce too low") {
		t.Error(got)
	}
	if got := response(client, rpcCall{"trace_call", []any{object{}, []string{"logs"}}}); !strings.Contains(got, "unknown kind of trace") {
		t.Error(got)
	}
}

// TestTraceChain subscribes to the traces of a range of blocks, and compares them with those of each block. A block that
// cannot be traced ends the subscription with its reason.
func TestTraceChain(t *testing.T) {
	n := newFakeNode(t)
	client := n.client(t)
	config := object{"tracer": "callTracer"}
	receive := func(start, end string, count int) (blocks []tracedBlock) {
		t.Helper()
		ch := make(chan tracedBlock)
		sub, err := client.Subscribe(t.Context(), "debug", ch, "traceChain", start, end, config)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
		for range count {
			select {
			case block := <-ch:
				blocks = append(blocks, block)
			case err := <-sub.Err():
				t.Fatal(err)
			}
		}
		return blocks
	}
	for i, block := range receive("0x2", "0x5", 3) {
		number := hexutil.Uint64(3 + i)
		want := call[[]*tracedTransaction](t, client, "debug_traceBlockByNumber", number, config)
		if block.Block != number || block.Hash != mainChain().blocks[number].Hash() || mustString(block.Traces) != mustString(want) {
			t.Errorf("block %d: %s", number, mustString(block))
		}
	}
	n.states.window = 4
	if blocks := receive("0x6", "0xc", 1); !strings.Contains(blocks[0].Error, "outside the 4 newest blocks") || blocks[0].Block != 7 {
		t.Errorf("outside the window: %s", mustString(blocks))
	}
	for params, text := range map[[2]string]string{{"0x5", "0x5"}: "needs to come after", {"0x5", "0x99"}: "block #153 not found", {"0x99", "0x9a"}: "block #153 not found"} {
		_, err := client.Subscribe(t.Context(), "debug", make(chan tracedBlock), "traceChain", params[0], params[1])
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", params, err)
		}
	}
}

// blockingPrefetcher prefetches until its context ends.
type blockingPrefetcher struct{ begun, ended []*types.Block }

func (p *blockingPrefetcher) Prefetch(ctx context.Context, block *types.Block, parent *types.Header) {
	if parent.Hash() == block.ParentHash() {
		p.begun = append(p.begun, block)
	}
	<-ctx.Done()
	p.ended = append(p.ended, block)
}

// TestTracePrefetches: what a block reads is prefetched while it is traced, and not longer.
func TestTracePrefetches(t *testing.T) {
	for _, c := range []rpcCall{
		{"debug_traceBlockByNumber", []any{"0x5"}},
		{"debug_traceTransaction", []any{mainChain().blocks[5].Transactions()[1].Hash()}},
		{"debug_intermediateRoots", []any{mainChain().blocks[5].Hash()}},
		{"trace_block", []any{"0x5"}},
		{"trace_replayTransaction", []any{mainChain().blocks[5].Transactions()[1].Hash(), []string{"trace"}}},
	} {
		prefetcher := new(blockingPrefetcher)
		client := newFakeNode(t, func(_ *Config, b *Backend) { b.Prefetcher = prefetcher }).client(t)
		if got := response(client, c); strings.HasPrefix(got, "error") {
			t.Errorf("%s: %s", c, got)
		}
		if len(prefetcher.begun) != 1 || len(prefetcher.ended) != 1 || prefetcher.begun[0].NumberU64() != 5 {
			t.Errorf("%s: %d prefetches begun, %d ended", c, len(prefetcher.begun), len(prefetcher.ended))
		}
	}
}
