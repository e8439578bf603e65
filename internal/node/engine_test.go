// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestEngineAPI takes a node through what consensus clients and the suites of hive do: each case goes on where the one before
// ended, and the chain must go on after each of them.
func TestEngineAPI(t *testing.T) {
	p := newProposer(t)
	p.propose() // as a client that comes from genesis
	for _, test := range []struct {
		name string
		run  func(p *proposer)
	}{
		{"payload IDs", testPayloadIDs},
		{"attributes", testAttributes},
		{"fork choices", testForkchoices},
		{"fee recipient", testFeeRecipient},
		{"prevRandao", testRandao},
		{"withdrawals", testWithdrawals},
		{"visible after the fork choice", testBlockStatus},
		{"payloads again", testReExecution},
		{"payloads in parallel", testParallelPayloads},
		{"wrong hashes", testBadHashes},
		{"invalid payloads", testInvalidPayloads},
		{"missing parents", testMissingParents},
		{"transactions in reorgs", testTransactionReorg},
		{"back in the canonical chain", testBackToCanonical},
		{"bodies", testBodies},
		{"errors", testErrors},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.T = t
			test.run(p)
			p.propose(p.transact(common.Address{0xaa}))
		})
	}
	p.T = t
	p.n.stop(t)
}

// Attributes have an ID for each of their values, the same each time; a payload that was returned does not change.
func testPayloadIDs(p *proposer) {
	head, seen := p.head(), make(map[engine.PayloadID]string)
	base := *p.attributes(head)
	for name, change := range map[string]func(*engine.PayloadAttributes){
		"none":           func(*engine.PayloadAttributes) {},
		"timestamp":      func(a *engine.PayloadAttributes) { a.Timestamp++ },
		"prevRandao":     func(a *engine.PayloadAttributes) { a.Random[5]++ },
		"fee recipient":  func(a *engine.PayloadAttributes) { a.SuggestedFeeRecipient[5]++ },
		"beacon root":    func(a *engine.PayloadAttributes) { a.BeaconRoot = &common.Hash{7} },
		"a withdrawal":   func(a *engine.PayloadAttributes) { a.Withdrawals = []*types.Withdrawal{{Index: 1}} },
		"two":            func(a *engine.PayloadAttributes) { a.Withdrawals = []*types.Withdrawal{{Index: 1}, {Index: 2}} },
		"another amount": func(a *engine.PayloadAttributes) { a.Withdrawals = []*types.Withdrawal{{Index: 1, Amount: 1}} },
	} {
		attributes := base
		change(&attributes)
		id, again := p.mustChoose(head.Hash(), &attributes), p.mustChoose(head.Hash(), &attributes)
		if id == nil || again == nil || *id != *again {
			p.Fatalf("%s: IDs %v and %v", name, id, again)
		}
		if other, taken := seen[*id]; taken {
			p.Errorf("changes of %s and %s have the same ID", name, other)
		}
		seen[*id] = name
		first, second := p.get(*id, &attributes), p.get(*id, &attributes)
		if first.BlockHash != second.BlockHash || first.Timestamp != attributes.Timestamp || first.Random != attributes.Random ||
			first.FeeRecipient != attributes.SuggestedFeeRecipient || len(first.Withdrawals) != len(attributes.Withdrawals) || first.ParentHash != head.Hash() {
			p.Errorf("%s: payload %+v, then %x", name, first, second.BlockHash)
		}
	}
}

// Wrong attributes are an error, and the fork choice is applied all the same; unless the head is not known.
func testAttributes(p *proposer) {
	for _, timestamp := range []func(parent uint64) uint64{
		func(uint64) uint64 { return 0 }, func(parent uint64) uint64 { return parent - 1 }, func(parent uint64) uint64 { return parent },
	} {
		b := p.build(p.head(), p.attributes(p.head()))
		p.valid(b)
		attributes := p.attributes(p.head())
		attributes.Timestamp = timestamp(b.Timestamp)
		_, err := p.choose(b.BlockHash, attributes)
		p.wants("timestamp", err, invalidAttributes)
		if p.head().Hash() != b.BlockHash {
			p.Error("the fork choice was not applied")
		}
		p.mustChoose(b.BlockHash, nil)
	}
	head, attributes := p.head(), p.attributes(p.head())
	attributes.Timestamp = 0
	response, err := p.choose(common.Hash{0xde, 0xad}, attributes)
	if err != nil || response.PayloadStatus.Status != engine.SYNCING || response.PayloadStatus.LatestValidHash != nil || response.PayloadID != nil {
		p.Errorf("wrong attributes for an unknown head: %+v, %v", response, err)
	}
	p.mustChoose(head.Hash(), nil)
}

