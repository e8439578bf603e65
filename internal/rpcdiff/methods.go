// SPDX-License-Identifier: LGPL-3.0-or-later

package rpcdiff

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// methods are the methods with makers of their parameters. Methods whose responses depend on time, on the process or on
// other calls (filters, profiles, peers, sending) are not among them.
func methods() map[string]func(*Generator) []any {
	none := func(*Generator) []any { return nil }
	byTx := func(g *Generator) []any { return []any{g.tx()} }
	byHash := func(g *Generator) []any { return []any{g.blockHash()} }
	byNumber := func(g *Generator) []any { return []any{g.number()} }
	at := func(g *Generator) []any { return []any{g.at()} }
	all := map[string]func(*Generator) []any{
		"eth_getBlockByHash":                         func(g *Generator) []any { return []any{g.blockHash(), g.random.IntN(2) == 0} },
		"eth_getBlockByNumber":                       func(g *Generator) []any { return []any{timeless(g.number), g.random.IntN(2) == 0} },
		"eth_getTransactionByBlockHashAndIndex":      func(g *Generator) []any { return []any{g.blockHash(), g.index()} },
		"eth_getTransactionByBlockNumberAndIndex":    func(g *Generator) []any { return []any{g.number(), g.index()} },
		"eth_getRawTransactionByBlockHashAndIndex":   func(g *Generator) []any { return []any{g.blockHash(), g.index()} },
		"eth_getRawTransactionByBlockNumberAndIndex": func(g *Generator) []any { return []any{g.number(), g.index()} },
		"eth_getUncleByBlockHashAndIndex":            func(g *Generator) []any { return []any{g.blockHash(), g.index()} },
		"eth_getUncleByBlockNumberAndIndex":          func(g *Generator) []any { return []any{g.number(), g.index()} },
		"eth_getLogs":                                func(g *Generator) []any { return []any{g.filter()} },
		"eth_feeHistory": func(g *Generator) []any {
			return []any{hexutil.Uint64(pick(g, []int{0, 1, 3, 40, 1024, 5000})), g.number(), pick(g, []any{[]float64{}, []float64{10, 50.5}, []float64{50, 10}})}
		},

		"eth_getBalance":          func(g *Generator) []any { return []any{g.address(), g.state()} },
		"eth_getCode":             func(g *Generator) []any { return []any{g.address(), g.state()} },
		"eth_getTransactionCount": func(g *Generator) []any { return []any{g.address(), g.state()} },
		"eth_getStorageAt":        func(g *Generator) []any { return []any{g.address(), g.slot(), g.state()} },
		"eth_getStorageValues": func(g *Generator) []any {
			return []any{map[string]any{g.address().Hex(): []common.Hash{{}, {31: 1}}}, g.state()}
		},
		"eth_getProof":         func(g *Generator) []any { return []any{g.address(), []any{g.slot(), g.slot()}, g.state()} },
		"eth_call":             func(g *Generator) []any { return g.withOverrides(g.call(), g.state()) },
		"eth_estimateGas":      func(g *Generator) []any { return g.withOverrides(g.call(), g.state()) },
		"eth_createAccessList": func(g *Generator) []any { return []any{g.call(), g.state()} },
		"eth_simulateV1": func(g *Generator) []any {
			return []any{map[string]any{"blockStateCalls": []any{map[string]any{"calls": []any{g.call(), g.call()}}}, "traceTransfers": g.random.IntN(2) == 0}, timeless(g.state)}
		},
		"eth_fillTransaction": func(g *Generator) []any { return []any{g.call()} },

		"debug_traceTransaction":   func(g *Generator) []any { return []any{g.recentTx(), g.tracer()} },
		"debug_traceBlockByNumber": func(g *Generator) []any { return []any{g.traceable(), g.tracer()} },
		"debug_traceCall":          func(g *Generator) []any { return []any{g.call(), g.state(), g.tracer()} },
		"debug_intermediateRoots":  func(g *Generator) []any { return []any{g.recentBlock()} },
		"debug_storageRangeAt": func(g *Generator) []any {
			return []any{g.traceable(), int(g.index()), g.address(), g.data(), int(g.index())}
		},
		"debug_accountRange": func(g *Generator) []any {
			return []any{g.state(), common.Hash{byte(g.random.IntN(256))}, 1 + int(g.index()), g.random.IntN(2) == 0, true, true}
		},
		"web3_sha3":          func(g *Generator) []any { return []any{g.data()} },
		"txpool_contentFrom": func(g *Generator) []any { return []any{g.address()} },
	}
	for _, name := range []string{
		"eth_accounts", "eth_baseFee", "eth_blobBaseFee", "eth_blockNumber", "eth_chainId", "eth_config", "eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_syncing",
		"eth_pendingTransactions", "net_version", "net_listening", "txpool_status", "txpool_content", "txpool_inspect",
	} {
		all[name] = none
	}
	for _, name := range []string{"eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getRawTransactionByHash", "debug_getRawTransaction"} {
		all[name] = byTx
	}
	for _, name := range []string{"eth_getHeaderByHash", "eth_getBlockTransactionCountByHash", "eth_getUncleCountByBlockHash"} {
		all[name] = byHash
	}
	for _, name := range []string{"eth_getHeaderByNumber", "eth_getBlockTransactionCountByNumber", "eth_getUncleCountByBlockNumber"} {
		all[name] = byNumber
	}
	for _, name := range []string{"eth_getBlockReceipts", "debug_getRawBlock", "debug_getRawHeader", "debug_getRawReceipts"} {
		all[name] = at
	}
	return all
}

// withOverrides adds state overrides to the parameters, sometimes.
func (g *Generator) withOverrides(params ...any) []any {
	if g.random.IntN(3) == 0 {
		params = append(params, g.overrides())
	}
	return params
}

// recentBlock is a block that can be traced, mostly.
func (g *Generator) recentBlock() common.Hash {
	return often(g, g.Blocks[max(0, len(g.Blocks)-30):], common.Hash{0xbb})
}

// recentTx is a transaction whose block can be traced, mostly.
func (g *Generator) recentTx() common.Hash {
	return often(g, g.Recent, common.Hash{0xee})
}
