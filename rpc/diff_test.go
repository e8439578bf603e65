// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/rpcdiff"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// reorgChain is a chain that was reorganised: the canonical blocks, and a side branch that was the head before.
func reorgChain() (w *fixtureChain, side []*types.Block, sideReceipts []types.Receipts) {
	genesis := testchain.Genesis(nil, testchain.Funded(1), mainChainAccounts(), mainChainContracts())
	genesis.Timestamp = 9000
	made := testchain.New(genesis)
	fill := func(salt int) func(int, *testchain.Block) {
		return func(i int, b *testchain.Block) {
			b.SetCoinbase(common.Address{0xfe, byte(salt)})
			for _, tx := range mainChainTxs(int(b.Number().Int64())-1, b, genesis.Config) {
				b.Send(userKey, tx)
			}
			b.AddWithdrawal(&types.Withdrawal{Validator: 7, Address: common.BigToAddress(big.NewInt(int64(0xaa + salt))), Amount: 5})
		}
	}
	blocks, receipts := made.Extend(made.Root(), 12, fill(1))
	side, sideReceipts = made.Extend(blocks[6], 3, fill(2))
	return &fixtureChain{
		config: genesis.Config, genesis: genesis, db: made.DB,
		blocks: append([]*types.Block{made.Root()}, blocks...), receipts: append([]types.Receipts{nil}, receipts...),
	}, side, sideReceipts
}

// openReorged is package chain over a database that has seen the reorganisation.
func openReorged(t *testing.T, w *fixtureChain, side []*types.Block, sideReceipts []types.Receipts) *chain.Chain {
	t.Helper()
	store, err := db.Open(t.TempDir(), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	c, err := chain.New(store.Chain(), w.genesis)
	if err != nil {
		t.Fatal(err)
	}
	add := func(blocks []*types.Block, receipts []types.Receipts) {
		for i, block := range blocks {
			err := c.Commit(block, receipts[i])
			if _, head := c.SetHead(block.Hash()); err != nil || head != nil {
				t.Fatal(err, head)
			}
		}
	}
	add(w.blocks[1:8], w.receipts[1:8])
	add(side, sideReceipts)
	add(w.blocks[8:], w.receipts[8:])
	if err := c.SetMarkers(w.blocks[5].Hash(), w.blocks[5].Hash()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDifferential sends generated calls of whole namespaces to this node and to go-ethereum, over a chain with a
// reorganisation. internal/e2e has more of them, between processes.
func TestDifferential(t *testing.T) {
	w, side, sideReceipts := reorgChain()
	before := *w
	before.blocks = w.blocks[:8]
	stack, backend := runGeth(t, &before)
	for _, branch := range [][]*types.Block{side, w.blocks[8:]} {
		if _, err := backend.BlockChain().InsertChain(branch); err != nil {
			t.Fatal(err)
		}
	}
	awaitIndex(t, backend)
	n := newFakeNode(t, func(c *Config, b *Backend) {
		c.Log, c.Logs.Selectors, c.EVMTimeout = nil, 1000, 0
		b.Chain = openReorged(t, w, side, sideReceipts)
	})
	n.states.db = w.db
	geth, ours := stack.Attach(), n.client(t)
	world, err := rpcdiff.Explore(t.Context(), geth, 128)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range side {
		world.Blocks = append(world.Blocks, block.Hash())
		world.Transactions = append(world.Transactions, block.Transactions()[0].Hash())
	}
	calls := 600
	if !testing.Short() {
		calls = 20_000
	}
	diff(t, ours, geth, world, calls)
}

func diff(t *testing.T, ours, geth *gethrpc.Client, world *rpcdiff.World, calls int) {
	t.Helper()
	report, err := rpcdiff.Run(t.Context(), ours, geth, rpcdiff.NewGenerator(world, 1), calls)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d calls of %d methods, %d errors; allowed differences: %v", report.Calls, len(report.Methods), report.Errors, report.Allowed)
	for i, d := range report.Differences {
		if i < 20 {
			t.Error(d)
		}
	}
	if report.Errors > calls/2 {
		t.Errorf("%d of %d calls are errors", report.Errors, calls)
	}
}