// Safe and finalized blocks must be known ancestors of the head, else nothing changes.
func testForkchoices(p *proposer) {
	base := p.head()
	side := []*proposal{p.propose(), p.propose(), p.propose()}
	p.mustChoose(base.Hash(), nil)
	main := []*proposal{p.propose(), p.propose(), p.propose()}
	good := engine.ForkchoiceStateV1{HeadBlockHash: main[2].BlockHash, SafeBlockHash: main[1].BlockHash, FinalizedBlockHash: main[0].BlockHash}
	for name, change := range map[string]func(*engine.ForkchoiceStateV1){
		"head on a side chain":      func(s *engine.ForkchoiceStateV1) { s.HeadBlockHash = side[2].BlockHash },
		"safe on a side chain":      func(s *engine.ForkchoiceStateV1) { s.SafeBlockHash = side[1].BlockHash },
		"finalized on a side chain": func(s *engine.ForkchoiceStateV1) { s.FinalizedBlockHash = side[0].BlockHash },
		"unknown safe":              func(s *engine.ForkchoiceStateV1) { s.SafeBlockHash = common.Hash{0xde} },
		"unknown finalized":         func(s *engine.ForkchoiceStateV1) { s.FinalizedBlockHash = common.Hash{0xde} },
	} {
		state := good
		change(&state)
		for _, attributes := range []*engine.PayloadAttributes{nil, p.attributes(p.head())} {
			_, err := p.forkchoice(state, attributes)
			p.wants(name, err, invalidForkchoice)
		}
		p.mustChoose(main[2].BlockHash, nil)
	}
	if response, err := p.forkchoice(good, nil); err != nil || response.PayloadStatus.Status != engine.VALID {
		p.Fatalf("good fork choice: %+v, %v", response, err)
	}
	if latest, safe, final := p.numbered("latest"), p.numbered("safe"), p.numbered("finalized"); latest != good.HeadBlockHash || safe != good.SafeBlockHash || final != good.FinalizedBlockHash {
		p.Errorf("latest %x, safe %x, finalized %x", latest, safe, final)
	}
	p.final = good.FinalizedBlockHash
	state := good
	state.HeadBlockHash = common.Hash{0xbe, 0xef} // that nobody has
	if response, err := p.forkchoice(state, p.attributes(p.head())); err != nil || response.PayloadStatus.Status != engine.SYNCING || response.PayloadID != nil {
		p.Errorf("unknown head: %+v, %v", response, err)
	}
	p.mustChoose(main[2].BlockHash, nil)
}

// The fee recipient receives the value of the block, and nobody else.
func testFeeRecipient(p *proposer) {
	var txs []*types.Transaction
	for range 20 {
		txs = append(txs, p.transact(common.Address{0xab}))
	}
	b := p.propose(txs...)
	if want := big.NewInt(20 * 21000 * 2e9); p.balance(b.FeeRecipient).Cmp(want) != 0 || b.value.Cmp(want) != 0 {
		p.Errorf("the fee recipient has %v, the value is %v, want %v", p.balance(b.FeeRecipient), b.value, want)
	}
}

func (p *proposer) balance(addr common.Address) *big.Int {
	p.Helper()
	var balance hexutil.Big
	check(p.T, p.client.CallContext(p.Context(), &balance, "eth_getBalance", addr, "latest"))
	return balance.ToInt()
}

// PREVRANDAO is that of the attributes.
func testRandao(p *proposer) {
	for range 2 {
		b := p.propose(p.transact(randaoAddr))
		var value common.Hash
		check(p.T, p.client.CallContext(p.Context(), &value, "eth_getStorageAt", randaoAddr, hexutil.Uint64(b.Number), "latest"))
		if value != b.Random {
			p.Errorf("block %d has stored %x, its prevRandao is %x", b.Number, value, b.Random)
		}
	}
}

// Withdrawals pay accounts, also new ones and several times; those of nothing make no account.
func testWithdrawals(p *proposer) {
	attributes := p.attributes(p.head())
	for i, amount := range []uint64{1, 2, 0, 5} {
		attributes.Withdrawals = append(attributes.Withdrawals, &types.Withdrawal{Index: uint64(i), Validator: 7, Address: common.Address{0xd0, byte(i / 2)}, Amount: amount})
	}
	b := p.build(p.head(), attributes)
	p.valid(b)
	p.mustChoose(b.BlockHash, nil)
	for i, gwei := range []int64{3, 5} {
		if got := p.balance(common.Address{0xd0, byte(i)}); got.Cmp(big.NewInt(gwei*1e9)) != 0 {
			p.Errorf("account %d has %v", i, got)
		}
	}
	parent := b.ParentHash
	p.invalid("an amount changed", p.changed(b, func(b *proposal) {
		b.Withdrawals = slices.Clone(b.Withdrawals)
		b.Withdrawals[0] = &types.Withdrawal{Address: b.Withdrawals[0].Address, Amount: 9}
	}), &parent)
}

// A block and its receipts are visible once it is the head, and not before.
func testBlockStatus(p *proposer) {
	head, tx := p.head(), p.transact(slotAddr, make([]byte, 32)...)
	b := p.build(head, p.attributes(head), tx)
	p.valid(b)
	if p.numbered("latest") != head.Hash() || p.minedIn(tx) != nil {
		p.Error("visible before the fork choice")
	}
	p.mustChoose(b.BlockHash, nil)
	if in := p.minedIn(tx); p.numbered("latest") != b.BlockHash || in == nil || *in != b.BlockHash {
		p.Errorf("not visible after the fork choice: receipt of %v", in)
	}
}

// A payload that was executed is VALID again, in any order.
func testReExecution(p *proposer) {
	var blocks []*proposal
	for i := range 5 {
		blocks = append(blocks, p.propose(p.transact(common.Address{0xac, byte(i)})))
	}
	for range 2 {
		for _, b := range blocks {
			p.valid(b)
		}
		slices.Reverse(blocks)
	}
}

// Siblings are VALID before and after one of them is the head.
func testParallelPayloads(p *proposer) {
	head, tx := p.head(), p.transact(common.Address{0xad})
	b := p.build(head, p.attributes(head), tx)
	for i := range 20 {
		sibling := p.changed(b, func(b *proposal) { b.Random = common.Hash{0xef, byte(i)} })
		if i == 10 {
			p.valid(b)
			p.mustChoose(b.BlockHash, nil)
		}
		p.valid(sibling)
	}
	p.mustChoose(b.BlockHash, nil)
}
