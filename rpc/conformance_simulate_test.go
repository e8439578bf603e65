// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/params"
)

// TestSimulateAndTraceSameAsGeth compares simulations and traces with go-ethereum's, byte for byte.
func TestSimulateAndTraceSameAsGeth(t *testing.T) {
	geth := startGethOn(t, mainChain())
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.EVMTimeout = patience })
	n.chain.final = 5
	ours := n.client(t)
	for _, c := range slices.Concat(simulateConformance(), traceConformance(), fillConformance()) {
		want, got := response(geth, c), response(ours, c)
		if got != want || strings.HasPrefix(got, "error -32601") {
			t.Errorf("%s\n got %s\nwant %s", c, got, want)
		}
	}
}

// fillConformance are the conformance calls of eth_createAccessList as calls of eth_fillTransaction, which completes fees
// in the same way.
func fillConformance() (calls []rpcCall) {
	for _, c := range callObjectConformance() {
		if args, ok := c.params[0].(object); ok && c.method == "eth_createAccessList" {
			calls = append(calls, rpcCall{"eth_fillTransaction", []any{args}})
		}
	}
	return append(calls, rpcCall{"eth_fillTransaction", []any{object{"from": userAddr}}}, rpcCall{"eth_fillTransaction", nil})
}

// simulateConformance are calls of eth_simulateV1: each member of a call, of an override and of the request, alone
// and with others, valid and invalid.
func simulateConformance() (calls []rpcCall) {
	add := func(request any, at ...any) {
		calls = append(calls, rpcCall{"eth_simulateV1", append([]any{request}, at...)})
	}
	for _, blocks := range simulatedChains() {
		for _, mode := range []object{{}, {"validation": true}, {"traceTransfers": true, "returnFullTransactions": true}} {
			request := object{"blockStateCalls": blocks}
			maps.Copy(request, mode)
			add(request, "latest")
			add(request, "0x3")
		}
	}
	one := []object{{"calls": []object{{"from": userAddr, "to": counterAddr}}}}
	for _, at := range []any{"earliest", "0xc", "0xd", mainChain().blocks[2].Hash(), common.Hash{7}, object{"blockHash": mainChain().blocks[4].Hash(), "requireCanonical": true}} {
		add(object{"blockStateCalls": one}, at)
	}
	add(object{"blockStateCalls": one})
	add(object{"blockStateCalls": []object{}})
	add(object{})
	add(object{"blockStateCalls": make([]object, 257)})
	many := func(n int) []object { return make([]object, n) }
	add(object{"blockStateCalls": []object{{"calls": many(5001)}}}, "latest")
	add(object{"blockStateCalls": []object{{"calls": many(4000)}, {"calls": many(4000)}, {"calls": many(2001)}}}, "latest")
	return calls
}

