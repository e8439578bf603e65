// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// engineCall is one call of the Engine API.
type engineCall struct {
	what   string // for people
	method string
	params []any
	about  common.Hash // the block that the status is of; zero if the call is malformed
}

type fields = map[string]any

// toFields is a value as its JSON object.
func toFields(value any) (f fields) {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		panic(err) // no value of a test
	}
	return f
}

// engineCalls makes calls at random. It knows what became of the blocks that it made calls of.
type engineCalls struct {
	random   *rand.Rand
	genesis  common.Hash
	branches [][]*enginePayload // the first one is the longest; others leave it somewhere
	next     int                // position in the first branch of the block that no call was about
	good     []*enginePayload   // were VALID
	bad      []*enginePayload   // were INVALID, with a block hash that is right
	ids      []engine.PayloadID // of getPayload
	idForks  map[engine.PayloadID]int
}

func pick[T any](c *engineCalls, list []T) T { return list[c.random.IntN(len(list))] }

// oneIn is true once in n times.
func (c *engineCalls) oneIn(n int) bool { return c.random.IntN(n) == 0 }

func (c *engineCalls) hash() (h common.Hash) {
	for i := range h {
		h[i] = byte(c.random.UintN(256))
	}
	return h
}

// call makes the next one.
func (c *engineCalls) call() engineCall {
	switch n := c.random.IntN(100); {
	case n < 14:
		return c.newPayload("the next block", c.branches[0][min(c.next, len(c.branches[0])-1)])
	case n < 24:
		return c.newPayload("a block of some branch", pick(c, pick(c, c.branches)))
	case n < 44:
		return c.corrupt()
	case n < 48:
		return c.wrongVersion()
	case n < 53:
		return c.malformed()
	case n < 58:
		return c.onBad()
	case n < 80:
		return c.forkchoice()
	case n < 88:
		return c.getPayload()
	case n < 95:
		return c.bodies()
	}
	return c.other()
}

// near is a block whose parent is likely to be known: of the branches, around the next one.
func (c *engineCalls) near() *enginePayload {
	branch := pick(c, c.branches)
	return branch[max(0, min(len(branch)-1, c.next-c.random.IntN(4)+1))]
}

func (c *engineCalls) newPayload(what string, p *enginePayload) engineCall {
	call := c.payloadCall(p, p.version())
	call.what = fmt.Sprintf("%s: %s", what, p)
	if p.whole() {
		call.about = p.data.BlockHash
	}
	return call
}

// payloadCall is a call of some version of newPayload, with the number of parameters that it has.
func (c *engineCalls) payloadCall(p *enginePayload, version int) engineCall {
	all := []any{toFields(p.data), p.hashes, p.root, p.requests}
	count := [...]int{1: 1, 2: 1, 3: 3, 4: 4, 5: 4}[version]
	return engineCall{method: fmt.Sprintf("engine_newPayloadV%d", version), params: all[:count]}
}

// change is one wrong field.
type change struct {
	name string
	make func(*engineCalls, *enginePayload)
}

