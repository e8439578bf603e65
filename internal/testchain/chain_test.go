// SPDX-License-Identifier: LGPL-3.0-or-later

package testchain_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// TestExtend builds two branches on one block and reads the state after each of their blocks.
func TestExtend(t *testing.T) {
	contract, code := common.Address{0xc0}, common.FromHex("435f5500") // sstore(0, number)
	c := testchain.New(testchain.Genesis(nil, testchain.Funded(1), testchain.Filler(20), types.GenesisAlloc{contract: {Code: code}}))
	branch := func(parent *types.Block, n int, salt byte) []*types.Block {
		blocks, receipts := c.Extend(parent, n, func(_ int, b *testchain.Block) {
			b.SetCoinbase(common.Address{salt})
			b.Call(contract, 0, nil)
			b.Call(testchain.FillerAddress(3), 5, nil)
		})
		for i, list := range receipts {
			if len(list) != 2 || list[0].Status != types.ReceiptStatusSuccessful || list[0].BlockHash != blocks[i].Hash() {
				t.Fatalf("receipts of block %d: %v", i+1, list)
			}
		}
		return blocks
	}
	main := branch(c.Root(), 4, 1)
	side := branch(main[1], 2, 2)
	if main[2].ParentHash() != side[0].ParentHash() || main[2].Hash() == side[0].Hash() {
		t.Fatal("no two branches")
	}
	for i, block := range append(main, side...) {
		number := block.NumberU64()
		db, err := state.New(block.Root(), state.NewDatabase(triedb.NewDatabase(c.DB, triedb.HashDefaults), nil))
		if err != nil {
			t.Fatalf("state %d: %v", i, err)
		}
		if got := db.GetState(contract, common.Hash{}).Big().Uint64(); got != number {
			t.Errorf("slot is %d after block %d", got, number)
		}
		if got := db.GetBalance(testchain.FillerAddress(3)).Uint64(); got != 4+5*number {
			t.Errorf("balance is %d after block %d", got, number)
		}
		if c.Node(block.Root()) == nil {
			t.Errorf("no root node of state %d", i)
		}
	}
	if string(c.Code(crypto.Keccak256Hash(code))) != string(code) || c.Node(common.Hash{1}) != nil {
		t.Error("wrong code or node")
	}
	again := testchain.New(c.Genesis)
	if same, _ := again.Extend(again.Root(), 1, nil); again.Root().Hash() != c.Root().Hash() || same[0].Transactions().Len() != 0 {
		t.Error("the same genesis makes another block")
	}
}
