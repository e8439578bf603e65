// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/miner"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// The ID of a payload is go-ethereum's.
func TestID(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hash := func() (h common.Hash) {
		for i := range h {
			h[i] = byte(random.Uint32())
		}
		return h
	}
	for range 200 {
		a := Attributes{Parent: hash(), Version: engine.PayloadVersion(1 + random.IntN(4))}
		a.Timestamp, a.Random, a.SuggestedFeeRecipient = random.Uint64(), hash(), common.Address(hash().Bytes()[:20])
		for range random.IntN(3) {
			a.Withdrawals = append(a.Withdrawals, &types.Withdrawal{Index: random.Uint64(), Validator: 3, Amount: random.Uint64()})
		}
		if random.IntN(2) == 0 {
			root := hash()
			a.BeaconRoot = &root
		}
		if random.IntN(2) == 0 {
			slot, limit := random.Uint64(), random.Uint64()
			a.SlotNumber, a.TargetGasLimit = &slot, &limit
		}
		theirs := miner.BuildPayloadArgs{
			Parent: a.Parent, Timestamp: a.Timestamp, FeeRecipient: a.SuggestedFeeRecipient, Random: a.Random, Withdrawals: a.Withdrawals,
			BeaconRoot: a.BeaconRoot, SlotNum: a.SlotNumber, TargetGasLimit: a.TargetGasLimit, Version: a.Version,
		}
		if a.ID() != theirs.Id() {
			t.Fatalf("ID of %+v is %v, go-ethereum's %v", a, a.ID(), theirs.Id())
		}
	}
}

