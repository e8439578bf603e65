// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

func executionConformance() (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	for _, to := range []common.Address{counterAddr, readerAddr, reverterAddr, hasherAddr, userAddr, {1: 1}, common.HexToAddress("0x2")} {
		call := object{"from": userAddr, "to": to, "input": "0x1234"}
		for _, at := range []any{"latest", "0x4"} {
			add("eth_call", call, at)
			add("eth_estimateGas", call, at)
			add("eth_createAccessList", call, at)
		}
	}
	plain := object{"from": userAddr, "to": common.Address{5}, "value": "0x1"}
	add("eth_estimateGas", plain)
	add("eth_call", plain)
	add("eth_estimateGas", object{"from": common.Address{9}, "to": userAddr, "value": "0x1"})
	add("eth_estimateGas", object{"from": common.Address{9}, "to": userAddr, "value": "0x1", "gasPrice": "0x1"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "gasPrice": "0x1", "maxFeePerGas": "0x1"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "gasPrice": "0x1"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "gas": "0x5208"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "gas": "0x100"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "chainId": "0x9"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "maxFeePerGas": hexBig(params.GWei), "maxPriorityFeePerGas": "0x1"})
	add("eth_call", object{"from": userAddr, "to": readerAddr, "maxFeePerGas": "0x1"})
	add("eth_call", object{"data": "0x60016000526001601ff3"})
	add("eth_call", object{"blobVersionedHashes": []common.Hash{{1}}})
	add("eth_call", object{"to": userAddr, "from": userAddr, "blobVersionedHashes": []common.Hash{{1, 5}}})
	add("eth_estimateGas", object{"data": "0x60016000526001601ff3"})
	add("eth_estimateGas", object{"to": looperAddr, "gas": "0x30000"})
	add("eth_createAccessList", object{"to": looperAddr, "gas": "0x30000"})
	returnCode := object{"code": "0x4360005260206000f3"} // returns the block number
	someone := common.Address{0x77}
	overrides := []object{
		{someone.Hex(): returnCode},
		{userAddr.Hex(): object{"balance": "0x0"}, readerAddr.Hex(): object{"stateDiff": object{common.Hash{}.Hex(): common.Hash{31: 9}}}},
		{readerAddr.Hex(): object{"state": object{common.Hash{}.Hex(): common.Hash{31: 9}}}},
		{readerAddr.Hex(): object{"state": object{}, "stateDiff": object{}}},
		{"0x0000000000000000000000000000000000000002": object{"movePrecompileToAddress": someone.Hex()}},
		{someone.Hex(): object{"movePrecompileToAddress": userAddr.Hex()}},
		{someone.Hex(): object{"nonce": "0x5"}},
	}
	blocks := []object{nil, {"number": "0x99", "time": "0xfffff", "baseFeePerGas": "0x5"}, {"beaconRoot": common.Hash{}}, {"withdrawals": []any{}}, {"gasLimit": "0x9999", "feeRecipient": someone, "prevRandao": common.Hash{4}, "blobBaseFee": "0x3", "difficulty": "0x5"}}
	for _, to := range []common.Address{someone, readerAddr} {
		for _, override := range overrides {
			for _, block := range blocks {
				call := object{"from": userAddr, "to": to, "input": "0x00"}
				add("eth_call", call, "latest", override, block)
				add("eth_estimateGas", call, "latest", override, block)
			}
			add("eth_createAccessList", object{"from": userAddr, "to": to, "input": "0x00"}, "latest", override)
		}
	}
	return calls
}

func hexBig(n int64) string { return hexutil.EncodeBig(big.NewInt(n)) }

// environmentCode is a contract that returns all that a call object and a block override can change.
func environmentCode() string {
	p, size := program.New(), 0
	put := func() { p.Push(size).Op(vm.MSTORE); size += 32 }
	for _, op := range []vm.OpCode{
		vm.NUMBER, vm.TIMESTAMP, vm.GASLIMIT, vm.COINBASE, vm.PREVRANDAO, vm.BASEFEE, vm.BLOBBASEFEE, vm.CHAINID,
		vm.GASPRICE, vm.ORIGIN, vm.CALLER, vm.CALLVALUE, vm.CALLDATASIZE, vm.SELFBALANCE, vm.CODESIZE, vm.GAS,
	} {
		p.Op(op)
		put()
	}
	for index := range 2 {
		p.Push(index).Op(vm.BLOBHASH)
		put()
		p.Push(index).Op(vm.SLOAD)
		put()
		p.Push(32 * index).Op(vm.CALLDATALOAD)
		put()
	}
	return hexutil.Encode(p.Return(0, size).Bytes())
}