// changes are the fields of a payload, each wrong in some way.
func changes() []change {
	uint64Field := func(name string, field func(*enginePayload) *uint64) change {
		return change{name, func(c *engineCalls, p *enginePayload) {
			if f := field(p); f != nil {
				*f = pick(c, []uint64{*f + 1, *f - 1, 0, *f * 2, *f + 131072, 1<<63 - 1, 1 << 63, ^uint64(0)})
			}
		}}
	}
	hashField := func(name string, field func(*enginePayload) *common.Hash) change {
		return change{name, func(c *engineCalls, p *enginePayload) {
			if f := field(p); f != nil {
				*f = pick(c, []common.Hash{c.hash(), {}})
			}
		}}
	}
	return append(bodyChanges(),
		hashField("parentHash", func(p *enginePayload) *common.Hash { return &p.data.ParentHash }),
		hashField("stateRoot", func(p *enginePayload) *common.Hash { return &p.data.StateRoot }),
		hashField("receiptsRoot", func(p *enginePayload) *common.Hash { return &p.data.ReceiptsRoot }),
		hashField("prevRandao", func(p *enginePayload) *common.Hash { return &p.data.Random }),
		hashField("beaconRoot", func(p *enginePayload) *common.Hash { return p.root }),
		uint64Field("number", func(p *enginePayload) *uint64 { return &p.data.Number }),
		uint64Field("gasLimit", func(p *enginePayload) *uint64 { return &p.data.GasLimit }),
		uint64Field("gasUsed", func(p *enginePayload) *uint64 { return &p.data.GasUsed }),
		uint64Field("timestamp", func(p *enginePayload) *uint64 { return &p.data.Timestamp }),
		uint64Field("blobGasUsed", func(p *enginePayload) *uint64 { return p.data.BlobGasUsed }),
		uint64Field("excessBlobGas", func(p *enginePayload) *uint64 { return p.data.ExcessBlobGas }),
		uint64Field("slotNumber", func(p *enginePayload) *uint64 { return p.data.SlotNumber }),
		change{"parent's timestamp", func(_ *engineCalls, p *enginePayload) { p.data.Timestamp -= forksSlot }},
		change{"feeRecipient", func(c *engineCalls, p *enginePayload) { p.data.FeeRecipient = common.BytesToAddress(c.hash().Bytes()) }},
		change{"logsBloom", func(c *engineCalls, p *enginePayload) { p.data.LogsBloom[c.random.IntN(256)] ^= 1 }},
		change{"logsBloom's length", func(_ *engineCalls, p *enginePayload) { p.data.LogsBloom = p.data.LogsBloom[1:] }},
		change{"extraData", func(c *engineCalls, p *enginePayload) { p.data.ExtraData = make([]byte, c.random.IntN(40)) }},
		change{"baseFeePerGas", func(c *engineCalls, p *enginePayload) {
			p.data.BaseFeePerGas = pick(c, []*big.Int{{}, big.NewInt(1), new(big.Int).Add(p.data.BaseFeePerGas, common.Big1), new(big.Int).Lsh(common.Big1, 256), new(big.Int).Lsh(common.Big1, 255)})
		}},
	)
}

// bodyChanges are those of lists.
func bodyChanges() []change {
	return []change{
		{"transactions without the last", func(_ *engineCalls, p *enginePayload) {
			p.data.Transactions = p.data.Transactions[:len(p.data.Transactions)-1]
		}},
		{"a transaction twice", func(_ *engineCalls, p *enginePayload) {
			p.data.Transactions = append(p.data.Transactions, p.data.Transactions[0])
		}},
		{"transactions in another order", func(_ *engineCalls, p *enginePayload) { slices.Reverse(p.data.Transactions) }},
		{"a transaction with a changed byte", func(c *engineCalls, p *enginePayload) {
			tx := pick(c, p.data.Transactions)
			tx[c.random.IntN(len(tx))] ^= 1 << c.random.IntN(8)
		}},
		{"a transaction that does not decode", func(c *engineCalls, p *enginePayload) {
			p.data.Transactions[0] = pick(c, [][]byte{{}, {0x05}, {0x02, 0xff}, {0xc0}, {0x03, 0xc0}})
		}},
		{"no withdrawals", func(_ *engineCalls, p *enginePayload) {
			if p.data.Withdrawals != nil {
				p.data.Withdrawals = []*types.Withdrawal{}
			}
		}},
		{"one more withdrawal", func(_ *engineCalls, p *enginePayload) {
			p.data.Withdrawals = append(p.data.Withdrawals, &types.Withdrawal{Index: 1e6, Address: common.Address{9}, Amount: 1})
		}},
		{"withdrawals null", func(_ *engineCalls, p *enginePayload) { p.data.Withdrawals = nil }},
		{"versioned hashes", func(c *engineCalls, p *enginePayload) {
			p.hashes = pick(c, [][]common.Hash{append(p.hashes, c.hash()), {}, {{1}}, append([]common.Hash{{1, 1}}, p.hashes...)})
		}},
		{"requests", func(c *engineCalls, p *enginePayload) {
			p.requests = pick(c, [][]hexutil.Bytes{{}, {{1}}, {{0}, {1, 2}}, {{2, 2}, {1, 1}}, {{1, 1}, {1, 1}}, {{}}, {append(hexutil.Bytes{1}, make([]byte, 76)...)}, {{9, 9}}})
		}},
		{"access list", func(c *engineCalls, p *enginePayload) {
			list := p.data.BlockAccessList
			p.data.BlockAccessList = pick(c, [][]byte{nil, {}, {0xc0}, {0xc1, 0xc0}, {0xff}, append(slices.Clone(list), 0)})
			if len(list) > 0 && c.oneIn(2) {
				p.data.BlockAccessList = slices.Clone(list)
				p.data.BlockAccessList[c.random.IntN(len(list))] ^= 1
			}
		}},
	}
}

