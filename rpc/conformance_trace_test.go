// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"maps"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// traceConfigs are tracers of go-ethereum with options, and some of callers, valid and not.
func traceConfigs() []object {
	js := func(step, result string) string {
		return "{n: [], fault: function(log) {}, step: function(log, db) {" + step + "}, result: function(ctx, db) {" + result + "}}"
	}
	configs := []object{
		{},
		{"enableMemory": true, "enableReturnData": true},
		{"disableStack": true, "disableStorage": true},
		{"limit": 500},
		{"reexec": 5},
		{"timeout": "1m"},
		{"timeout": "soon"},
		{"tracer": ""},
		{"tracer": "nonsense"},
		{"tracer": "callTracer", "tracerConfig": 5},
		{"tracer": "callTracer", "tracerConfig": object{"withLog": true}},
		{"tracer": "callTracer", "tracerConfig": object{"onlyTopCall": true}},
		{"tracer": "prestateTracer", "tracerConfig": object{"diffMode": true}},
		{"tracer": "prestateTracer", "tracerConfig": object{"diffMode": true, "includeEmpty": true}},
		{"tracer": "flatCallTracer", "tracerConfig": object{"convertParityErrors": true, "includePrecompiles": true}},
		{"tracer": "muxTracer", "tracerConfig": object{"callTracer": object{}, "4byteTracer": object{}}},
		{"tracer": js("this.n.push(log.op.toString() + log.getGas() + db.getBalance(log.contract.getAddress()).toString())", "return [this.n, ctx.type, ctx.gasUsed, toHex(ctx.output), toHex(ctx.txHash ? ctx.txHash : [])]")},
		{"tracer": js("if (log.op.toString() == 'SLOAD') throw 'stop'", "return 1")},
		{"tracer": js("", "return undefined")},
	}
	for _, name := range []string{
		"callTracer", "prestateTracer", "flatCallTracer", "4byteTracer", "noopTracer", "erc7562Tracer", "opcodeCounterTracer", "keccak256PreimageTracer",
		"bigramTracer", "evmdisTracer", "opcountTracer", "trigramTracer", "unigramTracer", "callTracerLegacy", "prestateTracerLegacy", "4byteTracerLegacy",
	} {
		configs = append(configs, object{"tracer": name})
	}
	return configs
}

// traceConformance are calls of the trace methods of the debug namespace.
func traceConformance() (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	w := mainChain()
	for i, config := range traceConfigs() {
		for n, block := range w.blocks {
			if n%3 == i%3 {
				add("debug_traceBlockByNumber", hexutil.Uint64(n), config)
			}
			for _, tx := range block.Transactions() {
				if n%4 == i%4 {
					add("debug_traceTransaction", tx.Hash(), config)
				}
			}
		}
		add("debug_traceCall", object{"from": userAddr, "to": counterAddr}, "latest", config)
		add("debug_traceCall", object{"from": userAddr, "to": readerAddr}, "0x5", config)
	}
	for _, tag := range []any{"latest", "earliest", "safe", "finalized", "0xd", "0xffff"} {
		add("debug_traceBlockByNumber", tag)
		add("debug_traceCall", object{"to": hasherAddr}, tag)
	}
	for n, block := range w.blocks {
		encoded, err := rlp.EncodeToBytes(block)
		if err != nil {
			panic(err)
		}
		add("debug_traceBlock", hexutil.Bytes(encoded))
		add("debug_traceBlockByHash", block.Hash(), nil)
		add("debug_intermediateRoots", block.Hash())
		add("debug_intermediateRoots", block.Hash(), object{"reexec": 3})
		for _, index := range []string{"0x0", "0x1", "0x2", "0x9"} {
			add("debug_traceCall", object{"from": userAddr, "to": counterAddr}, hexutil.Uint64(n), object{"txIndex": index, "tracer": "callTracer"})
		}
	}
	orphan := types.CopyHeader(w.blocks[3].Header())
	orphan.ParentHash = common.Hash{1}
	encoded, err := rlp.EncodeToBytes(types.NewBlockWithHeader(orphan))
	if err != nil {
		panic(err)
	}
	add("debug_traceBlock", hexutil.Bytes(encoded))
	add("debug_traceBlock", "0x00")
	for _, method := range []string{"debug_traceBlockByHash", "debug_traceTransaction", "debug_intermediateRoots"} {
		add(method, common.Hash{1})
	}
	add("debug_traceCall", object{"to": hasherAddr}, "pending")
	add("debug_traceCall", object{"to": hasherAddr})
	add("debug_traceCall", object{"to": hasherAddr}, w.blocks[3].Hash())
	add("debug_traceCall", object{"to": hasherAddr}, "0x5", object{"tracer": "callTracer", "blockOverrides": object{"number": "0x6"}})
	add("debug_traceCall", object{"to": hasherAddr}, "0x5", object{"tracer": "callTracer", "blockOverrides": object{"number": hexutil.EncodeBig(big.NewInt(9))}})
	return append(calls, traceCallConformance()...)
}

// traceCallConformance are the conformance calls of eth_call as calls of debug_traceCall.
func traceCallConformance() (calls []rpcCall) {
	for i, c := range executeCalls() {
		if c.method != "eth_call" || len(c.params) < 2 {
			continue
		}
		config := object{}
		if i%2 == 0 {
			config["tracer"] = "callTracer"
		}
		for n, name := range []string{"stateOverrides", "blockOverrides"} {
			if len(c.params) > n+2 {
				maps.Copy(config, object{name: c.params[n+2]})
			}
		}
		calls = append(calls, rpcCall{"debug_traceCall", []any{c.params[0], c.params[1], config}})
	}
	return calls
}