// gasCode is a contract whose use of gas depends on the values of opcodes, so that estimates show them.
func gasCode(ops ...vm.OpCode) string {
	p := program.New()
	for _, op := range ops { // hashes up to 64,000 bytes
		p.Push(256).Push(251).Op(op, vm.MOD, vm.MUL).Push(0).Op(vm.KECCAK256, vm.POP)
	}
	return hexutil.Encode(p.Op(vm.STOP).Bytes())
}

// callObjectConformance are calls with each member of the call object, alone and with others, valid and invalid.
func callObjectConformance() (calls []rpcCall) {
	target := common.Address{0x77}
	override := object{target.Hex(): object{"code": environmentCode()}, userAddr.Hex(): object{"balance": "0xffffffffffffffffffffffff"}}
	auth, err := types.SignSetCode(key(2), types.SetCodeAuthorization{ChainID: *uint256.MustFromBig(mainChain().config.ChainID), Address: readerAddr, Nonce: 2})
	if err != nil {
		panic(err)
	}
	elsewhere := auth
	elsewhere.ChainID = *uint256.NewInt(4242)
	blob, access := common.Hash{1, 5}, types.AccessList{{Address: readerAddr, StorageKeys: []common.Hash{{31: 7}, {31: 1}}}, {Address: target, StorageKeys: []common.Hash{}}}
	twoGwei, max256 := hexBig(2*params.GWei), "0x"+strings.Repeat("f", 64)
	for _, change := range []object{
		{},
		{"from": nil},
		{"gas": "0xffffffffff"},
		{"gas": "0x0"},
		{"gas": "0x20000"},
		{"value": "0x5"},
		{"value": max256},
		{"nonce": "0x7"},
		{"nonce": "0xffffffffffffffff"},
		{"data": "0x01"},
		{"data": "0x01", "input": "0x0203"},
		{"input": "0x"},
		{"chainId": (*hexutil.Big)(mainChain().config.ChainID)},
		{"chainId": "0x9"},
		{"gasPrice": "0x0"},
		{"gasPrice": twoGwei},
		{"gasPrice": "0x1"},
		{"gasPrice": max256},
		{"gasPrice": twoGwei, "maxPriorityFeePerGas": "0x1"},
		{"gasPrice": twoGwei, "maxFeePerGas": twoGwei, "chainId": "0x9"},
		{"maxFeePerGas": twoGwei},
		{"maxPriorityFeePerGas": "0x1"},
		{"maxFeePerGas": twoGwei, "maxPriorityFeePerGas": "0x3"},
		{"maxFeePerGas": twoGwei, "maxPriorityFeePerGas": twoGwei},
		{"maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6"},
		{"maxFeePerGas": max256, "maxPriorityFeePerGas": max256},
		{"accessList": []any{}},
		{"accessList": access},
		{"accessList": nil},
		{"blobVersionedHashes": []common.Hash{}},
		{"blobVersionedHashes": []common.Hash{blob}},
		{"blobVersionedHashes": []common.Hash{blob, {1, 6}}, "maxFeePerBlobGas": twoGwei, "maxFeePerGas": twoGwei},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": "0x0"},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": max256},
		{"blobVersionedHashes": []common.Hash{{9}}},
		{"blobVersionedHashes": []common.Hash{blob}, "to": nil},
		{"blobVersionedHashes": []common.Hash{}, "to": nil},
		{"blobVersionedHashes": []common.Hash{}, "maxFeePerBlobGas": "0x1"},
		{"maxFeePerGas": max256, "maxPriorityFeePerGas": "0x" + strings.Repeat("f", 63) + "0"}, // tip and base fee wrap at 2^256
		{"maxFeePerBlobGas": "0x1"},
		{"maxFeePerBlobGas": "0x1", "to": nil, "authorizationList": []types.SetCodeAuthorization{auth}},
		{"maxFeePerBlobGas": "0x1", "gasPrice": twoGwei, "maxFeePerGas": twoGwei},
		{"maxFeePerBlobGas": "0x1", "chainId": "0x9"},
		{"authorizationList": []types.SetCodeAuthorization{auth}},
		{"authorizationList": []types.SetCodeAuthorization{elsewhere, auth, {}}},
		{"authorizationList": []types.SetCodeAuthorization{}},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "to": nil},
		{"authorizationList": []types.SetCodeAuthorization{}, "to": nil},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "blobVersionedHashes": []common.Hash{blob}, "to": nil},
		{"to": nil, "input": "0x60016000526001601ff3"},
		{"to": readerAddr, "accessList": access},
		{"to": reverterAddr, "gasPrice": twoGwei},
		{"from": readerAddr}, // has code
		{"from": counterAddr, "nonce": "0x3", "to": nil},
	} {
		call := object{"from": userAddr, "to": target}
		maps.Copy(call, change)
		for _, at := range []any{"latest", "0x2", "0x99"} {
			calls = append(calls, rpcCall{"eth_call", []any{call, at, override}}, rpcCall{"eth_estimateGas", []any{call, at, override}})
		}
	}
	return append(calls, accessListConformance(override, auth, elsewhere)...)
}

