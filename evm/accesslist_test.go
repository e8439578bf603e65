// SPDX-License-Identifier: LGPL-3.0-or-later

package evm_test

import (
	"context"
	"errors"
	"maps"
	"math/big"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// storedBlock is one block, its parent, and the database
// that holds the parent's state by hash.
type storedBlock struct {
	config *params.ChainConfig
	db     ethdb.Database
	parent *types.Header
	block  *types.Block
}

// newAmsterdam makes a block of transfers and of calls to a contract that counts in
// storage and another that asks for a block hash.
func newAmsterdam(t *testing.T) *storedBlock {
	t.Helper()
	config := *params.MergedTestChainConfig
	config.AmsterdamTime = new(uint64)
	var (
		counter = common.HexToAddress("0xc0de") // slot[caller] = slot[caller]+1
		hashes  = common.HexToAddress("0xc0df") // slot[0] = blockhash(number-1)
		alloc   = core.SystemContractAllocs()
		signer  = types.LatestSigner(&config)
		engine  = beacon.New(ethash.NewFaker())
	)
	maps.Copy(alloc, types.GenesisAlloc{
		counter: {Code: common.FromHex("3354600101335500"), Balance: new(big.Int)},
		hashes:  {Code: common.FromHex("600143034060005500"), Balance: new(big.Int)},
	})
	keys := make([][]byte, 24)
	for i := range keys {
		keys[i] = crypto.Keccak256([]byte{byte(i)})
		key, err := crypto.ToECDSA(keys[i])
		if err != nil {
			t.Fatal(err)
		}
		alloc[crypto.PubkeyToAddress(key.PublicKey)] = types.Account{Balance: big.NewInt(params.Ether)}
	}
	db, blocks, _ := core.GenerateChainWithGenesis(&core.Genesis{Config: &config, Alloc: alloc}, engine, 4, func(_ int, b *core.BlockGen) {
		for i, seed := range keys {
			key, _ := crypto.ToECDSA(seed)
			to := []common.Address{counter, hashes, {byte(i), 1}}[i%3]
			b.AddTx(types.MustSignNewTx(key, signer, &types.LegacyTx{
				Nonce: b.TxNonce(crypto.PubkeyToAddress(key.PublicKey)), GasPrice: b.BaseFee(), Gas: 400_000, To: &to, Value: big.NewInt(int64(i % 3 / 2)),
			}))
		}
	})
	last := len(blocks) - 1
	if blocks[last].AccessList() == nil {
		t.Fatal("no access list")
	}
	rawdb.WriteHeader(db, blocks[0].Header())
	for _, block := range blocks[:last] {
		rawdb.WriteHeader(db, block.Header())
	}
	return &storedBlock{&config, db, blocks[last-1].Header(), blocks[last]}
}

func (a *storedBlock) FetchNode(_ context.Context, f trie.Fault) ([]byte, error) {
	return a.db.Get(f.Hash[:])
}

func (a *storedBlock) FetchCode(_ context.Context, hash common.Hash) ([]byte, error) {
	return rawdb.ReadCode(a.db, hash), nil
}

func (a *storedBlock) Header(_ context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	return rawdb.ReadHeader(a.db, hash, number), nil
}

func (a *storedBlock) execute(ctx context.Context, block *types.Block, source trie.Source) *evm.Result {
	return evm.NewExecutor(a.config).Execute(ctx, evm.Job{
		Block: block, Parent: a.parent, State: trie.Open(ctx, a.parent.Root, nil, source), Headers: a,
	})
}

// failing fails the k-th fetch of a concurrent execution.
type failing struct {
	*storedBlock
	mu    sync.Mutex
	count int
	at    int
}

func (f *failing) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.count == f.at
}

func (f *failing) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if f.fails() {
		return nil, errFailed
	}
	return f.storedBlock.FetchNode(ctx, fault)
}

func (f *failing) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	if f.fails() {
		return nil, errFailed
	}
	return f.storedBlock.FetchCode(ctx, hash)
}

// TestAccessList executes with an access list (in parallel) and without.
func TestAccessList(t *testing.T) {
	a := newAmsterdam(t)
	attached := a.block
	plain := types.NewBlockWithHeader(attached.Header()).WithBody(*attached.Body())
	shorter := (*attached.AccessList())[:len(*attached.AccessList())-1]
	wrong := attached.WithAccessListUnsafe(&shorter)
	committed := reseal(wrong, func(h *types.Header) {
		hash := shorter.Hash()
		h.BlockAccessListHash = &hash
	})
	mismatch := reseal(attached, func(h *types.Header) { h.BlockAccessListHash = &common.Hash{1} })

	for name, c := range map[string]struct {
		block   *types.Block
		outcome evm.Outcome
		list    *bal.BlockAccessList
	}{
		"attached":               {attached, evm.Valid, attached.AccessList()},
		"without":                {plain, evm.Valid, nil},
		"another than committed": {wrong, evm.Valid, nil},
		"wrong and committed to": {committed, evm.Invalid, nil},
		"wrong hash in header":   {mismatch, evm.Invalid, nil},
		"wrong root":             {reseal(attached, func(h *types.Header) { h.Root[0] ^= 1 }), evm.Invalid, nil},
		"wrong receipts":         {reseal(attached, func(h *types.Header) { h.ReceiptHash[0] ^= 1 }), evm.Invalid, nil},
		"wrong gas":              {reseal(attached, func(h *types.Header) { h.GasUsed-- }), evm.Invalid, nil},
	} {
		t.Run(name, func(t *testing.T) {
			result := a.execute(t.Context(), c.block, a)
			if result.Outcome != c.outcome {
				t.Fatalf("%v: %v", result.Outcome, result.Err)
			}
			var want []byte
			if c.list != nil {
				want, _ = rlp.EncodeToBytes(c.list)
			}
			if string(result.AccessList) != string(want) {
				t.Errorf("access list of %d bytes, not %d", len(result.AccessList), len(want))
			}
		})
	}
}

// TestAccessListFailedFetch fails every k-th fetch of the parallel execution.
func TestAccessListFailedFetch(t *testing.T) {
	a := newAmsterdam(t)
	whole := &failing{storedBlock: a}
	if result := a.execute(t.Context(), a.block, whole); result.Outcome != evm.Valid {
		t.Fatalf("%v: %v", result.Outcome, result.Err)
	}
	for k := 1; k <= whole.count; k++ {
		result := a.execute(t.Context(), a.block, &failing{storedBlock: a, at: k})
		// Which reads there are varies a little: two goroutines may fault on one node.
		if result.Outcome == evm.Invalid || result.Outcome == evm.Incomplete && !errors.Is(result.Err, errFailed) {
			t.Fatalf("fetch %d of %d: %v: %v", k, whole.count, result.Outcome, result.Err)
		}
		if k < whole.count/2 && result.Outcome == evm.Valid {
			t.Fatalf("fetch %d of %d failed, and the block is valid", k, whole.count)
		}
	}
	t.Logf("%d fetches", whole.count)
}
