// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"fmt"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// Reads compare what is stored with the hashes in headers: a block that is not what its hash says would make its children INVALID, or
// be a wrong answer. It counts as absent, and is reported, so that it is fetched again.

// maxDamagedBlocks bounds the damaged blocks that are remembered. Others count as absent as well.
const maxDamagedBlocks = 1024

// DamagedBlock is a block of which the store lost or changed something.
type DamagedBlock struct {
	Hash   common.Hash
	Number uint64
	Part   DamagedPart // that was found first
}

// DamagedPart is a part of a block.
type DamagedPart string

// The parts of a block that can be damaged.
const (
	DamagedHeader     DamagedPart = "header"
	DamagedBody       DamagedPart = "body"
	DamagedReceipts   DamagedPart = "receipts"
	DamagedAccessList DamagedPart = "access list"
)

// damagedBlocks are those that were found and not restored.
type damagedBlocks struct {
	mu     sync.Mutex
	blocks map[common.Hash]DamagedBlock
	found  chan struct{} // holds a token when there is another one
}

func newDamagedBlocks() damagedBlocks {
	return damagedBlocks{blocks: make(map[common.Hash]DamagedBlock), found: make(chan struct{}, 1)}
}

func (d *damagedBlocks) report(hash common.Hash, number uint64, part DamagedPart) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.blocks[hash]; known || len(d.blocks) >= maxDamagedBlocks {
		return
	}
	d.blocks[hash] = DamagedBlock{hash, number, part}
	select {
	case d.found <- struct{}{}:
	default:
	}
}

func (d *damagedBlocks) part(hash common.Hash) DamagedPart {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blocks[hash].Part
}

func (d *damagedBlocks) forget(hash common.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.blocks, hash)
}

// DamageFound holds a token when a read has found another damaged block.
func (c *Chain) DamageFound() <-chan struct{} { return c.damaged.found }

// Damaged returns the damaged blocks that were found and not restored, lowest first.
func (c *Chain) Damaged() (blocks []DamagedBlock) {
	c.damaged.mu.Lock()
	defer c.damaged.mu.Unlock()
	for _, block := range c.damaged.blocks {
		blocks = append(blocks, block)
	}
	slices.SortFunc(blocks, func(a, b DamagedBlock) int { return int(int64(a.Number) - int64(b.Number)) })
	return blocks
}

// Restore stores a damaged block again, with its receipts, which need no derived fields. The error says why the block is still not
// readable.
func (c *Chain) Restore(block *types.Block, receipts types.Receipts) error {
	hash := block.Hash()
	if err := verifyCommitments(block); err != nil {
		return fmt.Errorf("restore block %d: %w", block.NumberU64(), err)
	}
	c.writing.Lock()
	err := c.store.Apply(&Update{History: []Execution{{Block: block, Receipts: receipts}}})
	c.writing.Unlock()
	if err != nil {
		return fmt.Errorf("restore block %d: %w", block.NumberU64(), err)
	}
	c.headers.Remove(hash)
	c.blocks.Remove(hash)
	c.receipts.Remove(hash)
	c.damaged.forget(hash)
	if c.Receipts(hash) == nil {
		return fmt.Errorf("restore block %d: %w: its %s is still wrong", block.NumberU64(), ErrDamaged, c.damaged.part(hash))
	}
	return nil
}

// lost reports a part of a block that is absent and should be there.
func (c *Chain) lost(header *types.Header, part DamagedPart, parts Parts) {
	hash, number := header.Hash(), header.Number.Uint64()
	v := c.snapshot.Load()
	if c.store.Parts(hash, number).Has(parts) || v != nil && number >= v.Oldest && c.canonical(v, number) == hash {
		c.damaged.report(hash, number, part)
	}
}

// storedHeader reads a header from the store.
func (c *Chain) storedHeader(hash common.Hash) *types.Header {
	number, ok := c.store.Number(hash)
	if !ok {
		return nil
	}
	header := c.store.Header(hash, number)
	if header == nil || header.Hash() != hash {
		c.damaged.report(hash, number, DamagedHeader)
		return nil
	}
	return header
}

// storedBlock reads a block from the store, with its access list if that is stored.
func (c *Chain) storedBlock(header *types.Header) *types.Block {
	hash, number := header.Hash(), header.Number.Uint64()
	body := c.store.Body(hash, number)
	if body == nil {
		c.lost(header, DamagedBody, HasBody)
		return nil
	}
	block := types.NewBlockWithHeader(header).WithBody(*body)
	if verifyCommitments(block) != nil {
		c.damaged.report(hash, number, DamagedBody)
		return nil
	}
	if list := decodeAccessList(c.AccessList(hash)); list != nil {
		block = block.WithAccessListUnsafe(list)
	}
	return block
}

// storedReceipts reads the receipts of a block from the store, and derives what is not stored.
func (c *Chain) storedReceipts(block *types.Block) types.Receipts {
	hash, number := block.Hash(), block.NumberU64()
	receipts := c.store.Receipts(hash, number)
	if receipts == nil {
		c.lost(block.Header(), DamagedReceipts, HasReceipts)
		return nil
	}
	if deriveReceipts(c.config, block, receipts) != nil || types.DeriveSha(receipts, gethtrie.NewStackTrie(nil)) != block.ReceiptHash() {
		c.damaged.report(hash, number, DamagedReceipts)
		return nil
	}
	return receipts
}
