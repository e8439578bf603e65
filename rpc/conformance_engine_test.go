// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// genesisOnly is a chain of nothing but genesis in which a fork and all before it are active.
func genesisOnly(fork string) *fixtureChain {
	config := *params.MergedTestChainConfig
	zero := uint64(0)
	config.AmsterdamTime = &zero
	switch fork { // each switches off what comes after it
	case "paris":
		config.ShanghaiTime = nil
		fallthrough
	case "shanghai":
		config.CancunTime = nil
		fallthrough
	case "cancun":
		config.PragueTime = nil
		fallthrough
	case "prague":
		config.OsakaTime = nil
		fallthrough
	case "osaka":
		config.AmsterdamTime = nil
	}
	genesis := &core.Genesis{
		Config: &config, Alloc: core.SystemContractAllocs(), Timestamp: 9000, GasLimit: 30_000_000,
		BaseFee: big.NewInt(params.InitialBaseFee), Difficulty: common.Big0,
	}
	return &fixtureChain{config: &config, genesis: genesis, blocks: []*types.Block{genesis.ToBlock()}, receipts: make([]types.Receipts, 1)}
}

// TestEngineSameAsGeth compares the responses to valid and invalid parameters of every version in every fork.
// No payload here decodes into a valid block, so the importer is not called.
func TestEngineSameAsGeth(t *testing.T) {
	for _, fork := range []string{"paris", "shanghai", "cancun", "prague", "osaka", "amsterdam"} {
		t.Run(fork, func(t *testing.T) {
			w := genesisOnly(fork)
			geth := startGethOn(t, w)
			n := newFakeNode(t, func(_ *Config, b *Backend) { b.Payloads = new(fakePayloads) })
			n.chain.w, n.chain.head = w, 0
			genesis := w.blocks[0].Hash()
			n.engine.outcome = importer.Outcome{Status: importer.Valid, LatestValid: &genesis}
			ours := n.client(t)
			refused := 0
			for _, c := range engineCallsOn(w) {
				want, got := response(geth, c), response(ours, c)
				if got != want {
					t.Errorf("%s\n got %s\nwant %s", c, got, want)
				}
				if strings.HasPrefix(got, "error") {
					refused++
				}
			}
			if refused < 20 {
				t.Errorf("only %d calls were refused", refused)
			}
		})
	}
}

func engineCallsOn(w *fixtureChain) (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	root, one := common.Hash{1}, "0x1"
	payload := func(change object) object {
		data := engine.ExecutableData{LogsBloom: make([]byte, 256), ExtraData: []byte{}, BaseFeePerGas: big.NewInt(7), Transactions: [][]byte{}, Timestamp: 9012, Number: 1, ParentHash: w.blocks[0].Hash()}
		text, _ := json.Marshal(data)
		p := object{}
		_ = json.Unmarshal(text, &p)
		for k, v := range change {
			p[k] = v
		}
		return p
	}
	empty := []any{}
	payloads := []object{
		payload(nil),
		payload(object{"withdrawals": empty}),
		payload(object{"withdrawals": empty, "excessBlobGas": one}),
		payload(object{"withdrawals": empty, "excessBlobGas": one, "blobGasUsed": one}),
		payload(object{"excessBlobGas": one}),
		payload(object{"blobGasUsed": one}),
		payload(object{"withdrawals": empty, "excessBlobGas": one, "blobGasUsed": one, "slotNumber": one}),
		payload(object{"withdrawals": empty, "excessBlobGas": one, "blobGasUsed": one, "blockAccessList": "0xc0"}),
		payload(object{"withdrawals": empty, "excessBlobGas": one, "blobGasUsed": one, "slotNumber": one, "blockAccessList": "0xc0"}),
		payload(object{"withdrawals": empty, "excessBlobGas": one, "blobGasUsed": one, "slotNumber": one, "blockAccessList": "0x"}),
		payload(object{"logsBloom": "0x00"}),
		payload(object{"extraData": "0x" + strings.Repeat("00", 33)}),
		payload(object{"transactions": []string{"0x01"}}),
		payload(object{"timestamp": nil}),
	}
	for _, p := range payloads {
		add("engine_newPayloadV1", p)
		add("engine_newPayloadV2", p)
		add("engine_newPayloadV3", p, empty, root)
		add("engine_newPayloadV3", p, nil, root)
		add("engine_newPayloadV3", p, empty, nil)
		for _, method := range []string{"engine_newPayloadV4", "engine_newPayloadV5"} {
			add(method, p, empty, root, empty)
			add(method, p, empty, root, nil)
			add(method, p, empty, root)
			add(method, p, nil, root, empty)
			add(method, p, []common.Hash{{5}}, root, empty)
			add(method, p, empty, root, []string{"0x00"})
			add(method, p, empty, root, []string{"0x0101", "0x0001"})
			add(method, p, empty, root, []string{"0x0001", "0x0001"})
			add(method, p, empty, root, []string{"0x0001", "0x0201"})
		}
	}
	for _, method := range []string{"engine_newPayloadV1", "engine_newPayloadV4", "engine_forkchoiceUpdatedV1", "engine_forkchoiceUpdatedV4", "engine_getPayloadV3", "engine_getPayloadBodiesByHashV1", "engine_getPayloadBodiesByRangeV1"} {
		add(method)
		add(method, nil)
		add(method, "0x1", 3)
		add(method, object{})
	}
	for _, full := range []bool{false, true} { // its header has the members of the fork
		add("eth_getBlockByNumber", "latest", full)
	}
	add("eth_getHeaderByNumber", "latest")
	return append(append(calls, forkchoiceCallsOn(w)...), engineConformance()...)
}