// accessListConformance are calls of eth_createAccessList, which completes fees as for a transaction to be signed and
// has the hash of that transaction in its errors.
func accessListConformance(override object, auth, elsewhere types.SetCodeAuthorization) (calls []rpcCall) {
	target, blob, twoGwei := common.Address{0x77}, common.Hash{1, 5}, hexBig(2*params.GWei)
	access := types.AccessList{{Address: readerAddr, StorageKeys: []common.Hash{{31: 7}, {31: 1}}}, {Address: target, StorageKeys: []common.Hash{}}}
	max256, poor := "0x"+strings.Repeat("f", 64), common.Address{9}
	for _, change := range []object{
		{"nonce": "0x7"},
		{"nonce": "0xffffffffffffffff"},
		{"value": "0x5", "gas": "0x20000", "input": "0x010203"},
		{"value": max256},
		{"gas": "0x100"},
		{"gas": "0x0"},
		{"gas": "0xffffffffff", "data": "0x01"},
		{"gasPrice": "0x0"},
		{"gasPrice": "0x1"},
		{"gasPrice": twoGwei},
		{"gasPrice": max256},
		{"gasPrice": twoGwei, "maxPriorityFeePerGas": "0x1"},
		{"gasPrice": twoGwei, "maxFeePerGas": "0x1", "authorizationList": []types.SetCodeAuthorization{auth}},
		{"maxFeePerGas": twoGwei},
		{"maxFeePerGas": "0x1"},
		{"maxFeePerGas": "0x0"},
		{"maxFeePerGas": "0x0", "maxPriorityFeePerGas": "0x0"},
		{"maxPriorityFeePerGas": "0x0"},
		{"maxPriorityFeePerGas": "0x1"},
		{"maxPriorityFeePerGas": max256},
		{"maxFeePerGas": max256, "maxPriorityFeePerGas": max256},
		{"maxFeePerGas": twoGwei, "maxPriorityFeePerGas": "0x3"},
		{"maxFeePerGas": twoGwei, "maxPriorityFeePerGas": twoGwei},
		{"maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6"},
		{"from": poor, "maxFeePerGas": twoGwei, "maxPriorityFeePerGas": "0x3"},
		{"from": poor, "gasPrice": twoGwei, "accessList": access},
		{"from": poor, "value": "0x1"},
		{"from": nil, "value": "0x1", "input": "0x01"},
		{"accessList": []any{}},
		{"accessList": access},
		{"accessList": nil},
		{"to": readerAddr, "accessList": access},
		{"to": nil, "input": "0x60016000526001601ff3"},
		{"to": nil, "input": "0x60016000526001601ff3", "gasPrice": "0x1"},
		{"to": nil, "from": poor, "input": "0x60016000526001601ff3", "value": "0x1"},
		{"from": counterAddr, "nonce": "0x3", "to": nil},
		{"to": reverterAddr, "gasPrice": twoGwei},
		{"to": reverterAddr, "data": "0x01", "input": "0x02"},
		{"blobVersionedHashes": []common.Hash{blob}},
		{"blobVersionedHashes": []common.Hash{}},
		{"blobVersionedHashes": []common.Hash{}, "maxFeePerBlobGas": "0x1"},
		{"blobVersionedHashes": []common.Hash{blob}, "to": nil},
		{"blobVersionedHashes": []common.Hash{{9}}},
		{"blobVersionedHashes": []common.Hash{{9}}, "gasPrice": twoGwei},
		{"blobVersionedHashes": []common.Hash{blob}, "gasPrice": twoGwei},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerGas": twoGwei},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": "0x0"},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": "0x1"},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": max256},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": twoGwei},
		{"blobVersionedHashes": []common.Hash{blob}, "maxFeePerBlobGas": twoGwei, "from": poor},
		{"maxFeePerBlobGas": "0x1"},
		{"maxFeePerBlobGas": "0x0"},
		{"authorizationList": []types.SetCodeAuthorization{auth}},
		{"authorizationList": []types.SetCodeAuthorization{elsewhere, auth, {}}},
		{"authorizationList": []types.SetCodeAuthorization{}},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "to": nil},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "gasPrice": twoGwei},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "maxFeePerGas": twoGwei},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "from": poor, "maxFeePerGas": twoGwei},
		{"authorizationList": []types.SetCodeAuthorization{auth}, "blobVersionedHashes": []common.Hash{blob}, "from": poor, "value": "0x1"},
		{"chainId": (*hexutil.Big)(mainChain().config.ChainID)},
		{"chainId": "0x9"},
		{"chainId": "0x9", "gasPrice": "0x0"},
	} {
		call := object{"from": userAddr, "to": target}
		maps.Copy(call, change)
		for _, at := range []any{"latest", "0x2", "0x99"} {
			calls = append(calls, rpcCall{"eth_createAccessList", []any{call, at, override}})
		}
		plain := object{poor.Hex(): object{"balance": "0x0"}}
		calls = append(calls, rpcCall{"eth_createAccessList", []any{call, "latest", plain}})
	}
	return calls
}