// transfer is a transaction of a user to an account that exists.
func transfer(c *testChain, user int, nonce uint64, tipGwei int64) *types.Transaction {
	to := testchain.FillerAddress(user)
	return signed(c, user, &types.DynamicFeeTx{
		ChainID: c.config.ChainID, Nonce: nonce, To: &to, Value: common.Big1, Gas: 21_000,
		GasTipCap: big.NewInt(tipGwei * params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
	})
}

func signed(c *testChain, user int, tx types.TxData) *types.Transaction {
	return types.MustSignNewTx(testchain.Key(user), types.LatestSigner(c.config), tx)
}

func mustStart(t *testing.T, b *Builder, a Attributes) engine.PayloadID {
	t.Helper()
	id, err := b.Start(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A payload has an empty block at once, then transactions, until it is asked for.
func TestPayload(t *testing.T) {
	for fork, config := range configs() {
		t.Run(fork, func(t *testing.T) {
			c := newTestChain(config)
			txs := new(listPool)
			b := running(t, newTestBuilder(t, c, txs, func(cfg *Config) { cfg.Settings.Recommit = time.Millisecond }))
			a := attributesOn(c, c.head)
			a.Withdrawals = []*types.Withdrawal{{Index: 1, Validator: 2, Address: common.Address{5}, Amount: 6}}
			id := mustStart(t, b, a)
			if best, _, _ := b.lookup(id).current(); best == nil || len(best.Block.Transactions()) > 0 || best.Block.NumberU64() != 1 {
				t.Fatalf("first block %v", best)
			}
			txs.set(transfer(c, 1, 0, 3), transfer(c, 1, 1, 5), transfer(c, 2, 0, 4))
			until(t, "block with all transactions", func() bool {
				best, _, _ := b.lookup(id).current()
				return len(best.Block.Transactions()) == 3
			})
			envelope, err := b.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			tips := new(big.Int).Mul(big.NewInt(3+5+4), big.NewInt(21_000*params.GWei))
			if envelope.BlockValue.Cmp(tips) != 0 || envelope.Override || envelope.BlobsBundle == nil {
				t.Errorf("envelope %+v", envelope)
			}
			if amsterdam := fork == "amsterdam"; (envelope.ExecutionPayload.SlotNumber != nil) != amsterdam || (envelope.ExecutionPayload.BlockAccessList != nil) != amsterdam {
				t.Errorf("slot number %v, access list %x", envelope.ExecutionPayload.SlotNumber, envelope.ExecutionPayload.BlockAccessList)
			}
			if envelope.Requests == nil {
				t.Error("no execution requests: not an empty list")
			}
			txs.set(append(txs.txs, transfer(c, 3, 0, 4))...) // too late
			again, err := b.Get(t.Context(), id)
			if err != nil || again.ExecutionPayload.BlockHash != envelope.ExecutionPayload.BlockHash {
				t.Errorf("asked again: %v, %v", again, err)
			}
			c.adopt(t, blockOf(t, envelope.ExecutionPayloadEnvelope, a.BeaconRoot))
			if paid := c.account(t, a.SuggestedFeeRecipient).Balance; paid.ToBig().Cmp(tips) != 0 {
				t.Errorf("the fee recipient has %v wei, want %v", paid, tips)
			}
		})
	}
}

// account is an account under the head. It must exist.
func (c *testChain) account(t *testing.T, addr common.Address) *types.StateAccount {
	t.Helper()
	root := c.CurrentHeader().Root
	reader, err := trie.Open(t.Context(), root, c, nil).Reader(root)
	if err != nil {
		t.Fatal(err)
	}
	account, err := reader.Account(addr)
	if err != nil || account == nil {
		t.Fatalf("account %x: %v, %v", addr, account, err)
	}
	return account
}

// Several payloads exist at once, also on different parents; the oldest are forgotten.
func TestSeveralPayloads(t *testing.T) {
	c := newTestChain(testchain.Config())
	b := running(t, newTestBuilder(t, c, new(listPool)))
	genesis := c.head
	var ids []engine.PayloadID
	for i := range maxPayloads {
		a := attributesOn(c, genesis)
		a.Timestamp += uint64(i)
		ids = append(ids, mustStart(t, b, a))
		if again := mustStart(t, b, a); again != ids[i] {
			t.Fatalf("ID %v, then %v", ids[i], again)
		}
	}
	first, err := b.Get(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	a := attributesOn(c, genesis)
	c.adopt(t, blockOf(t, first.ExecutionPayloadEnvelope, a.BeaconRoot))
	other := mustStart(t, b, attributesOn(c, c.head)) // on another parent
	if payload, err := b.Get(t.Context(), other); err != nil || payload.ExecutionPayload.ParentHash != c.head.Hash() {
		t.Errorf("payload on the new head: %+v, %v", payload, err)
	}
	if payload, err := b.Get(t.Context(), ids[5]); err != nil || payload.ExecutionPayload.ParentHash != genesis.Hash() {
		t.Errorf("payload on the old head: %+v, %v", payload, err)
	}
	if _, err := b.Get(t.Context(), ids[0]); !errors.Is(err, ErrUnknownPayload) {
		t.Errorf("the oldest payload: %v", err)
	}
}

func TestWrongAttributes(t *testing.T) {
	c := newTestChain(configs()["amsterdam"])
	b := running(t, newTestBuilder(t, c, new(listPool)))
	for name, change := range map[string]func(*Attributes){
		"time of the parent": func(a *Attributes) { a.Timestamp = genesisTime },
		"no slot":            func(a *Attributes) { a.SlotNumber = nil },
		"unknown parent":     func(a *Attributes) { a.Parent = common.Hash{1} },
	} {
		a := attributesOn(c, c.head)
		change(&a)
		if id, err := b.Start(t.Context(), a); err == nil || b.lookup(id) != nil {
			t.Errorf("%s: payload %v, %v", name, id, err)
		}
	}
}

// Transactions are tried by tip, those of one sender by nonce.
func TestOrder(t *testing.T) {
	c := newTestChain(testchain.Config())
	random := rand.New(rand.NewPCG(3, 4))
	baseFee := uint256.NewInt(params.GWei)
	for range 50 {
		txs := new(listPool)
		for user := 1; user <= 8; user++ {
			for nonce := range random.IntN(6) {
				txs.txs = append(txs.txs, transfer(c, user, uint64(nonce), int64(random.IntN(10))))
			}
		}
		pending := txs.Pending(filterPlain())
		queue := newCandidates(baseFee, maps.Clone(pending))
		var got []*types.Transaction
		for next := queue.best(); next != nil; next = queue.best() {
			for _, other := range queue.queue {
				if other.tip.Gt(&next.tip) {
					t.Fatalf("tip %v before %v", &next.tip, &other.tip)
				}
			}
			got = append(got, next.tx.Tx)
			queue.shift()
		}
		if len(got) != len(txs.txs) {
			t.Fatalf("%d of %d transactions", len(got), len(txs.txs))
		}
		for _, list := range pending {
			last := -1
			for _, lazy := range list {
				at := slices.Index(got, lazy.Tx)
				if at < last {
					t.Fatal("nonces out of order")
				}
				last = at
			}
		}
	}
}

// Blocks keep the limits of gas, blobs and bytes, and what the operator chose.
func TestLimits(t *testing.T) {
	c := newTestChain(testchain.Config())
	txs := new(listPool)
	sidecar := sidecars()[2]
	for user := 1; user <= 10; user++ {
		txs.txs = append(txs.txs, signed(c, user, &types.BlobTx{
			ChainID: uint256.MustFromBig(c.config.ChainID), Gas: 21_000, BlobFeeCap: uint256.NewInt(params.GWei), BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
			GasTipCap: uint256.NewInt(uint64(user) * params.GWei), GasFeeCap: uint256.NewInt(100 * params.GWei),
		}))
	}
	for user := 11; user <= 25; user++ {
		txs.txs = append(txs.txs, signed(c, user, &types.DynamicFeeTx{
			ChainID: c.config.ChainID, To: &burnerAddr, Gas: 3_000_000, GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
		}))
	}
	for most, want := range map[int]int{0: 9, 7: 6, 1: 0, 100: 9} {
		b := newTestBuilder(t, c, txs, func(cfg *Config) {
			cfg.Settings.MaxBlobs, cfg.Settings.ExtraData, cfg.Settings.GasLimit = most, []byte("ours"), 20_000_000
		})
		payload, err := b.BuildOnce(t.Context(), attributesOn(c, c.head), nil, []byte("extra"))
		if err != nil {
			t.Fatal(err)
		}
		data := payload.ExecutionPayload
		if got := len(payload.BlobsBundle.Blobs); got != want || uint64(got)*params.BlobTxBlobGasPerBlob != *data.BlobGasUsed {
			t.Errorf("at most %d blobs: %d in the block, blob gas %d, want %d", most, got, *data.BlobGasUsed, want)
		}
		if proofs := len(payload.BlobsBundle.Proofs); proofs != want*128 {
			t.Errorf("%d proofs of %d blobs", proofs, want)
		}
		if data.GasUsed > data.GasLimit || data.GasUsed < data.GasLimit-3_000_000 {
			t.Errorf("gas %d of %d", data.GasUsed, data.GasLimit)
		}
		if data.GasLimit >= c.head.GasLimit || string(data.ExtraData) != "extra" {
			t.Errorf("gas limit %d after %d, extra data %q", data.GasLimit, c.head.GasLimit, data.ExtraData)
		}
	}
}

// A block ends below the size limit of EIP-7934.
func TestBlockSize(t *testing.T) {
	c := newTestChain(testchain.Config())
	c.blocks[c.head.Hash()] = c.made.Root()
	header := types.CopyHeader(c.head) // as if the parent had a large gas limit
	header.GasLimit = 400_000_000
	parent := types.NewBlockWithHeader(header)
	c.blocks[parent.Hash()], c.head = parent, header
	txs := new(listPool)
	for i := range 90 {
		to := common.Address{9}
		txs.txs = append(txs.txs, signed(c, 1+i%users, &types.DynamicFeeTx{
			ChainID: c.config.ChainID, Nonce: uint64(i / users), To: &to, Data: make([]byte, 120_000), Gas: 1_500_000, GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
		}))
	}
	b := newTestBuilder(t, c, txs, func(cfg *Config) { cfg.Settings.GasLimit = 400_000_000 })
	payload, err := b.BuildOnce(t.Context(), attributesOn(c, c.head), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, tx := range payload.ExecutionPayload.Transactions {
		size += len(tx)
	}
	if most := params.MaxBlockSize - 1_000_000; size > most || size < most-200_000 {
		t.Errorf("%d bytes of transactions, at most %d fit", size, most)
	}
}

// A transaction that runs when the time is up is left out, and the rest is a valid block.
func TestTimeUp(t *testing.T) {
	c := newTestChain(configs()["prague"])
	r := newTestBuilder(t, c, new(listPool)).newRoundOn(t, attributesOn(c, c.head))
	ctx, cancel := context.WithCancel(t.Context())
	draft, err := r.draft(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Close()
	if err := draft.Add(transfer(c, 1, 0, 1)); err != nil {
		t.Fatal(err)
	}
	added := 1
	endless := signed(c, 2, &types.DynamicFeeTx{
		ChainID: c.config.ChainID, To: &burnerAddr, Gas: 29_000_000, GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
	})
	go cancel()
	for {
		if err = draft.Add(endless); err != nil {
			break
		}
		added++
		endless = signed(c, 2, &types.DynamicFeeTx{ChainID: c.config.ChainID, Nonce: endless.Nonce() + 1, To: &burnerAddr, Gas: 100_000, GasFeeCap: big.NewInt(100 * params.GWei)})
	}
	if !errors.Is(err, evm.ErrTimeUp) {
		t.Fatalf("after the time was up: %v", err)
	}
	built, err := draft.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if len(built.Block.Transactions()) != added {
		t.Errorf("%d transactions of %d", len(built.Block.Transactions()), added)
	}
	c.adopt(t, built.Block)
}

// newRoundOn is a round of a payload that is not kept.
func (b *Builder) newRoundOn(t *testing.T, a Attributes) *round {
	t.Helper()
	p, err := b.newPayload(a)
	if err != nil {
		t.Fatal(err)
	}
	return b.newRound(p)
}