// simulatedChains are lists of blocks to simulate.
func simulatedChains() (chains [][]object) {
	target, poor, twoGwei := common.Address{0x77}, common.Address{9}, hexBig(2*params.GWei)
	rich := object{poor.Hex(): object{"balance": "0xde0b6b3a7640000"}}
	block := func(members object, calls ...object) object {
		members = maps.Clone(members)
		if members == nil {
			members = object{}
		}
		members["calls"] = calls
		return members
	}
	add := func(blocks ...object) { chains = append(chains, blocks) }
	call := func(change object) object {
		c := object{"from": userAddr, "to": target, "input": "0x0102"}
		maps.Copy(c, change)
		return c
	}
	auth, err := types.SignSetCode(key(3), types.SetCodeAuthorization{Address: readerAddr})
	if err != nil {
		panic(err)
	}
	for _, change := range []object{
		nil,
		{"nonce": "0x7"},
		{"nonce": "0xffff"},
		{"value": "0x5"},
		{"value": "0x" + strings.Repeat("f", 64)},
		{"gas": "0x100"},
		{"gas": "0x0"},
		{"gas": "0xffffffffff"},
		{"gas": "0x30000"},
		{"gasPrice": "0x0"},
		{"gasPrice": "0x1"},
		{"gasPrice": twoGwei},
		{"gasPrice": twoGwei, "accessList": types.AccessList{{Address: readerAddr}}},
		{"gasPrice": twoGwei, "maxFeePerGas": "0x1"},
		{"maxFeePerGas": twoGwei},
		{"maxFeePerGas": "0x1"},
		{"maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6"},
		{"maxFeePerGas": twoGwei, "maxPriorityFeePerGas": "0x3"},
		{"chainId": "0x9"},
		{"accessList": []any{}},
		{"blobVersionedHashes": []common.Hash{{1, 5}}},
		{"blobVersionedHashes": []common.Hash{{1, 5}}, "maxFeePerBlobGas": twoGwei, "maxFeePerGas": twoGwei},
		{"blobVersionedHashes": []common.Hash{}},
		{"blobVersionedHashes": []common.Hash{{9}}},
		{"blobVersionedHashes": []common.Hash{{1, 5}}, "to": nil},
		{"maxFeePerBlobGas": "0x1"},
		{"authorizationList": []types.SetCodeAuthorization{auth}},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "to": nil},
		{"authorizationList": []types.SetCodeAuthorization{}},
		{"to": nil, "input": "0x60016000526001601ff3"},
		{"to": nil, "input": "0x" + strings.Repeat("5b", 50_000)},
		{"to": reverterAddr},
		{"to": readerAddr},
		{"to": counterAddr},
		{"to": hasherAddr},
		{"to": looperAddr},
		{"to": looperAddr, "gas": "0x30000"},
		{"from": readerAddr},
		{"from": nil},
		{"from": poor, "value": "0x1"},
		{"from": poor, "gasPrice": twoGwei},
	} {
		add(block(nil, call(change), call(nil)))
	}
	add(block(nil, call(nil), call(nil)), block(nil, call(object{"to": counterAddr}), call(object{"to": counterAddr})), block(nil, call(object{"to": hasherAddr})))
	add(block(object{"stateOverrides": rich}, object{"from": poor, "to": target, "value": "0x5"}), block(nil, object{"from": poor, "to": target, "value": "0xde0b6b3a7640000"}))
	transfers := program.New().Call(nil, userAddr, 3, 0, 0, 0, 0).Op(vm.POP).Call(nil, counterAddr, 0, 0, 0, 0, 0).Push(target.Bytes()).Op(vm.SELFDESTRUCT).Bytes()
	add(block(object{"stateOverrides": object{poor.Hex(): object{"code": hexutil.Bytes(transfers), "balance": "0x50"}}}, object{"from": userAddr, "to": poor, "value": "0x9"}, object{"from": poor, "to": counterAddr}))
	for _, s := range overrideConformance() {
		if lastNonce := strings.Contains(string(mustJSON(s.params)), `"0xffffffffffffffff"`); lastNonce {
			continue // see TestRPCCompat
		}
		if len(s.params) > 2 && s.method == "eth_call" {
			members := object{"stateOverrides": s.params[2]}
			if len(s.params) > 3 {
				members["blockOverrides"] = s.params[3]
			}
			add(block(members, s.params[0].(object)))
		}
	}
	for _, header := range []object{
		{"number": "0x10"},
		{"number": "0x3"},
		{"number": "0x10d"},
		{"number": "0x10c"},
		{"number": "0x" + strings.Repeat("f", 64)},
		{"time": "0x1"},
		{"time": "0xffffffff"},
		{"time": "0xffffffffffffffff"},
		{"withdrawals": []object{{"index": "0x1", "validatorIndex": "0x2", "address": poor, "amount": "0x64"}}},
		{"beaconRoot": common.Hash{5}},
		{"gasLimit": "0x5208"},
		{"gasLimit": "0x0"},
		{"baseFeePerGas": twoGwei},
		{"blobBaseFee": "0x5"},
		{"Number": "0x10", "number": "0x11"},
		{"unknown": "0x1"},
		{"difficulty": "0x1"},
	} {
		add(block(object{"blockOverrides": header}, call(nil)))
		add(block(nil, call(nil)), block(object{"blockOverrides": header}, call(object{"to": hasherAddr}), call(nil)), block(nil, call(nil)))
	}
	add(object{"blockOverrides": nil, "stateOverrides": nil, "calls": nil})
	add(object{"stateOverrides": object{poor.Hex(): object{"balances": "0x1"}}})
	return chains
}