// copied is a payload that may be changed.
func (p *enginePayload) copied() *enginePayload {
	q := &enginePayload{root: cloned(p.root), hashes: slices.Clone(p.hashes), requests: slices.Clone(p.requests), data: p.data}
	q.data.BlobGasUsed, q.data.ExcessBlobGas, q.data.SlotNumber = cloned(p.data.BlobGasUsed), cloned(p.data.ExcessBlobGas), cloned(p.data.SlotNumber)
	q.data.LogsBloom, q.data.Withdrawals = slices.Clone(p.data.LogsBloom), slices.Clone(p.data.Withdrawals)
	q.data.Transactions = slices.Clone(p.data.Transactions)
	for i, tx := range q.data.Transactions {
		q.data.Transactions[i] = slices.Clone(tx)
	}
	return q
}

func cloned[T any](value *T) *T {
	if value == nil {
		return nil
	}
	return new(*value)
}

// rehash gives a payload the block hash that it has, if it decodes.
func (p *enginePayload) rehash() {
	if block, err := p.block(); err == nil {
		p.data.BlockHash = block.Hash()
	}
}

// corrupt is a payload with one wrong field, with its own block hash or that of the right one.
func (c *engineCalls) corrupt() engineCall {
	p, wrong := c.near().copied(), pick(c, changes())
	version := p.version()
	wrong.make(c, p)
	what := "wrong " + wrong.name
	if !c.oneIn(4) {
		p.rehash()
		what += ", own hash"
	}
	call := c.payloadCall(p, version)
	call.what = fmt.Sprintf("%s: %s", what, p)
	if p.whole() {
		call.about = p.data.BlockHash
		c.bad = append(c.bad, p) // unless it is valid
	}
	return call
}

// onBad is a block on one that may be invalid.
func (c *engineCalls) onBad() engineCall {
	if len(c.bad) == 0 {
		return c.corrupt()
	}
	parent := pick(c, c.bad)
	if c.oneIn(3) {
		return c.newPayload("a corrupted one again", parent)
	}
	p := parent.copied()
	p.data.ParentHash, p.data.Number, p.data.Timestamp = parent.data.BlockHash, parent.data.Number+1, parent.data.Timestamp+forksSlot
	p.rehash()
	call := c.newPayload("on a corrupted one", p)
	if p.whole() {
		c.bad = append(c.bad, p)
	}
	return call
}

// wrongVersion is a good payload by another version of newPayload.
func (c *engineCalls) wrongVersion() engineCall {
	p, version := c.near().copied(), 1+c.random.IntN(5)
	if c.oneIn(2) { // what the version wants is there
		p.hashes, p.root, p.requests = append([]common.Hash{}, p.hashes...), &common.Hash{1}, append([]hexutil.Bytes{}, p.requests...)
	}
	call := c.payloadCall(p, version)
	call.what = fmt.Sprintf("newPayloadV%d of %s", version, p)
	return call
}

// nonsense is a value of the wrong type or form.
func (c *engineCalls) nonsense() any {
	return pick(c, []any{nil, "", "0x", "0x0", "0x1", "0x01", "0xzz", 7, -1, 1.5, true, []any{}, []any{nil}, fields{}, "0x" + fmt.Sprintf("%066x", 5), common.Hash{}, "latest"})
}

// spoil replaces a parameter, a member of one, or the number of parameters.
func (c *engineCalls) spoil(params []any) ([]any, string) {
	params = slices.Clone(params)
	switch at := c.random.IntN(len(params) + 3); {
	case at < len(params):
		params[at] = c.nonsense()
		return params, fmt.Sprintf("parameter %d is %v", at, params[at])
	case at == len(params):
		return params[:len(params)-1], "a parameter less"
	case at == len(params)+1:
		return append(params, c.nonsense()), "a parameter more"
	}
	members, ok := params[0].(fields)
	if !ok {
		params[0] = c.nonsense()
		return params, fmt.Sprintf("parameter 0 is %v", params[0])
	}
	members = maps.Clone(members)
	name := pick(c, slices.Sorted(maps.Keys(members)))
	params[0] = members
	if c.oneIn(3) {
		delete(members, name)
		return params, "without " + name
	}
	members[name] = c.nonsense()
	return params, fmt.Sprintf("%s is %v", name, members[name])
}