func forkchoiceCallsOn(w *fixtureChain) (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	update := object{"headBlockHash": w.blocks[0].Hash(), "safeBlockHash": common.Hash{}, "finalizedBlockHash": common.Hash{}}
	nothing := object{"headBlockHash": common.Hash{}, "safeBlockHash": common.Hash{}, "finalizedBlockHash": common.Hash{}}
	attributes := func(change object) object {
		a := object{"timestamp": "0x2335", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}}
		for k, v := range change {
			a[k] = v
		}
		return a
	}
	root, empty := common.Hash{1}, []any{}
	refused := map[string][]object{ // attributes that this version refuses in every fork
		"engine_forkchoiceUpdatedV1": {attributes(object{"withdrawals": empty}), attributes(object{"parentBeaconBlockRoot": root})},
		"engine_forkchoiceUpdatedV2": {attributes(object{"parentBeaconBlockRoot": root})},
		"engine_forkchoiceUpdatedV3": {attributes(nil), attributes(object{"withdrawals": empty})},
		"engine_forkchoiceUpdatedV4": {attributes(nil), attributes(object{"withdrawals": empty}), attributes(object{"withdrawals": empty, "parentBeaconBlockRoot": root})},
	}
	for method, list := range refused {
		add(method, update)
		add(method, update, nil)
		add(method, nothing, nil)
		add(method, update, object{})
		for _, a := range list {
			add(method, update, a)
		}
	}
	byFork := map[string]object{ // attributes that are right in form
		"engine_forkchoiceUpdatedV1": attributes(nil),
		"engine_forkchoiceUpdatedV2": attributes(object{"withdrawals": empty}),
		"engine_forkchoiceUpdatedV3": attributes(object{"withdrawals": empty, "parentBeaconBlockRoot": root}),
		"engine_forkchoiceUpdatedV4": attributes(object{"withdrawals": empty, "parentBeaconBlockRoot": root, "slotNumber": "0x1"}),
	}
	for method, a := range byFork { // in the right fork, the response has the ID of a payload
		add(method, update, a)
	}
	for version := 1; version <= 6; version++ { // unknown IDs of all versions
		for attributes := range 5 {
			add(fmt.Sprintf("engine_getPayloadV%d", version), fmt.Sprintf("0x0%d00000000000001", attributes))
		}
	}
	return calls
}

func engineConformance() (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	for _, r := range [][2]string{{"0x0", "0x1"}, {"0x1", "0x0"}, {"0x1", "0x401"}, {"0x1", "0x400"}, {"0x2", "0x3"}, {"0xb", "0x5"}, {"0x63", "0x3"}, {"0xffffffffffffffff", "0x3"}} {
		add("engine_getPayloadBodiesByRangeV1", r[0], r[1])
		add("engine_getPayloadBodiesByRangeV2", r[0], r[1])
	}
	ttd := "0x0"
	add("engine_exchangeTransitionConfigurationV1", object{"terminalTotalDifficulty": ttd, "terminalBlockHash": common.Hash{}, "terminalBlockNumber": "0x0"})
	add("engine_exchangeTransitionConfigurationV1", object{"terminalTotalDifficulty": "0x5", "terminalBlockHash": common.Hash{}, "terminalBlockNumber": "0x0"})
	add("engine_exchangeTransitionConfigurationV1", object{"terminalTotalDifficulty": ttd, "terminalBlockHash": common.Hash{1}, "terminalBlockNumber": "0x0"})
	add("engine_exchangeTransitionConfigurationV1", object{})
	return calls
}
