// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// blockChain is the chain that both ends of a measurement show each other: a genesis, and
// the headers of witnesses of one chain. Its head is the parent of the newest block.
type blockChain struct {
	config  *params.ChainConfig
	genesis *types.Block
	head    *types.Header
	headers map[common.Hash]*types.Header
}

func newBlockChain(files ...*witnessfile.File) *blockChain {
	c := &blockChain{
		config: files[0].Config,
		// Both ends use it, so it need not be the network's: only its hash is compared.
		genesis: types.NewBlockWithHeader(&types.Header{Number: new(big.Int), Difficulty: big.NewInt(1)}),
		headers: make(map[common.Hash]*types.Header),
	}
	for _, file := range files {
		for _, header := range file.Headers {
			c.headers[header.Hash()] = header
		}
		if c.head == nil || file.Parent.Number.Cmp(c.head.Number) > 0 {
			c.head = file.Parent
		}
	}
	return c
}

// ancestry returns how many headers the witness holds from hash downward without a hole.
func (c *blockChain) ancestry(hash common.Hash) int {
	n := 0
	for header := c.headers[hash]; header != nil; header = c.headers[header.ParentHash] {
		n++
	}
	return n
}

func (c *blockChain) Config() *params.ChainConfig  { return c.config }
func (c *blockChain) Genesis() *types.Block        { return c.genesis }
func (c *blockChain) CurrentHeader() *types.Header { return c.head }

func (c *blockChain) Header(hash common.Hash) *types.Header { return c.headers[hash] }

func (c *blockChain) HeaderByNumber(number uint64) *types.Header {
	for _, header := range c.headers {
		if header.Number.Uint64() == number {
			return header
		}
	}
	return nil
}

func (c *blockChain) Block(common.Hash) *types.Block      { return nil }
func (c *blockChain) Receipts(common.Hash) types.Receipts { return nil }
func (c *blockChain) AccessList(common.Hash) rlp.RawValue { return nil }
func (c *blockChain) Oldest() uint64                      { return c.head.Number.Uint64() }

// blockState is the state of a witness as a peer serves it: under the block's pre-state root
// only, by path.
type blockState struct{ file *witnessfile.File }

func (s blockState) State(root common.Hash) p2p.State {
	if state := trie.OpenServed(s.file, nil, root); root == s.file.PreRoot && state != nil {
		return state
	}
	return nil
}

func (s blockState) Code(hash common.Hash) []byte { return s.file.Codes[hash] }