// overrideConformance are calls with each member of a state override and of a block override, alone and with
// others, valid and invalid.
func overrideConformance() (calls []rpcCall) {
	target, other, environment := common.Address{0x77}, common.Address{0x78}, environmentCode()
	sha256, identity := common.Address{19: 2}, common.Address{19: 4}
	slot, word := common.Hash{31: 1}.Hex(), common.Hash{30: 1, 31: 2}
	code := func(change object) object {
		account := object{"code": environment}
		maps.Copy(account, change)
		return account
	}
	states := []object{
		{target.Hex(): code(nil)},
		{target.Hex(): code(object{"balance": "0x123", "nonce": "0x9", "stateDiff": object{slot: word}})},
		{target.Hex(): code(object{"state": object{slot: word}})},
		{target.Hex(): code(object{"state": object{}})},
		{target.Hex(): code(object{"state": object{}, "stateDiff": object{}})},
		{target.Hex(): object{}},
		{target.Hex(): object{"code": "0x"}},
		{target.Hex(): code(nil), userAddr.Hex(): object{"balance": "0x0", "nonce": "0xffffffffffffffff"}},
		{readerAddr.Hex(): object{"code": environment}}, // keeps its storage
		{readerAddr.Hex(): object{"code": environment, "state": object{slot: word}}},
		{readerAddr.Hex(): object{"code": environment, "stateDiff": object{slot: word}}},
		{readerAddr.Hex(): object{"state": object{slot: word}, "balance": "0x7"}},
		{sha256.Hex(): object{"movePrecompileToAddress": target}},
		{sha256.Hex(): object{"movePrecompileToAddress": target, "code": environment}},
		{sha256.Hex(): object{"movePrecompileToAddress": sha256}},
		{sha256.Hex(): object{"movePrecompileToAddress": target}, target.Hex(): object{}},
		{target.Hex(): object{"movePrecompileToAddress": other}},
		{identity.Hex(): object{"movePrecompileToAddress": sha256}},
		{identity.Hex(): object{"movePrecompileToAddress": target}, sha256.Hex(): object{"code": environment}},
		{identity.Hex(): object{"movePrecompileToAddress": target, "state": object{}, "stateDiff": object{}}},
		{sha256.Hex(): code(nil)},
	}
	blocks := []object{
		nil,
		{},
		{"number": "0x5"},
		{"number": "0xffff"},
		{"difficulty": "0x5"},
		{"time": "0x5"},
		{"time": "0xffffff"},
		{"gasLimit": "0x9999"},
		{"feeRecipient": other},
		{"prevRandao": word},
		{"baseFeePerGas": "0x5"},
		{"baseFeePerGas": "0x0"},
		{"blobBaseFee": "0x3"},
		{"beaconRoot": word},
		{"withdrawals": []any{}},
		{"beaconRoot": word, "withdrawals": []any{}},
		{"withdrawals": nil, "number": "0x1"},
		{"number": "0x6", "difficulty": "0x7", "time": "0x8888", "gasLimit": "0x99999", "feeRecipient": other, "prevRandao": word, "baseFeePerGas": "0xb", "blobBaseFee": "0xc"},
	}
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	for _, state := range states {
		for _, to := range []common.Address{target, readerAddr, sha256, identity} {
			call := object{"from": userAddr, "to": to, "input": "0x1234"}
			add("eth_call", call, "latest", state)
			add("eth_estimateGas", call, "latest", state)
			add("eth_createAccessList", call, "latest", state)
		}
	}
	for _, block := range blocks {
		add("eth_call", object{"to": hasherAddr}, "latest", nil, block)
		add("eth_estimateGas", object{"to": hasherAddr}, "latest", nil, block)
		for _, fee := range []object{nil, {"gasPrice": "0x77359400"}, {"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x2"}, {"blobVersionedHashes": []common.Hash{{1, 5}}, "maxFeePerBlobGas": "0x2"}} {
			call := object{"from": userAddr, "to": target}
			maps.Copy(call, fee)
			add("eth_call", call, "latest", states[0], block)
			add("eth_estimateGas", call, "latest", states[0], block)
			for _, op := range []vm.OpCode{vm.NUMBER, vm.TIMESTAMP, vm.GASLIMIT, vm.COINBASE, vm.PREVRANDAO, vm.BASEFEE, vm.BLOBBASEFEE, vm.GASPRICE} {
				add("eth_estimateGas", call, "latest", object{target.Hex(): object{"code": gasCode(op)}}, block)
			}
		}
	}
	return calls
}

