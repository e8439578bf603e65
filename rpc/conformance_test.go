// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool/legacypool"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/eth/tracers"
	"github.com/ethereum/go-ethereum/miner"
	"github.com/ethereum/go-ethereum/node"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/rpcdiff"
)

// startGethOn runs go-ethereum in this process on a chain.
func startGethOn(t testing.TB, w *fixtureChain) *gethrpc.Client {
	t.Helper()
	stack, _ := runGeth(t, w)
	return stack.Attach()
}

// patience is the time limit of calls that are compared: gas ends them, on a slow machine too.
const patience = time.Hour

func runGeth(t testing.TB, w *fixtureChain, change ...func(*ethconfig.Config)) (*node.Node, *eth.Ethereum) {
	t.Helper()
	stack, err := node.New(&node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	plain := legacypool.DefaultConfig
	plain.NoLocals, plain.Journal = true, "" // it returns the error of a transaction, and does not retry
	config := &ethconfig.Config{
		Genesis: w.genesis, NetworkId: 7, RPCGasCap: DefaultGasCap, RPCEVMTimeout: patience, GPO: ethconfig.FullNodeGPO, StateScheme: "hash",
		Miner:       miner.Config{Recommit: time.Hour}, // a payload that is still being built when its database closes is a data race in geth
		RPCTxFeeCap: 1, TxPool: plain,
	}
	for _, f := range change {
		f(config)
	}
	backend, err := eth.New(stack, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := catalyst.Register(stack, backend); err != nil {
		t.Fatal(err)
	}
	stack.RegisterAPIs([]gethrpc.API{{Namespace: "eth", Service: filters.NewFilterAPI(filters.NewFilterSystem(backend.APIBackend, filters.Config{LogQueryLimit: 1000}))}})
	stack.RegisterAPIs(tracers.APIs(backend.APIBackend))
	if err := stack.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	if _, err := backend.BlockChain().InsertChain(w.blocks[1:]); err != nil {
		t.Fatal(err)
	}
	if len(w.blocks) > 5 {
		backend.BlockChain().SetFinalized(w.blocks[5].Header())
		backend.BlockChain().SetSafe(w.blocks[5].Header())
	}
	if len(w.blocks) == 1 {
		return stack, backend
	}
	awaitIndex(t, backend)
	return stack, backend
}

// awaitIndex waits until go-ethereum has indexed its transactions.
func awaitIndex(t testing.TB, backend *eth.Ethereum) {
	t.Helper()
	for range 1000 {
		if progress, err := backend.BlockChain().TxIndexProgress(); err == nil && progress.Done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("go-ethereum did not index its transactions")
}

type rpcCall struct {
	method string
	params []any
}

func (c rpcCall) String() string {
	text, _ := json.Marshal(c.params)
	return c.method + string(text)
}

// response is the result of a call, or its error with code and data.
func response(client *gethrpc.Client, c rpcCall) string {
	return rpcdiff.Response(context.Background(), client, rpcdiff.Call{Method: c.method, Params: c.params})
}

type object = map[string]any

// TestSameAsGeth compares the response of every method with go-ethereum's, byte for byte, over the same chain.
// Our state is all fetched. The chain is once in memory and once package chain over a database.
func TestSameAsGeth(t *testing.T) {
	geth := startGethOn(t, mainChain())
	n := newFakeNode(t)
	n.chain.final = 5
	durable := newFakeNode(t, func(_ *Config, b *Backend) { b.Chain = openChain(t) })
	for name, ours := range map[string]*gethrpc.Client{"memory": n.client(t), "database": durable.client(t)} {
		for _, c := range conformanceCalls() {
			want, got := response(geth, c), response(ours, c)
			if got != want || strings.HasPrefix(got, "error -32601") {
				t.Errorf("%s: %s\n got %s\nwant %s", name, c, got, want)
			}
		}
	}
}

// openChain writes the main chain into a database and opens it again.
func openChain(t *testing.T) *chain.Chain {
	t.Helper()
	w, dir := mainChain(), t.TempDir()
	store, err := db.Open(dir, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	c, err := chain.New(store.Chain(), w.genesis)
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range w.blocks[1:] {
		err := c.Commit(block, w.receipts[i+1])
		if _, head := c.SetHead(block.Hash()); err != nil || head != nil {
			t.Fatal(err, head)
		}
	}
	if err := c.SetMarkers(w.blocks[5].Hash(), w.blocks[5].Hash()); err != nil {
		t.Fatal(err)
	}
	if c, err = chain.New(store.Chain(), w.genesis); err != nil { // with cold caches
		t.Fatal(err)
	}
	return c
}

func conformanceCalls() (calls []rpcCall) {
	w := mainChain()
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	for _, method := range []string{"eth_getFilterChanges", "eth_getFilterLogs", "eth_uninstallFilter"} {
		add(method, "0x1")
	}
	tags := []any{"latest", "earliest", "safe", "finalized", "0x0", "0x3", "0x9", "0xc", "0xd", "0xffffff"}
	for _, tag := range tags {
		add("eth_getBlockByNumber", tag, false)
		add("eth_getBlockByNumber", tag, true)
		add("eth_getHeaderByNumber", tag)
		add("eth_getBlockTransactionCountByNumber", tag)
		add("eth_getUncleCountByBlockNumber", tag)
		add("eth_getUncleByBlockNumberAndIndex", tag, "0x0")
		add("eth_getBlockReceipts", tag)
		add("eth_getTransactionByBlockNumberAndIndex", tag, "0x1")
		add("eth_getTransactionByBlockNumberAndIndex", tag, "0x7")
		add("eth_getRawTransactionByBlockNumberAndIndex", tag, "0x1")
		add("debug_getRawBlock", tag)
		add("debug_getRawHeader", tag)
		add("debug_getRawReceipts", tag)
		add("eth_getBalance", userAddr, tag)
		add("eth_getTransactionCount", userAddr, tag)
		add("eth_getStorageAt", counterAddr, "0x0", tag)
	}
	for _, block := range append(w.blocks[:4:4], w.blocks[9:]...) {
		hash := block.Hash()
		add("eth_getBlockByHash", hash, true)
		add("eth_getHeaderByHash", hash)
		add("eth_getBlockReceipts", hash)
		add("eth_getBlockReceipts", object{"blockHash": hash, "requireCanonical": true})
		add("eth_getBlockTransactionCountByHash", hash)
		add("eth_getUncleCountByBlockHash", hash)
		add("eth_getUncleByBlockHashAndIndex", hash, "0x0")
		add("eth_getTransactionByBlockHashAndIndex", hash, "0x0")
		add("eth_getRawTransactionByBlockHashAndIndex", hash, "0x0")
		add("eth_getBalance", userAddr, hash)
		add("eth_getLogs", object{"blockHash": hash})
		add("debug_getRawHeader", hash)
		add("debug_getRawReceipts", hash)
		add("engine_getPayloadBodiesByHashV1", []common.Hash{hash, {1}})
		add("engine_getPayloadBodiesByHashV2", []common.Hash{hash})
	}
	for _, block := range w.blocks {
		for _, tx := range block.Transactions() {
			add("eth_getTransactionByHash", tx.Hash())
			add("eth_getRawTransactionByHash", tx.Hash())
			add("eth_getTransactionReceipt", tx.Hash())
			add("debug_getRawTransaction", tx.Hash())
		}
	}
	unknown := common.Hash{1, 2}
	for _, method := range []string{"eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getRawTransactionByHash", "eth_getHeaderByHash", "eth_getBlockReceipts", "eth_getUncleCountByBlockHash"} {
		add(method, unknown)
	}
	add("eth_getBlockByHash", unknown, false)
	add("eth_getBalance", userAddr, unknown)
	add("eth_getBalance", userAddr)
	add("eth_chainId")
	add("eth_blockNumber")
	add("eth_syncing")
	add("eth_accounts")
	add("eth_config")
	add("net_version")
	add("net_listening")
	add("net_peerCount")
	add("web3_sha3", "0x1234")
	add("txpool_status")
	add("txpool_content")
	add("txpool_inspect")
	add("txpool_contentFrom", userAddr)
	calls = append(calls, stateConformance()...)
	calls = append(calls, executionConformance()...)
	calls = append(calls, callObjectConformance()...)
	calls = append(calls, overrideConformance()...)
	calls = append(calls, feeAndLogConformance()...)
	calls = append(calls, engineConformance()...)
	return calls
}

func stateConformance() (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	absent := common.Address{0xab, 0xcd}
	for _, addr := range []common.Address{userAddr, counterAddr, readerAddr, absent, {2}, common.HexToAddress("0x10005")} {
		add("eth_getBalance", addr, "latest")
		add("eth_getCode", addr, "latest")
		add("eth_getTransactionCount", addr, "latest")
		add("eth_getProof", addr, []string{}, "latest")
		add("eth_getProof", addr, []string{"0x0", "0x5", "0xdead", common.Hash{31: 7}.Hex()}, "0x6")
		add("eth_getStorageAt", addr, "0x5", "latest")
		add("eth_getStorageValues", object{addr.Hex(): []common.Hash{{31: 5}, {1}}}, "latest")
	}
	add("eth_getStorageAt", readerAddr, "0xzz", "latest")
	add("eth_getStorageAt", readerAddr, common.Hash{}.Hex()+"00", "latest")
	add("eth_getProof", readerAddr, []string{"nonsense"}, "latest")
	add("eth_getStorageValues", object{}, "latest")
	add("eth_getProof", readerAddr, make([]string, 1025), "latest")
	return calls
}

func feeAndLogConformance() (calls []rpcCall) {
	add := func(method string, params ...any) { calls = append(calls, rpcCall{method, params}) }
	add("eth_gasPrice")
	add("eth_maxPriorityFeePerGas")
	add("eth_baseFee")
	add("eth_blobBaseFee")
	add("eth_feeHistory", "0x3", "latest", []float64{10, 50, 90})
	add("eth_feeHistory", "0x64", "latest", []float64{0, 100})
	add("eth_feeHistory", "0x4", "0x6", nil)
	add("eth_feeHistory", "0x4", "0x6")
	add("eth_feeHistory", "0x1", "finalized", []float64{20})
	add("eth_feeHistory", "0x0", "latest", nil)
	add("eth_feeHistory", "0x2", "0x999", nil)
	add("eth_feeHistory", "0x2", "latest", []float64{50, 20})
	add("eth_feeHistory", "0x2", "latest", []float64{101})
	add("eth_feeHistory", "0x2", "latest", make([]float64, 101))
	for _, query := range []object{
		{},
		{"fromBlock": "0x0"},
		{"fromBlock": "earliest", "toBlock": "latest"},
		{"fromBlock": "0x2", "toBlock": "0x4", "address": counterAddr},
		{"fromBlock": "0x0", "address": []common.Address{readerAddr}},
		{"fromBlock": "0x0", "topics": []any{logTopic}},
		{"fromBlock": "0x0", "topics": []any{nil, common.BytesToHash(userAddr.Bytes())}},
		{"fromBlock": "0x0", "topics": []any{[]common.Hash{{1}, logTopic}, nil}},
		{"fromBlock": "0x0", "topics": []any{common.Hash{9}}},
		{"fromBlock": "0x0", "topics": []any{nil, nil, nil}},
		{"fromBlock": "0x4", "toBlock": "0x2"},
		{"fromBlock": "0x4", "toBlock": "0x99"},
		{"fromBlock": "safe", "toBlock": "finalized"},
		{"toBlock": "0x99"},
		{"toBlock": "0xc"},
		{"toBlock": "0x0"},
		{"fromBlock": "0x99"},
		{"fromBlock": "0xc"},
		{"fromBlock": "latest", "toBlock": "latest"},
		{"fromBlock": "latest", "toBlock": "safe"},
		{"fromBlock": "earliest", "toBlock": "0x99"},
		{"fromBlock": "0x99", "toBlock": "0x98"},
		{"fromBlock": "pending"},
		{"blockHash": common.Hash{1}},
		{"blockHash": common.Hash{1}, "fromBlock": "0x1"},
		{"topics": []any{nil, nil, nil, nil, nil}},
		{"address": "nonsense"},
	} {
		add("eth_getLogs", query)
	}
	return calls
}
