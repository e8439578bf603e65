// SPDX-License-Identifier: LGPL-3.0-or-later

package rpcdiff

import (
	"encoding/json"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Call is one JSON-RPC call.
type Call struct {
	Method string
	Params []any
}

// String is the call as logs have it.
func (c Call) String() string {
	params, _ := json.Marshal(c.Params)
	return c.Method + string(params)
}

// Generator makes calls. The same World and seed always give the same calls.
type Generator struct {
	*World
	random  *rand.Rand
	methods []string
}

// NewGenerator returns a generator of calls of all methods of [Methods].
func NewGenerator(world *World, seed uint64) *Generator {
	return &Generator{World: world, random: rand.New(rand.NewPCG(seed, 0)), methods: Methods()}
}

// Methods are the methods that calls are made of.
func Methods() []string { return slices.Sorted(maps.Keys(methods())) }

// malformed is one in how many calls has a parameter that is changed at random.
const malformed = 20

// Next makes a call.
func (g *Generator) Next() Call {
	method := pick(g, g.methods)
	c := Call{method, methods()[method](g)}
	if g.random.IntN(malformed) == 0 {
		g.spoil(&c)
	}
	return c
}

// spoil changes the parameters of a call.
func (g *Generator) spoil(c *Call) {
	if len(c.Params) == 0 || g.random.IntN(6) == 0 {
		c.Params = append(c.Params, g.nonsense())
		return
	}
	at := g.random.IntN(len(c.Params))
	if g.random.IntN(3) == 0 {
		c.Params = c.Params[:at]
		return
	}
	c.Params = slices.Clone(c.Params)
	c.Params[at] = g.nonsense()
}

func (g *Generator) nonsense() any {
	return pick(g, []any{nil, "", "0x", "0x0", "0x00", "latest", "0xzz", -1, 1, true, []any{}, map[string]any{}, "0x" + big.NewInt(0).Exp(big.NewInt(2), big.NewInt(256), nil).Text(16)})
}

func pick[T any](g *Generator, list []T) T { return list[g.random.IntN(len(list))] }

// often is a known value mostly, and one that the chain does not have otherwise.
func often[T any](g *Generator, known []T, unknown T) T {
	if len(known) == 0 || g.random.IntN(12) == 0 {
		return unknown
	}
	return pick(g, known)
}

func (g *Generator) blockHash() common.Hash { return often(g, g.Blocks, common.Hash{0xbb}) }
func (g *Generator) tx() common.Hash        { return often(g, g.Transactions, common.Hash{0xee}) }
func (g *Generator) topic() common.Hash     { return often(g, g.Topics, common.Hash{0xcc}) }

func (g *Generator) address() common.Address {
	return often(g, g.Addresses, common.BigToAddress(big.NewInt(int64(g.random.IntN(30)))))
}

// number is a canonical block, or one above the head.
func (g *Generator) number() any {
	switch g.random.IntN(8) {
	case 0:
		return g.tag()
	case 1:
		return hexutil.Uint64(g.Head + uint64(g.random.IntN(3)))
	}
	return hexutil.Uint64(g.random.Uint64N(g.Head + 1))
}

// tag names a block.
func (g *Generator) tag() any {
	tags := []any{"latest", "earliest", "safe", "finalized"}
	if g.Pending {
		tags = append(tags, pending)
	}
	return pick(g, tags)
}

const pending = "pending"

// timeless is a block of those of a maker that is the same at any time, as the pending one is not.
func timeless(block func() any) any {
	for {
		if made := block(); made != pending {
			return made
		}
	}
}

// at is a block by number or hash.
func (g *Generator) at() any {
	switch g.random.IntN(5) {
	case 0:
		return g.blockHash()
	case 1:
		return map[string]any{"blockHash": g.blockHash(), "requireCanonical": g.random.IntN(2) == 0}
	case 2:
		return map[string]any{"blockNumber": g.number()}
	}
	return g.number()
}

// state is a block whose state both nodes have.
func (g *Generator) state() any {
	switch g.random.IntN(6) {
	case 0:
		return "latest"
	case 1:
		return hexutil.Uint64(g.Head + 1)
	case 2:
		if g.Pending {
			return pending
		}
	}
	return hexutil.Uint64(g.Oldest + g.random.Uint64N(g.Head-g.Oldest+1))
}

// traceable is a block whose parent's state both nodes have.
func (g *Generator) traceable() any {
	if g.random.IntN(6) == 0 {
		return "latest"
	}
	return hexutil.Uint64(min(g.Head, g.Oldest+1+g.random.Uint64N(g.Head-g.Oldest+1)))
}

func (g *Generator) index() hexutil.Uint64 { return hexutil.Uint64(g.random.IntN(4)) }

func (g *Generator) slot() any {
	return pick(g, []any{"0x0", "0x1", common.Hash{}, common.Hash{31: byte(g.random.IntN(8))}})
}

func (g *Generator) data() hexutil.Bytes {
	data := make([]byte, g.random.IntN(70))
	for i := range data {
		data[i] = byte(g.random.IntN(256))
	}
	return data
}

// call is a call object: a transfer, a call of a contract, a creation, with prices or without.
func (g *Generator) call() map[string]any {
	call := map[string]any{"from": g.address()}
	optional := map[string]func() any{
		"to":                   func() any { return g.address() },
		"value":                func() any { return hexutil.Uint64(g.random.IntN(3)) },
		"gas":                  func() any { return hexutil.Uint64(pick(g, []int{0, 21000, 60000, 1000000})) },
		"input":                func() any { return g.data() },
		"nonce":                func() any { return g.index() },
		"gasPrice":             func() any { return hexutil.Uint64(pick(g, []int{0, 1, 1e9})) },
		"maxFeePerGas":         func() any { return hexutil.Uint64(pick(g, []int{0, 1, 1e9})) },
		"maxPriorityFeePerGas": func() any { return hexutil.Uint64(pick(g, []int{0, 1, 1e9})) },
		"accessList": func() any {
			return []any{map[string]any{"address": g.address(), "storageKeys": []common.Hash{{}}}}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(optional)) {
		if name == "to" || g.random.IntN(4) == 0 {
			call[name] = optional[name]()
		}
	}
	if g.random.IntN(8) == 0 {
		delete(call, "to")
		call["input"] = hexutil.Bytes{0x60, 0x01, 0x60, 0x00, 0x55, 0x60, 0x00, 0x60, 0x00, 0xf3} // stores 1, returns no code
	}
	return call
}

// overrides are state overrides.
func (g *Generator) overrides() map[string]any {
	account, possible := map[string]any{}, map[string]any{
		"balance": hexutil.Uint64(1e18), "nonce": g.index(), "code": hexutil.Bytes{0x30, 0x31, 0x60, 0x00, 0x52, 0x60, 0x20, 0x60, 0x00, 0xf3},
		"stateDiff": map[common.Hash]common.Hash{{}: {31: 9}},
	}
	for _, name := range slices.Sorted(maps.Keys(possible)) {
		if g.random.IntN(2) == 0 {
			account[name] = possible[name]
		}
	}
	return map[string]any{g.address().Hex(): account}
}

// filter is a query for logs of a few blocks.
func (g *Generator) filter() map[string]any {
	filter := map[string]any{}
	if g.random.IntN(4) == 0 {
		filter["blockHash"] = g.blockHash()
	} else {
		first := g.random.Uint64N(g.Head + 1)
		filter["fromBlock"], filter["toBlock"] = hexutil.Uint64(first), hexutil.Uint64(min(g.Head, first+g.random.Uint64N(60)))
	}
	if g.random.IntN(2) == 0 {
		filter["address"] = pick(g, []any{g.address(), []common.Address{g.address(), g.address()}})
	}
	if g.random.IntN(2) == 0 {
		filter["topics"] = pick(g, []any{[]any{}, []any{g.topic()}, []any{nil, g.topic()}, []any{[]common.Hash{g.topic(), g.topic()}}})
	}
	return filter
}

// tracer is the configuration of a trace.
func (g *Generator) tracer() map[string]any {
	config := map[string]any{}
	if name := pick(g, []string{"", "callTracer", "prestateTracer", "4byteTracer", "flatCallTracer", "noopTracer", "keccak256PreimageTracer"}); name != "" {
		config["tracer"] = name
		switch name {
		case "callTracer":
			config["tracerConfig"] = map[string]any{"withLog": g.random.IntN(2) == 0, "onlyTopCall": g.random.IntN(4) == 0}
		case "prestateTracer":
			config["tracerConfig"] = map[string]any{"diffMode": g.random.IntN(2) == 0}
		}
		return config
	}
	for _, name := range []string{"enableMemory", "disableStack", "disableStorage", "enableReturnData"} {
		if g.random.IntN(3) == 0 {
			config[name] = true
		}
	}
	if g.random.IntN(3) == 0 {
		config["limit"] = 100
	}
	return config
}