// proofOfWorkChain is a chain from before the merge, with uncles, on which forks from Frontier to London become active.
var proofOfWorkChain = sync.OnceValue(func() *fixtureChain {
	config := &params.ChainConfig{
		ChainID: big.NewInt(77), HomesteadBlock: big.NewInt(1), EIP150Block: big.NewInt(2), EIP155Block: big.NewInt(3), EIP158Block: big.NewInt(3),
		ByzantiumBlock: big.NewInt(4), ConstantinopleBlock: big.NewInt(4), PetersburgBlock: big.NewInt(4), IstanbulBlock: big.NewInt(5), MuirGlacierBlock: big.NewInt(5),
		BerlinBlock: big.NewInt(6), LondonBlock: big.NewInt(8), TerminalTotalDifficulty: new(big.Int).Lsh(common.Big1, 200), Ethash: new(params.EthashConfig),
	}
	genesis := &core.Genesis{Config: config, Alloc: testchain.Funded(1), Timestamp: 9000, GasLimit: 8_000_000, Difficulty: params.GenesisDifficulty}
	return newFixtureChain(genesis, 9, func(i int, g *testchain.Block) {
		g.SetCoinbase(common.Address{0xfe, 0xe0})
		g.SetExtra([]byte{byte(i), 1, 2})
		nonce, price := g.TxNonce(userAddr), big.NewInt(20*params.GWei)
		g.AddTx(types.MustSignNewTx(userKey, types.HomesteadSigner{}, &types.LegacyTx{Nonce: nonce, To: &common.Address{5}, Value: common.Big1, Gas: 30_000, GasPrice: price}))
		switch {
		case config.IsLondon(g.Number()):
			g.Send(userKey, &types.DynamicFeeTx{ChainID: config.ChainID, Nonce: nonce + 1, Gas: 200_000, GasFeeCap: price, GasTipCap: common.Big2, Data: program.New().ReturnViaCodeCopy([]byte{1}).Bytes()})
		case config.IsBerlin(g.Number()):
			g.Send(userKey, &types.AccessListTx{ChainID: config.ChainID, Nonce: nonce + 1, To: &common.Address{6}, Gas: 60_000, GasPrice: price, AccessList: types.AccessList{{Address: counterAddr, StorageKeys: []common.Hash{{}}}}})
		default:
			g.Send(userKey, &types.LegacyTx{Nonce: nonce + 1, Gas: 200_000, GasPrice: price, Data: []byte{byte(vm.PUSH1), 0, byte(vm.DUP1), byte(vm.LOG0)}})
		}
		if i > 3 {
			for n := range i % 3 {
				g.AddUncle(&types.Header{ParentHash: g.PrevBlock(i - 2 - n).Hash(), Number: big.NewInt(int64(i - n)), Coinbase: common.Address{byte(i), byte(n)}, Extra: []byte("uncle")})
			}
		}
	})
})

