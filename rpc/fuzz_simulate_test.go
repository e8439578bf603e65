// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// FuzzSimulateRequest: the blocks of a request that decodes become a chain on the head, of at most maxSimulatedBlocks, or
// an error. Its headers have the numbers and times of the blocks.
func FuzzSimulateRequest(f *testing.F) {
	addParams(f, simulateConformance(), 0)
	base := mainChain().blocks[mainChainBlocks].Header()
	hash := base.Hash()
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var request simulateRequest
		if json.Unmarshal(encoded, &request) != nil || request.checkSize() != nil {
			return
		}
		blocks, err := placeBlocks(request.Blocks, base)
		if err != nil {
			return
		}
		if len(blocks) < len(request.Blocks) || len(blocks) > maxSimulatedBlocks {
			t.Fatalf("%d blocks of %d", len(blocks), len(request.Blocks))
		}
		for i, block := range blocks {
			if want := new(big.Int).Add(base.Number, big.NewInt(int64(i+1))); block.Header.Number.ToInt().Cmp(want) != 0 {
				t.Fatalf("block %d has number %v, want %v", i, block.Header.Number, want)
			}
		}
		chain := &simulatedChain{chainContext: newChainContext(t.Context(), &backend{Backend: Backend{Chain: newFakeChain()}}, base), base: base}
		headers, err := chain.draftHeaders(blocks)
		if err != nil {
			return
		}
		for i, header := range headers {
			if header.Time != uint64(*blocks[i].Header.Time) || header.Number.Cmp(blocks[i].Header.Number.ToInt()) != 0 {
				t.Fatalf("header %d is %v", i, header)
			}
			chain.append(types.CopyHeader(header))
			if found := chain.GetHeader(header.Hash(), header.Number.Uint64()); found == nil || found.Hash() != header.Hash() {
				t.Fatalf("header %d is not found", i)
			}
		}
		if base.Hash() != hash {
			t.Fatal("the head changed")
		}
	})
}

// FuzzTraceParams: what decodes as parameters of the trace namespace is answered without a panic, and selects no trace that
// the filter excludes.
func FuzzTraceParams(f *testing.F) {
	f.Add([]byte(`["trace", "stateDiff", "vmTrace"]`))
	f.Add([]byte(`{"fromBlock": "0x1", "toBlock": "0x2", "fromAddress": ["0x00000000000000000000000000000000000000c0"], "mode": "union", "count": "0x1", "after": "0x0"}`))
	f.Add([]byte(`[{"to": "0x00000000000000000000000000000000000000c0"}, ["trace"]]`))
	var api *traceAPI
	f.Fuzz(func(t *testing.T, encoded []byte) {
		if api == nil {
			n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log, c.GasCap = nil, 200_000 })
			api = &traceAPI{n.b}
		}
		var query traceFilter
		if json.Unmarshal(encoded, &query) == nil {
			found, err := api.Filter(t.Context(), query)
			for _, trace := range found {
				if err != nil || !query.matches(trace) {
					t.Fatalf("%s selects %s, %v", encoded, mustJSON(trace), err)
				}
			}
		}
		var call callToTrace
		if json.Unmarshal(encoded, &call) == nil {
			result, err := api.Call(t.Context(), call.args, call.kinds, nil)
			if err == nil && (call.kinds.calls != (len(result.Trace) > 0) || call.kinds.diff != (result.StateDiff != nil) || call.kinds.vm != (result.VMTrace != nil)) {
				t.Fatalf("%s: %s", encoded, mustJSON(result))
			}
		}
	})
}