func (c *engineCalls) malformed() engineCall {
	p := c.near()
	call := c.payloadCall(p, p.version())
	call.params, call.what = c.spoil(call.params)
	call.what += ": " + p.String()
	return call
}

// blockHash is one of any kind.
func (c *engineCalls) blockHash() (common.Hash, string) {
	switch n := c.random.IntN(20); {
	case n < 2:
		return c.genesis, "genesis"
	case n < 3:
		return c.hash(), "unknown"
	case n < 4:
		return common.Hash{}, "zero"
	case n < 6 && len(c.bad) > 0:
		p := pick(c, c.bad)
		return p.data.BlockHash, "corrupted " + p.String()
	case n < 8:
		p := pick(c, pick(c, c.branches))
		return p.data.BlockHash, "some " + p.String()
	case n < 16 && len(c.good) > 0:
		p := c.good[max(0, len(c.good)-1-c.random.IntN(3))]
		return p.data.BlockHash, "recent " + p.String()
	case len(c.good) > 0:
		p := pick(c, c.good)
		return p.data.BlockHash, "old " + p.String()
	}
	return c.genesis, "genesis"
}

// forkchoice has a head, and sometimes safe and finalized blocks and attributes, of any kind.
func (c *engineCalls) forkchoice() engineCall {
	head, what := c.blockHash()
	state := forkchoiceOf(head)
	what = "head " + what
	if c.oneIn(4) {
		what += c.mark(state)
	}
	time := uint64(forksGenesis)
	for _, p := range slices.Concat(append(slices.Clone(c.branches), c.bad)...) {
		if p.data.BlockHash == head {
			time = p.data.Timestamp
		}
	}
	slot := int((time - forksGenesis) / forksSlot)
	version := forkchoiceVersion(uint64(slot + 1))
	call := engineCall{params: []any{state, nil}, about: head}
	if !c.oneIn(3) {
		attributes, wrong := c.attributes(time, version)
		call.params[1] = attributes
		what += ", attributes" + wrong
	}
	if c.oneIn(10) {
		version = 1 + c.random.IntN(4)
	}
	call.method = fmt.Sprintf("engine_forkchoiceUpdatedV%d", version)
	if c.oneIn(20) {
		var wrong string
		call.params, wrong = c.spoil(call.params)
		what += ", " + wrong
		if state, ok := call.params[0].(fields); !ok || state["headBlockHash"] != head {
			call.about = common.Hash{}
		}
	}
	call.what = what
	return call
}

// mark sets safe or finalized blocks of a fork choice. The finalized one stays low: consensus clients make no reorg below it, and geth
// applies it before it finds another safe one wrong.
func (c *engineCalls) mark(state fields) (what string) {
	marker, kind := c.blockHash()
	name := "safeBlockHash"
	if c.oneIn(2) {
		name = "finalizedBlockHash"
		if p := c.branches[0][0]; !c.oneIn(3) {
			marker, kind = p.data.BlockHash, p.String()
		} else if slices.ContainsFunc(c.good, func(p *enginePayload) bool { return p.data.BlockHash == marker }) {
			marker, kind = c.hash(), "unknown"
		}
	}
	state[name] = marker
	return fmt.Sprintf(", %s %s", name, kind)
}

// forkchoiceVersion is that of forkchoiceUpdated with attributes for a slot.
func forkchoiceVersion(slot uint64) int {
	return [...]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 4}[newPayloadVersion(slot)]
}