// TestProofOfWorkSameAsGeth compares blocks, uncles, transactions, receipts and calls from before the merge with
// go-ethereum's, byte for byte.
func TestProofOfWorkSameAsGeth(t *testing.T) {
	w := proofOfWorkChain()
	geth := startGethOn(t, w)
	n := newFakeNode(t)
	n.chain.w, n.chain.head, n.chain.final, n.states.db = w, len(w.blocks)-1, 5, w.db
	ours := n.client(t)
	var calls []rpcCall
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	override := object{common.Address{0x77}.Hex(): object{"code": "0x4344424860005260206000f3"}} // number, prevrandao or difficulty, timestamp, base fee
	uncles := 0
	for number, block := range w.blocks {
		tag := hexutil.Uint64(number)
		for _, full := range []bool{false, true} {
			add("eth_getBlockByNumber", tag, full)
			add("eth_getBlockByHash", block.Hash(), full)
		}
		add("eth_getHeaderByNumber", tag)
		add("eth_getBlockReceipts", tag)
		add("eth_getUncleCountByBlockNumber", tag)
		for i := range 3 {
			add("eth_getUncleByBlockNumberAndIndex", tag, hexutil.Uint(i))
			add("eth_getUncleByBlockHashAndIndex", block.Hash(), hexutil.Uint(i))
		}
		for i, tx := range block.Transactions() {
			add("eth_getTransactionByHash", tx.Hash())
			add("eth_getTransactionReceipt", tx.Hash())
			add("eth_getTransactionByBlockNumberAndIndex", tag, hexutil.Uint(i))
		}
		for _, call := range []object{{}, {"gasPrice": "0x5"}, {"gasPrice": "0x5", "maxFeePerGas": "0x5"}, {"maxFeePerGas": "0x5"}, {"maxPriorityFeePerGas": "0x5"}, {"maxFeePerGas": "0x5", "maxFeePerBlobGas": "0x1"}, {"maxFeePerGas": "0x5", "chainId": "0x9"}} {
			call["from"], call["to"] = userAddr, common.Address{0x77}
			for _, block := range []object{nil, {"difficulty": "0x99"}, {"prevRandao": common.Hash{4}}, {"baseFeePerGas": "0x4"}, {"number": "0x9"}} {
				add("eth_call", call, tag, override, block)
				add("eth_estimateGas", call, tag, override, block)
				add("eth_estimateGas", call, tag, object{common.Address{0x77}.Hex(): object{"code": gasCode(vm.PREVRANDAO)}}, block)
			}
		}
		if number >= 6 { // Berlin
			for _, fees := range []object{{}, {"gasPrice": "0x77359400"}, {"gasPrice": "0x0"}, {"gasPrice": "0x1"}, {"maxFeePerGas": "0x77359400"}, {"maxPriorityFeePerGas": "0x1"}, {"maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6"}, {"value": "0x" + strings.Repeat("f", 64)}} {
				call := object{"from": userAddr, "to": common.Address{0x77}}
				maps.Copy(call, fees)
				add("eth_createAccessList", call, tag, override)
			}
		}
		uncles += len(block.Uncles())
	}
	for _, method := range []string{"eth_gasPrice", "eth_baseFee", "eth_blobBaseFee"} {
		add(method)
	}
	add("eth_feeHistory", "0x9", "latest", []float64{10, 90})
	for _, c := range calls {
		if want, got := response(geth, c), response(ours, c); got != want {
			t.Errorf("%s\n got %s\nwant %s", c, got, want)
		}
	}
	if uncles == 0 {
		t.Error("no block has uncles")
	}
}
