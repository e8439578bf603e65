// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"math/big"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// A payload whose hash is wrong is INVALID without a latest valid hash, whether its parent is known or not, also while the
// node lacks its head.
func testBadHashes(p *proposer) {
	head := p.head()
	b := p.build(head, p.attributes(head))
	wrong := func(parent common.Hash) *proposal {
		other := *b
		other.ParentHash = parent
		other.BlockHash[31] = ^other.BlockHash[31]
		return &other
	}
	p.invalid("wrong hash", wrong(b.ParentHash), nil)
	p.invalid("wrong hash on a side chain", wrong(head.ParentHash), nil)
	own := *b
	own.BlockHash = own.ParentHash
	p.invalid("the hash of the parent", &own, nil)
	own.ParentHash = common.Hash{0xab}
	own.BlockHash = own.ParentHash
	p.invalid("the hash of an unknown parent", &own, nil)
	if response, err := p.choose(common.Hash{0xcd}, nil); err != nil || response.PayloadStatus.Status != engine.SYNCING {
		p.Fatalf("unknown head: %+v, %v", response, err)
	}
	p.invalid("wrong hash on an unknown head", wrong(common.Hash{0xcd}), nil)
	p.invalid("wrong hash without a head", wrong(b.ParentHash), nil)
	on := p.changed(b, func(b *proposal) { b.ParentHash = wrong(head.Hash()).BlockHash })
	if status := p.send(on); status.Status == engine.VALID || status.LatestValidHash != nil {
		p.Errorf("on a payload with a wrong hash: %+v", status)
	}
	p.valid(b)
	p.mustChoose(b.BlockHash, nil)
}

// A payload with one wrong field is INVALID, its parent is the latest valid hash, it cannot become the head, it is not
// returned by its hash, and what is built on it is INVALID too. The chain goes on from its parent.
func testInvalidPayloads(p *proposer) {
	head := p.head()
	b := p.build(head, p.attributes(head), p.transact(slotAddr, append(make([]byte, 31), 9)...), p.transact(common.Address{0xae}))
	parent := head.Hash()
	for name, change := range map[string]func(*proposal){
		"state root":        func(b *proposal) { b.StateRoot[3]++ },
		"receipts root":     func(b *proposal) { b.ReceiptsRoot[3]++ },
		"logs bloom":        func(b *proposal) { b.LogsBloom = append([]byte{1}, b.LogsBloom[1:]...) },
		"gas used":          func(b *proposal) { b.GasUsed-- },
		"gas limit":         func(b *proposal) { b.GasLimit *= 2 },
		"number":            func(b *proposal) { b.Number++ },
		"timestamp":         func(b *proposal) { b.Timestamp = head.Time },
		"base fee":          func(b *proposal) { b.BaseFeePerGas = b.BaseFeePerGas.Add(b.BaseFeePerGas, common.Big1) },
		"a transaction":     func(b *proposal) { b.Transactions = b.Transactions[1:] },
		"order":             func(b *proposal) { b.Transactions = [][]byte{b.Transactions[1], b.Transactions[0]} },
		"blob gas used":     func(b *proposal) { b.BlobGasUsed = new(uint64(131072)) },
		"excess blob gas":   func(b *proposal) { b.ExcessBlobGas = new(*b.ExcessBlobGas + 131072) },
		"beacon root":       func(b *proposal) { b.root[4]++ },
		"requests":          func(b *proposal) { b.requests = []hexutil.Bytes{append([]byte{0}, make([]byte, 192)...)} },
		"another signature": func(b *proposal) { b.Transactions = [][]byte{b.Transactions[0], flip(b.Transactions[1])} },
	} {
		wrong := p.changed(b, func(b *proposal) {
			b.BaseFeePerGas = new(big.Int).Set(b.BaseFeePerGas)
			change(b)
		})
		p.invalid(name, wrong, &parent)
		p.invalid(name+" again", wrong, &parent)
		attributes := p.attributes(head)
		attributes.Timestamp += 24
		if response, err := p.choose(wrong.BlockHash, attributes); err != nil || response.PayloadStatus.Status != engine.INVALID || response.PayloadID != nil {
			p.Errorf("%s as the head: %+v, %v", name, response, err)
		}
		if p.known(wrong.BlockHash) || p.head().Hash() != parent {
			p.Errorf("%s: the block is returned, or the head changed", name)
		}
		p.invalid("on "+name, p.changed(b, func(b *proposal) {
			b.ParentHash, b.Number, b.Timestamp = wrong.BlockHash, wrong.Number+1, wrong.Timestamp+100
		}), &parent)
		id := p.mustChoose(parent, attributes) // a payload is built after it
		if built := p.get(*id, attributes); built.ParentHash != parent {
			p.Errorf("%s: a payload on %x", name, built.ParentHash)
		}
	}
	p.valid(b)
	p.mustChoose(b.BlockHash, nil)
}