// attributes are those of the next block, sometimes with something wrong.
func (c *engineCalls) attributes(parent uint64, version int) (fields, string) {
	a := fields{"timestamp": hexutil.Uint64(parent + forksSlot), "prevRandao": common.Hash{byte(c.random.IntN(3))}, "suggestedFeeRecipient": common.Address{byte(c.random.IntN(3))}}
	if version >= 2 {
		a["withdrawals"] = []fields{}
		if c.oneIn(3) {
			a["withdrawals"] = []fields{{"index": "0x1", "validatorIndex": "0x2", "address": common.Address{3}, "amount": hexutil.Uint64(c.random.IntN(2))}}
		}
	}
	if version >= 3 {
		a["parentBeaconBlockRoot"] = common.Hash{byte(c.random.IntN(2))}
	}
	if version >= 4 {
		a["slotNumber"] = hexutil.Uint64(1000 + c.random.IntN(2))
		if c.oneIn(2) {
			a["targetGasLimit"] = hexutil.Uint64(pick(c, []uint64{30_000_000, 60_000_000, 1000, 0}))
		}
	}
	if !c.oneIn(3) {
		return a, ""
	}
	name := pick(c, []string{"timestamp", "prevRandao", "suggestedFeeRecipient", "withdrawals", "parentBeaconBlockRoot", "slotNumber"})
	switch c.random.IntN(4) {
	case 0:
		delete(a, name)
	case 1:
		a[name] = c.nonsense()
	case 2:
		a["timestamp"] = pick(c, []any{hexutil.Uint64(parent), hexutil.Uint64(parent - 1), hexutil.Uint64(0), hexutil.Uint64(parent + 1), hexutil.Uint64(parent + 1000)})
		return a, fmt.Sprintf(" of %v", a["timestamp"])
	default:
		a["withdrawals"] = pick(c, []any{nil, []any{nil}, []fields{{}}, []fields{{"index": "0x1"}}})
		return a, fmt.Sprintf(" with withdrawals %v", a["withdrawals"])
	}
	return a, fmt.Sprintf(" with %s %v", name, a[name])
}

func (c *engineCalls) getPayload() engineCall {
	id, version := engine.PayloadID{byte(1 + c.random.IntN(4)), 2, 3}, 1+c.random.IntN(6)
	what := "unknown"
	if len(c.ids) > 0 && !c.oneIn(5) {
		id = pick(c, c.ids[max(0, len(c.ids)-5):])
		what = "known"
		if !c.oneIn(3) {
			version = c.idForks[id]
		}
	}
	call := engineCall{method: fmt.Sprintf("engine_getPayloadV%d", version), params: []any{id}, what: what + " payload " + id.String()}
	if c.oneIn(12) {
		call.params, call.what = c.spoil(call.params)
	}
	return call
}

func (c *engineCalls) bodies() engineCall {
	version := 1 + c.random.IntN(2)
	var call engineCall
	if c.oneIn(2) {
		var hashes []common.Hash
		for range c.random.IntN(6) {
			hash, _ := c.blockHash()
			hashes = append(hashes, hash)
		}
		call = engineCall{method: fmt.Sprintf("engine_getPayloadBodiesByHashV%d", version), params: []any{hashes}}
	} else {
		call = engineCall{method: fmt.Sprintf("engine_getPayloadBodiesByRangeV%d", version), params: []any{
			hexutil.Uint64(c.random.IntN(c.next + 4)), hexutil.Uint64(pick(c, []uint64{0, 1, 3, 20, 1024, 1025})),
		}}
	}
	if c.oneIn(8) {
		call.params, call.what = c.spoil(call.params)
	}
	return call
}

// other is a call of the rest.
func (c *engineCalls) other() engineCall {
	hashes := make([]common.Hash, pick(c, []int{0, 1, 3, 128, 129}))
	calls := []engineCall{
		{method: "engine_exchangeTransitionConfigurationV1", params: []any{fields{"terminalTotalDifficulty": "0x0", "terminalBlockHash": common.Hash{}, "terminalBlockNumber": "0x0"}}},
		{method: "engine_getBlobsV1", params: []any{hashes}},
		{method: "engine_getBlobsV2", params: []any{hashes}},
		{method: "engine_getBlobsV3", params: []any{hashes}},
		{method: "engine_getBlobsV4", params: []any{hashes, "0x" + fmt.Sprintf("%032x", 3)}},
		{method: "engine_hasBlobs", params: []any{hashes}},
		{method: "engine_noSuchMethodV1", params: []any{}},
		{method: "engine_newPayloadV6", params: []any{}},
	}
	call := pick(c, calls)
	if c.oneIn(4) && len(call.params) > 0 {
		call.params, call.what = c.spoil(call.params)
	}
	return call
}
