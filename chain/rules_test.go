// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/chain"
)

func TestVerifyHeader(t *testing.T) {
	w := newTwoBranches()
	config, parent, good := w.genesis.Config, w.main[3].Header(), w.main[4].Header()
	for i, block := range w.main[1:] {
		if err := chain.VerifyHeader(config, block.Header(), w.main[i].Header()); err != nil {
			t.Fatalf("block %d: %v", block.Number(), err)
		}
	}
	one := uint64(1)
	for name, change := range map[string]func(h *types.Header){
		"number":             func(h *types.Header) { h.Number.Add(h.Number, common.Big1) },
		"no number":          func(h *types.Header) { h.Number = nil },
		"huge number":        func(h *types.Header) { h.Number.Lsh(common.Big1, 64) },
		"negative number":    func(h *types.Header) { h.Number.SetInt64(-5) },
		"no difficulty":      func(h *types.Header) { h.Difficulty = nil },
		"proof of work":      func(h *types.Header) { h.Difficulty = big.NewInt(131072) },
		"huge difficulty":    func(h *types.Header) { h.Difficulty.Lsh(common.Big1, 90) },
		"parent":             func(h *types.Header) { h.ParentHash[0]++ },
		"timestamp":          func(h *types.Header) { h.Time = parent.Time },
		"gas limit":          func(h *types.Header) { h.GasLimit += h.GasLimit / 1000 },
		"gas used":           func(h *types.Header) { h.GasUsed = h.GasLimit + 1 },
		"base fee":           func(h *types.Header) { h.BaseFee.Add(h.BaseFee, common.Big1) },
		"no base fee":        func(h *types.Header) { h.BaseFee = nil },
		"extra data":         func(h *types.Header) { h.Extra = make([]byte, 33) },
		"nonce":              func(h *types.Header) { h.Nonce[0] = 1 },
		"uncles":             func(h *types.Header) { h.UncleHash = common.Hash{} },
		"no withdrawals":     func(h *types.Header) { h.WithdrawalsHash = nil },
		"no beacon root":     func(h *types.Header) { h.ParentBeaconRoot = nil },
		"no blob gas":        func(h *types.Header) { h.BlobGasUsed = nil },
		"no excess blob gas": func(h *types.Header) { h.ExcessBlobGas = nil },
		"excess blob gas":    func(h *types.Header) { h.ExcessBlobGas = &one },
		"part of a blob":     func(h *types.Header) { h.BlobGasUsed = &one },
		"no requests hash":   func(h *types.Header) { h.RequestsHash = nil },
		"slot number early":  func(h *types.Header) { h.SlotNumber = &one },
		"access list early":  func(h *types.Header) { h.BlockAccessListHash = &common.Hash{} },
	} {
		header := types.CopyHeader(good)
		change(header)
		if err := chain.VerifyHeader(config, header, parent); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
	if chain.VerifyHeader(config, nil, parent) == nil || chain.VerifyHeader(config, good, nil) == nil {
		t.Error("no header passed")
	}
	// A parent that was not checked must not cause a panic.
	for name, change := range map[string]func(h *types.Header){
		"no base fee":   func(h *types.Header) { h.BaseFee = nil },
		"no blob gas":   func(h *types.Header) { h.BlobGasUsed, h.ExcessBlobGas = nil, nil },
		"half blob gas": func(h *types.Header) { h.BlobGasUsed = nil },
		"no gas limit":  func(h *types.Header) { h.GasLimit = 0 },
	} {
		odd, header := types.CopyHeader(parent), types.CopyHeader(good)
		change(odd)
		header.ParentHash = odd.Hash()
		if err := chain.VerifyHeader(config, header, odd); err == nil {
			t.Errorf("parent with %s: passed", name)
		}
	}
	// The consensus client decides about time: the future is no error.
	late := types.CopyHeader(good)
	late.Time += 1 << 32
	if err := chain.VerifyHeader(config, late, parent); err != nil {
		t.Errorf("timestamp in the future: %v", err)
	}
}

// TestMerge: proof of work may lead to proof of stake, and never back.
func TestMerge(t *testing.T) {
	config := *params.TestChainConfig
	config.TerminalTotalDifficulty = big.NewInt(1 << 20)
	genesis := &core.Genesis{Config: &config, GasLimit: 8_000_000, BaseFee: big.NewInt(params.InitialBaseFee), Difficulty: big.NewInt(131072)}
	_, pow, _ := core.GenerateChainWithGenesis(genesis, ethash.NewFaker(), 3, nil)
	for i, block := range pow {
		parent := genesis.ToBlock()
		if i > 0 {
			parent = pow[i-1]
		}
		if err := chain.VerifyHeader(&config, block.Header(), parent.Header()); err != nil {
			t.Fatalf("proof of work %d: %v", i+1, err)
		}
	}
	stake := types.CopyHeader(pow[2].Header())
	stake.Difficulty = new(big.Int)
	if err := chain.VerifyHeader(&config, stake, pow[1].Header()); err != nil {
		t.Fatalf("transition: %v", err)
	}
	work := types.CopyHeader(pow[2].Header())
	work.Number, work.ParentHash, work.Time = big.NewInt(4), stake.Hash(), stake.Time+10
	if err := chain.VerifyHeader(&config, work, stake); !errors.Is(err, consensus.ErrInvalidTerminalBlock) {
		t.Fatalf("back to proof of work: %v", err)
	}
	merged := config
	merged.TerminalTotalDifficulty = new(big.Int)
	if err := chain.VerifyHeader(&merged, pow[0].Header(), genesis.ToBlock().Header()); !errors.Is(err, consensus.ErrInvalidTerminalBlock) {
		t.Fatalf("proof of work on a network merged from genesis on: %v", err)
	}
	wrong := types.CopyHeader(pow[2].Header())
	wrong.Difficulty.Add(wrong.Difficulty, common.Big1)
	if err := chain.VerifyHeader(&config, wrong, pow[1].Header()); err == nil {
		t.Fatal("a wrong difficulty passed")
	}
}

func TestVerifyBody(t *testing.T) {
	w := newTwoBranches()
	config, good := w.genesis.Config, w.main[4]
	if err := chain.VerifyBody(config, good); err != nil {
		t.Fatal(err)
	}
	blob := types.NewTx(&types.BlobTx{BlobHashes: []common.Hash{{1}}})
	withSidecar := types.NewTx(&types.BlobTx{BlobHashes: []common.Hash{{1}}, Sidecar: &types.BlobTxSidecar{}})
	roots := func(h *types.Header, b *types.Body) {
		full := types.NewBlock(h, b, nil, gethtrie.NewStackTrie(nil))
		h.TxHash = full.TxHash()
	}
	for name, c := range map[string]struct {
		want   string
		change func(h *types.Header, b *types.Body)
	}{
		"transaction missing": {"transaction root", func(_ *types.Header, b *types.Body) { b.Transactions = b.Transactions[1:] }},
		"uncle":               {"uncle root hash mismatch", func(_ *types.Header, b *types.Body) { b.Uncles = []*types.Header{good.Header()} }},
		"uncle hash":          {"uncle root hash", func(h *types.Header, _ *types.Body) { h.UncleHash = common.Hash{} }},
		"no withdrawals":      {"missing withdrawals", func(_ *types.Header, b *types.Body) { b.Withdrawals = nil }},
		"withdrawal":          {"withdrawals root", func(_ *types.Header, b *types.Body) { b.Withdrawals = types.Withdrawals{{Index: 1}} }},
		"withdrawals early":   {"withdrawals present", func(h *types.Header, _ *types.Body) { h.WithdrawalsHash = nil }},
		"blob not counted": {"blob gas used", func(h *types.Header, b *types.Body) {
			b.Transactions = types.Transactions{blob}
			roots(h, b)
		}},
		"blobs early": {"data blobs present", func(h *types.Header, b *types.Body) {
			b.Transactions, h.BlobGasUsed = types.Transactions{blob}, nil
			roots(h, b)
		}},
		"odd blob gas": {"blob gas used", func(h *types.Header, _ *types.Body) { h.BlobGasUsed = ptr(uint64(1)) }},
		"sidecar": {"sidecar", func(h *types.Header, b *types.Body) {
			b.Transactions = types.Transactions{withSidecar}
			roots(h, b)
		}},
		"access list early": {"before Amsterdam", func(h *types.Header, _ *types.Body) { h.BlockAccessListHash = &common.Hash{} }},
		"too big":           {"bytes, at most", func(h *types.Header, _ *types.Body) { h.Extra = make([]byte, params.MaxBlockSize) }},
	} {
		header, body := types.CopyHeader(good.Header()), *good.Body()
		c.change(header, &body)
		block := types.NewBlockWithHeader(header).WithBody(body)
		if err := chain.VerifyBody(config, block); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestVerifyAccessList(t *testing.T) {
	w := newTwoBranches()
	config := *w.genesis.Config
	config.AmsterdamTime = new(uint64)
	list := &bal.BlockAccessList{}
	hash := list.Hash()
	header := types.CopyHeader(w.main[4].Header())
	block := func() *types.Block { return types.NewBlockWithHeader(header).WithBody(*w.main[4].Body()) }
	if err := chain.VerifyBody(&config, block()); err == nil {
		t.Error("a block without access list hash passed")
	}
	header.BlockAccessListHash = &hash
	if err := chain.VerifyBody(&config, block()); err != nil {
		t.Errorf("a block whose list is not there: %v", err)
	}
	if err := chain.VerifyBody(&config, block().WithAccessList(list)); err != nil {
		t.Errorf("a block with its list: %v", err)
	}
	header.BlockAccessListHash = &common.Hash{}
	if err := chain.VerifyBody(&config, block().WithAccessList(list)); err == nil {
		t.Error("a block with another list passed")
	}
}

func TestVerifyUncles(t *testing.T) {
	config := *params.TestChainConfig
	genesis := &core.Genesis{Config: &config, GasLimit: 8_000_000, BaseFee: big.NewInt(params.InitialBaseFee), Difficulty: big.NewInt(131072)}
	_, blocks, receipts := core.GenerateChainWithGenesis(genesis, ethash.NewFaker(), 5, func(i int, g *core.BlockGen) {
		if i == 3 {
			uncle := types.CopyHeader(g.PrevBlock(1).Header())
			uncle.Extra = []byte("uncle")
			g.AddUncle(uncle)
		}
	})
	c, _ := open(t, genesis)
	for i, block := range blocks {
		if err := chain.VerifyBody(&config, block); err != nil {
			t.Fatalf("body %d: %v", block.Number(), err)
		}
		if err := c.VerifyUncles(block); err != nil {
			t.Fatalf("uncles of %d: %v", block.Number(), err)
		}
		commit(t, c, blocks[i:i+1], receipts[i:i+1])
	}
	if len(blocks[3].Uncles()) != 1 {
		t.Fatal("the test has no uncle")
	}
	again := types.NewBlockWithHeader(blocks[4].Header()).WithBody(types.Body{Uncles: blocks[3].Uncles()})
	if err := c.VerifyUncles(again); err == nil {
		t.Fatal("an uncle was rewarded twice")
	}
}

func ptr[T any](v T) *T { return &v }
