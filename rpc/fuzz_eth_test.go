// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// executeCalls are the conformance calls of methods with call objects and overrides.
func executeCalls() []rpcCall {
	return slices.Concat(executionConformance(), callObjectConformance(), overrideConformance())
}

// addParams adds the n-th parameter of conformance calls as seeds, without duplicates.
func addParams(f *testing.F, calls []rpcCall, n int) {
	seen := make(map[string]bool)
	for _, c := range calls {
		if n >= len(c.params) || c.params[n] == nil {
			continue
		}
		if encoded := mustJSON(c.params[n]); !seen[string(encoded)] {
			seen[string(encoded)] = true
			f.Add(encoded)
		}
	}
}

// FuzzCallObject: a call object that decodes is the same after encoding, and becomes a message or an error, with all
// prices that geth fills in.
func FuzzCallObject(f *testing.F) {
	addParams(f, executeCalls(), 0)
	config, header := mainChain().config, mainChain().blocks[mainChainBlocks].Header()
	early := types.CopyHeader(header)
	early.Number, early.Time, early.BaseFee = common.Big0, 0, nil
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var call callObject
		if json.Unmarshal(encoded, &call) != nil {
			return
		}
		checkRoundTrip(t, call)
		for _, header := range []*types.Header{header, early} {
			plain, signed := call, call
			defaults := callDefaults{gas: 1, gasCap: params.MaxTxGas, baseFee: header.BaseFee, chainID: config.ChainID}
			checkMessage(t, &plain, defaults)
			rules := config
			if header == early {
				rules = &params.ChainConfig{ChainID: config.ChainID} // no fork is active
			}
			if signed.checkBlobCap() != nil || signed.completeFees(rules, header, func() *big.Int { return big.NewInt(params.GWei) }) != nil {
				continue
			}
			checkMessage(t, &signed, defaults)
			if tx := signed; tx.check(defaults) == nil {
				_ = tx.unsigned(defaults, types.AccessList{}).Hash()
			}
		}
	})
}

func checkMessage(t *testing.T, call *callObject, defaults callDefaults) {
	t.Helper()
	msg, err := call.message(defaults)
	if err != nil {
		return
	}
	if msg.GasLimit > defaults.gasCap || msg.From != call.sender() || msg.GasPrice == nil || msg.GasPrice.Gt(msg.GasFeeCap) {
		t.Fatalf("message %+v", msg)
	}
	if call.Value != nil && msg.Value.ToBig().Cmp(call.Value.ToInt()) != 0 {
		t.Fatalf("value %v, want %v", msg.Value, call.Value)
	}
}

// FuzzStateOverride: an override that decodes is the same after encoding. After it is applied, the state has the values.
func FuzzStateOverride(f *testing.F) {
	addParams(f, executeCalls(), 2)
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var overrides stateOverride
		if json.Unmarshal(encoded, &overrides) != nil {
			return
		}
		checkRoundTrip(t, overrides)
		statedb, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
		if err != nil {
			t.Fatal(err)
		}
		if overrides.apply(statedb, vm.PrecompiledContractsOsaka) != nil && overrides.apply(statedb, nil) != nil {
			return
		}
		for address, account := range overrides {
			if b := account.Balance; b != nil && statedb.GetBalance(address).ToBig().Cmp(b.ToInt()) != 0 {
				t.Fatalf("balance %v, want %v", statedb.GetBalance(address), b)
			}
			if n := account.Nonce; n != nil && statedb.GetNonce(address) != uint64(*n) {
				t.Fatalf("nonce %v, want %v", statedb.GetNonce(address), *n)
			}
			for slot, value := range account.SomeSlots {
				if got := statedb.GetState(address, slot); got != value && !emptied(account) {
					t.Fatalf("slot %x is %x, want %x", slot, got, value)
				}
			}
		}
	})
}

// emptied reports whether an account is empty after an override, so that it is deleted with its storage.
func emptied(a accountOverride) bool {
	return valueOr(a.Nonce, 0) == 0 && bigOr0(a.Balance).Sign() == 0 && len(valueOr(a.Code, nil)) == 0
}

// FuzzBlockOverride: an override that decodes is the same after encoding, and leaves the header that it changes alone.
func FuzzBlockOverride(f *testing.F) {
	addParams(f, executeCalls(), 3)
	header := mainChain().blocks[mainChainBlocks].Header()
	hash := header.Hash()
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var override *blockOverride
		if json.Unmarshal(encoded, &override) != nil {
			return
		}
		checkRoundTrip(t, override)
		blockCtx := vm.BlockContext{BlockNumber: header.Number, Time: header.Time, BaseFee: header.BaseFee}
		changed, err := override.apply(&blockCtx, header)
		if header.Hash() != hash {
			t.Fatal("the header of the chain changed")
		}
		if err == nil && (changed.Number.Cmp(blockCtx.BlockNumber) != 0 || changed.Time != blockCtx.Time || changed.BaseFee.Cmp(blockCtx.BaseFee) != 0) {
			t.Fatalf("the header has %v, the EVM %+v", changed, blockCtx)
		}
	})
}

