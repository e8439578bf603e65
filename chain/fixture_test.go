// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// logger is a contract that emits an empty log.
var logger = common.HexToAddress("0x1061")

// network makes real blocks, two transactions with a log each.
type network struct {
	*testchain.Chain
	genesis *core.Genesis
}

func newNetwork(config *params.ChainConfig) (*network, *types.Block) {
	log0 := types.Account{Code: []byte{0x60, 0, 0x60, 0, 0xa0}}
	made := testchain.New(testchain.Genesis(config, testchain.Funded(1), types.GenesisAlloc{logger: log0}))
	return &network{made, made.Genesis}, made.Root()
}

// extend makes a branch of length blocks on parent; salt tells branches apart.
func (n *network) extend(parent *types.Block, length int, salt byte) ([]*types.Block, []types.Receipts) {
	return n.Extend(parent, length, func(_ int, b *testchain.Block) {
		b.SetCoinbase(common.Address{salt})
		for range 2 {
			b.Call(logger, 0, []byte{salt})
		}
	})
}

// twoBranches is a network with a main branch of 12 blocks and a side branch of 6 from block 8 on.
type twoBranches struct {
	genesis      *core.Genesis
	main, side   []*types.Block
	mainR, sideR []types.Receipts
}

func newTwoBranches() *twoBranches {
	n, genesis := newNetwork(testchain.Config())
	w := &twoBranches{genesis: n.genesis}
	w.main, w.mainR = n.extend(genesis, 12, 1)
	w.side, w.sideR = n.extend(w.main[7], 6, 2)
	return w
}

func open(t *testing.T, genesis *core.Genesis) (*chain.Chain, *db.DB) {
	t.Helper()
	d, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return load(t, d, genesis), d
}

func load(t *testing.T, d *db.DB, genesis *core.Genesis) *chain.Chain {
	t.Helper()
	c, err := chain.New(d.Chain(), genesis)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func commit(t *testing.T, c *chain.Chain, blocks []*types.Block, receipts []types.Receipts) {
	t.Helper()
	for i, block := range blocks {
		if err := c.Commit(block, receipts[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func setHead(t *testing.T, c *chain.Chain, block *types.Block) chain.Reorg {
	t.Helper()
	reorg, err := c.SetHead(block.Hash())
	if err != nil {
		t.Fatal(err)
	}
	check(t, c)
	if c.CurrentHeader().Hash() != block.Hash() {
		t.Fatalf("head is %d, want %d", c.CurrentHeader().Number, block.Number())
	}
	return reorg
}

func check(t *testing.T, c *chain.Chain) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatalf("inconsistent: %v", err)
	}
}

func headersOf(blocks []*types.Block) []*types.Header {
	headers := make([]*types.Header, len(blocks))
	for i, block := range blocks {
		headers[i] = block.Header()
	}
	return headers
}