// flip changes the last byte, of a signature.
func flip(raw []byte) []byte {
	raw = slices.Clone(raw)
	raw[len(raw)-1] ^= 1
	return raw
}

// A payload whose parent is missing is SYNCING; it is VALID when the parent is there, and INVALID if it is not valid.
func testMissingParents(p *proposer) {
	other := newProposer(p.T) // has the same genesis
	defer other.n.stop(p.T)
	for _, number := range p.numbers(1, p.head().Number.Uint64()) {
		other.valid(p.stored(number))
	}
	other.mustChoose(p.head().Hash(), nil)
	other.nonce = p.nonce
	first := other.propose(other.transact(common.Address{0xaf}))
	second := other.propose(other.transact(common.Address{0xaf}))
	p.nonce = other.nonce
	wrong := p.changed(second, func(b *proposal) { b.StateRoot[0]++ })
	for _, b := range []*proposal{second, wrong} {
		if status := p.send(b); status.Status != engine.SYNCING || status.LatestValidHash != nil {
			p.Errorf("without its parent: %+v", status)
		}
		if response, err := p.choose(b.BlockHash, p.attributes(p.head())); err != nil || response.PayloadStatus.Status != engine.SYNCING || response.PayloadID != nil {
			p.Errorf("as the head: %+v, %v", response, err)
		}
		if p.known(b.BlockHash) {
			p.Error("a block that was not executed is returned")
		}
	}
	p.valid(first)
	p.invalid("with its parent", wrong, &first.BlockHash)
	p.valid(second)
	p.mustChoose(second.BlockHash, nil)
}

