// SPDX-License-Identifier: LGPL-3.0-or-later

package testchain

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb"
)

// Chain is a genesis block and the blocks that were built on it.
type Chain struct {
	// Genesis is what the chain begins with.
	Genesis *core.Genesis
	// DB holds the states of all blocks in go-ethereum's hash scheme, and their codes. It holds
	// no blocks but the genesis block.
	DB ethdb.Database

	root *types.Block
}

// New returns a chain of one block.
func New(genesis *core.Genesis) *Chain {
	db, _, _ := core.GenerateChainWithGenesis(genesis, engine(), 0, nil)
	return &Chain{Genesis: genesis, DB: db, root: genesis.ToBlock()}
}

// engine returns rules without seals: proof of stake, or proof of work before the merge.
func engine() *beacon.Beacon { return beacon.New(ethash.NewFaker()) }

// Root returns the genesis block.
func (c *Chain) Root() *types.Block { return c.root }

// Extend builds n blocks, 10 seconds apart, on a block of the chain. It calls fill, unless that
// is nil, for the contents of each: i counts from 0. Blocks on one parent must differ in
// something, such as their coinbase.
func (c *Chain) Extend(parent *types.Block, n int, fill func(i int, b *Block)) ([]*types.Block, []types.Receipts) {
	return core.GenerateChain(c.Genesis.Config, parent, engine(), c.DB, n, func(i int, gen *core.BlockGen) {
		if fill != nil {
			fill(i, &Block{BlockGen: gen, config: c.Genesis.Config})
		}
	})
}

// Node returns the trie node with a hash, nil if no state of the chain has it.
func (c *Chain) Node(hash common.Hash) []byte { return rawdb.ReadLegacyTrieNode(c.DB, hash) }

// Code returns the contract code with a hash, nil if no state of the chain has it.
func (c *Chain) Code(hash common.Hash) []byte { return rawdb.ReadCode(c.DB, hash) }