// FuzzFilterCriteria: criteria that decode are the same after encoding. A search and a subscription find the same logs.
func FuzzFilterCriteria(f *testing.F) {
	addParams(f, feeAndLogConformance(), 0)
	var logs *logAPI
	f.Fuzz(func(t *testing.T, encoded []byte) {
		if logs == nil {
			n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log, c.Logs.Selectors = nil, 1000 })
			logs = &logAPI{b: n.b, searches: n.logSearches, heads: n.heads}
		}
		var query, again filters.FilterCriteria
		if json.Unmarshal(encoded, &query) != nil {
			return
		}
		if err := json.Unmarshal(encodeCriteria(query), &again); err != nil {
			t.Fatal(err)
		}
		if got, want := string(encodeCriteria(again)), string(encodeCriteria(query)); got != want {
			t.Fatalf("%s changed to %s", want, got)
		}
		checkSearch(t, logs, query)
	})
}

func checkSearch(t *testing.T, logs *logAPI, query filters.FilterCriteria) {
	t.Helper()
	found, err := logs.GetLogs(t.Context(), query)
	if err != nil || logs.checkSubscription(query) != nil {
		return
	}
	first, last, err := logs.resolve(query, logs.b.Chain.CurrentHeader().Number.Uint64())
	if err != nil {
		t.Fatal(err)
	}
	announced := 0
	for number := first; number <= last; number++ {
		var ev feedEvent
		for _, receipt := range mainChain().receipts[number] {
			ev.logs = append(ev.logs, receipt.Logs...)
		}
		announced += len(ev.matching(query))
	}
	if announced != len(found) {
		t.Fatalf("%s: a search finds %d logs, a subscription announces %d", encodeCriteria(query), len(found), announced)
	}
}

// encodeCriteria is the JSON from which the criteria decode.
func encodeCriteria(query filters.FilterCriteria) []byte {
	encoded := object{"address": query.Addresses}
	if query.BlockHash != nil {
		encoded["blockHash"] = query.BlockHash
	}
	for name, number := range map[string]*big.Int{"fromBlock": query.FromBlock, "toBlock": query.ToBlock} {
		if number != nil {
			encoded[name] = gethrpc.BlockNumber(number.Int64())
		}
	}
	topics := []any{}
	for _, position := range query.Topics {
		if len(position) == 0 {
			topics = append(topics, nil)
		} else {
			topics = append(topics, position)
		}
	}
	encoded["topics"] = topics
	return mustJSON(encoded)
}

// FuzzSameAsGeth: the responses to calls, estimates, access lists and log queries are go-ethereum's, byte for byte.
// An error about a parameter that does not decode only has to be the same for both.
func FuzzSameAsGeth(f *testing.F) {
	methods := []string{"eth_call", "eth_estimateGas", "eth_createAccessList", "eth_getLogs", "eth_simulateV1", "debug_traceCall"}
	for i, c := range slices.Concat(executeCalls(), feeAndLogConformance(), simulateConformance(), traceConformance()) {
		if method := slices.Index(methods, c.method); method >= 0 && i%17 == 0 {
			f.Add(uint8(method), mustJSON(c.params))
		}
	}
	geth := startGethOn(f, mainChain())
	var ours *gethrpc.Client
	f.Fuzz(func(t *testing.T, method uint8, params []byte) {
		if ours == nil {
			n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log, c.Logs.Selectors, c.EVMTimeout = nil, 1000, patience })
			n.chain.final = 5
			srv := gethrpc.NewServer()
			if err := n.register(srv, n.namespaces(), nil); err != nil {
				t.Fatal(err)
			}
			ours = gethrpc.DialInProc(srv)
		}
		var list []json.RawMessage
		if json.Unmarshal(params, &list) != nil || len(list) > 8 || strings.Contains(string(params), "pending") {
			return // pending is the latest block here
		}
		c := rpcCall{method: methods[int(method)%len(methods)]}
		for _, param := range list {
			c.params = append(c.params, param)
		}
		const crash, undecoded = "error -32603 <nil>: method handler crashed", "error -32602 <nil>: invalid argument "
		want, got := response(geth, c), response(ours, c)
		if strings.HasPrefix(got, crash) || got != want && !strings.HasPrefix(want, crash) && !(strings.HasPrefix(got, undecoded) && strings.HasPrefix(want, undecoded)) {
			t.Fatalf("%s\n got %s\nwant %s", c, got, want)
		}
	})
}