// numbers from first to last.
func (p *proposer) numbers(first, last uint64) (list []uint64) {
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

// stored is a canonical block as a payload.
func (p *proposer) stored(number uint64) *proposal {
	p.Helper()
	block := p.n.chain.BlockByNumber(number)
	return &proposal{ExecutableData: *engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload, root: *block.BeaconRoot(), requests: []hexutil.Bytes{}}
}

// A transaction that a reorg drops has no receipt, and is in the next payload again. In a block of the other branch it has the
// receipt of that block.
func testTransactionReorg(p *proposer) {
	for range 3 {
		head := p.head()
		attributes := p.attributes(head)
		id := p.mustChoose(head.Hash(), attributes)
		without := p.get(*id, attributes)
		tx := p.transact(slotAddr, append(make([]byte, 31), 7)...)
		with := p.build(head, p.attributes(head), tx)
		twin := p.changed(with, func(b *proposal) { b.ExtraData = []byte{1} })
		if len(without.Transactions) > 0 || p.minedIn(tx) != nil {
			p.Fatal("a transaction before it was sent, or a receipt before its block")
		}
		p.valid(with)
		p.mustChoose(with.BlockHash, nil)
		for _, b := range []*proposal{twin, with, without} {
			p.valid(b)
			p.mustChoose(b.BlockHash, nil)
			in := p.minedIn(tx)
			if p.numbered("latest") != b.BlockHash || (in == nil) != (b == without) || in != nil && *in != b.BlockHash {
				p.Errorf("head %x, receipt of %v", b.BlockHash, in)
			}
		}
		p.propose(tx) // the pool has it again
	}
}

// The head goes back to an ancestor, and forward again on the same or another branch.
func testBackToCanonical(p *proposer) {
	base := p.head()
	for range 3 {
		var main []*proposal
		for range 5 {
			main = append(main, p.propose(p.transact(common.Address{0xa1})))
		}
		p.mustChoose(base.Hash(), nil)
		if p.numbered(hexutil.EncodeUint64(main[0].Number)) != (common.Hash{}) {
			p.Error("a block above the head is canonical")
		}
		side := p.propose()
		p.mustChoose(base.Hash(), nil)
		p.valid(side)
		p.mustChoose(main[4].BlockHash, nil)
		if p.numbered(hexutil.EncodeUint64(main[0].Number)) != main[0].BlockHash {
			p.Error("the first branch is not canonical again")
		}
		p.mustChoose(main[1].BlockHash, nil)
		p.propose(p.transact(common.Address{0xa2})) // after those of the blocks above, which are in the pool again
		base = p.head()
	}
}

// Bodies by number are those of the canonical chain, those by hash of any block that was executed; null for others.
func testBodies(p *proposer) {
	base := p.head()
	side := p.propose(p.transact(common.Address{0xa3}))
	p.mustChoose(base.Hash(), nil)
	main := p.propose()
	head := p.head().Number.Uint64()
	type body struct {
		Transactions []hexutil.Bytes
		Withdrawals  []*types.Withdrawal
	}
	var bodies []*body
	check(p.T, p.client.CallContext(p.Context(), &bodies, "engine_getPayloadBodiesByHashV1", []common.Hash{side.BlockHash, {0xde}, main.BlockHash}))
	if len(bodies) != 3 || bodies[0] == nil || bodies[1] != nil || bodies[2] == nil || len(bodies[0].Transactions) != len(side.Transactions) || len(bodies[2].Transactions) != len(main.Transactions) || bodies[2].Withdrawals == nil {
		p.Errorf("bodies by hash: %+v", bodies)
	}
	for _, r := range []struct{ start, count, want uint64 }{{head, 1, 1}, {head - 1, 2, 2}, {head, 5, 1}, {head + 1, 1, 0}, {1, head, head}, {head + 1000, 1000, 0}} {
		bodies = nil
		check(p.T, p.client.CallContext(p.Context(), &bodies, "engine_getPayloadBodiesByRangeV1", hexutil.Uint64(r.start), hexutil.Uint64(r.count)))
		if uint64(len(bodies)) != r.want || slices.Contains(bodies, nil) {
			p.Errorf("from %d, %d blocks: %d bodies, want %d", r.start, r.count, len(bodies), r.want)
		}
	}
}

// Each kind of wrong request has its error code.
func testErrors(p *proposer) {
	head, attributes := p.head(), p.attributes(p.head())
	b := p.build(head, attributes)
	state := engine.ForkchoiceStateV1{HeadBlockHash: head.Hash(), FinalizedBlockHash: p.final}
	missing := func(change func(*engine.PayloadAttributes)) engine.PayloadAttributes {
		a := *attributes
		change(&a)
		return a
	}
	hashes := make([]common.Hash, 1025)
	for _, test := range []struct {
		want   int
		method string
		params []any
	}{
		{unknownPayload, "engine_getPayloadV4", []any{engine.PayloadID{3, 1}}},
		{unsupportedFork, "engine_getPayloadV4", []any{engine.PayloadID{2, 1}}},
		{unsupportedFork, "engine_getPayloadV5", []any{p.mustChoose(head.Hash(), attributes)}},
		{unsupportedFork, "engine_getPayloadV3", []any{p.mustChoose(head.Hash(), attributes)}},
		{invalidParams, "engine_getPayloadV4", []any{"0x01"}},
		{invalidParams, "engine_getPayloadV4", nil},
		{invalidAttributes, "engine_forkchoiceUpdatedV3", []any{state, missing(func(a *engine.PayloadAttributes) { a.BeaconRoot = nil })}},
		{invalidAttributes, "engine_forkchoiceUpdatedV3", []any{state, missing(func(a *engine.PayloadAttributes) { a.Withdrawals = nil })}},
		{invalidAttributes, "engine_forkchoiceUpdatedV2", []any{state, attributes}},
		{unsupportedFork, "engine_forkchoiceUpdatedV2", []any{state, missing(func(a *engine.PayloadAttributes) { a.BeaconRoot = nil })}},
		{invalidParams, "engine_forkchoiceUpdatedV3", []any{"0x", nil}},
		{invalidParams, "engine_newPayloadV4", []any{b.ExecutableData, []common.Hash{}, nil, b.requests}},
		{invalidParams, "engine_newPayloadV4", []any{b.ExecutableData, nil, b.root, b.requests}},
		{invalidParams, "engine_newPayloadV4", []any{b.ExecutableData, []common.Hash{}, b.root, nil}},
		{unsupportedFork, "engine_newPayloadV3", []any{b.ExecutableData, []common.Hash{}, b.root}},
		{invalidParams, "engine_newPayloadV2", []any{b.ExecutableData}},
		{tooLarge, "engine_getPayloadBodiesByHashV1", []any{hashes}},
		{tooLarge, "engine_getPayloadBodiesByRangeV1", []any{"0x1", "0x401"}},
		{invalidParams, "engine_getPayloadBodiesByRangeV1", []any{"0x0", "0x1"}},
		{invalidParams, "engine_getPayloadBodiesByRangeV1", []any{"0x1", "0x0"}},
		{tooLarge, "engine_getBlobsV1", []any{hashes[:129]}},
		{-32601, "engine_getPayloadV9", nil},
	} {
		p.wants(test.method, p.client.CallContext(p.Context(), nil, test.method, test.params...), test.want)
	}
	if status := (engine.PayloadStatusV1{}); p.client.CallContext(p.Context(), &status, "engine_newPayloadV4", b.ExecutableData, []common.Hash{{1}}, b.root, b.requests) != nil || status.Status != engine.INVALID || status.LatestValidHash != nil {
		p.Errorf("wrong versioned hashes: %+v", status)
	}
	p.capabilities()
}

// capabilities are all methods but exchangeCapabilities, and each is there.
func (p *proposer) capabilities() {
	p.Helper()
	var names []string
	check(p.T, p.client.CallContext(p.Context(), &names, "engine_exchangeCapabilities", []string{"engine_newPayloadV4"}))
	for _, want := range []string{
		"newPayloadV1", "newPayloadV2", "newPayloadV3", "newPayloadV4", "newPayloadV5", "forkchoiceUpdatedV1", "forkchoiceUpdatedV2", "forkchoiceUpdatedV3", "forkchoiceUpdatedV4",
		"getPayloadV1", "getPayloadV2", "getPayloadV3", "getPayloadV4", "getPayloadV5", "getPayloadV6", "getPayloadBodiesByHashV1", "getPayloadBodiesByRangeV1",
		"getPayloadBodiesByHashV2", "getPayloadBodiesByRangeV2", "getBlobsV1", "getBlobsV2", "getBlobsV3", "getBlobsV4", "getClientVersionV1",
	} {
		if !slices.Contains(names, "engine_"+want) {
			p.Errorf("capabilities lack %s", want)
		}
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "engine_exchangeCapabilities") }) {
		p.Error("exchangeCapabilities is a capability")
	}
	for _, name := range names {
		if err := p.client.CallContext(p.Context(), nil, name, []any{}); code(err) == -32601 {
			p.Errorf("%s is listed and not there", name)
		}
	}
}
