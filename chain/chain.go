// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

var (
	// ErrUnknownBlock says that a block is not stored.
	ErrUnknownBlock = errors.New("unknown block")
	// ErrNotExecuted says that a block cannot be the head because it was not executed.
	ErrNotExecuted = errors.New("block not executed")
	// ErrNotCanonical says that a safe or finalized block is stored but is not an ancestor of the head.
	ErrNotCanonical = errors.New("block not canonical")
	// ErrForeign says that a header descends from another genesis block.
	ErrForeign = errors.New("header does not descend from our genesis block")
)

// Sizes of the caches, in blocks. Headers cover BLOCKHASH's 256 and the 128 states that
// peers keep; a full block with its receipts is about 1 MB in memory.
const (
	headerCache  = 2048
	blockCache   = 48
	receiptCache = 48
)

// Chain is the block tree over one [Store]. Reads return nil, zero or false for
// what is not stored. All methods are safe for concurrent use. Results are shared and must not be
// modified.
type Chain struct {
	store   Store
	config  *params.ChainConfig
	genesis *types.Block

	headers  *lru.Cache[common.Hash, *types.Header]
	blocks   *lru.Cache[common.Hash, *types.Block]
	receipts *lru.Cache[common.Hash, types.Receipts]

	writing  sync.Mutex               // one writer at a time: read, decide, Apply, publish
	snapshot atomic.Pointer[snapshot] // the canonical chain; replaced after each Apply that changes it
	heads    sync.Mutex               // orders SetHead with its event; taken before writing
	feed     event.Feed
	invalid  invalidBlocks
	bad      badBlocks
	damaged  damagedBlocks
}

// snapshot is one version of the canonical chain. It is never modified.
type snapshot struct {
	Markers
	head     *types.Header
	segments []Segment // detached ones, highest first
}

// Config is the network's fork configuration.
func (c *Chain) Config() *params.ChainConfig { return c.config }

// Genesis is block 0.
func (c *Chain) Genesis() *types.Block { return c.genesis }

// CurrentHeader is the canonical head; on a fresh node, genesis.
func (c *Chain) CurrentHeader() *types.Header { return c.snapshot.Load().head }

// Safe returns the newest block that the consensus client marked as safe, nil if there is none or
// its header is not stored yet.
func (c *Chain) Safe() *types.Header { return c.Header(c.snapshot.Load().Safe) }

// Finalized returns the newest finalized block, nil if there is none or its header is not stored yet.
func (c *Chain) Finalized() *types.Header { return c.Header(c.snapshot.Load().Finalized) }

// Oldest returns the lowest block from which on, up to the head, all bodies and receipts are stored.
func (c *Chain) Oldest() uint64 { return c.snapshot.Load().Oldest }

// Tail returns the lowest number from which on, up to the head, all headers are stored.
func (c *Chain) Tail() uint64 { return c.snapshot.Load().Tail }

// Header returns a header by hash, on any branch.
func (c *Chain) Header(hash common.Hash) *types.Header {
	if hash == (common.Hash{}) {
		return nil
	}
	if header, ok := c.headers.Get(hash); ok {
		return header
	}
	if hash == c.genesis.Hash() {
		return c.genesis.Header()
	}
	header := c.storedHeader(hash)
	if header == nil {
		return nil
	}
	c.headers.Add(hash, header)
	return header
}

// CanonicalHash is the hash of the canonical block with this number.
func (c *Chain) CanonicalHash(number uint64) common.Hash {
	return c.canonical(c.snapshot.Load(), number)
}

func (c *Chain) canonical(v *snapshot, number uint64) common.Hash {
	switch {
	case number == 0:
		return c.genesis.Hash()
	case number == v.head.Number.Uint64():
		return v.Head
	case number < v.Tail || number > v.head.Number.Uint64():
		return common.Hash{}
	}
	return c.store.CanonicalHash(number)
}

// HeaderByNumber finds a canonical header.
func (c *Chain) HeaderByNumber(number uint64) *types.Header {
	return c.Header(c.CanonicalHash(number))
}

// Block returns a block by hash, on any branch; its access list is attached if it is stored.
func (c *Chain) Block(hash common.Hash) *types.Block {
	if block, ok := c.blocks.Get(hash); ok {
		return block
	}
	if hash == c.genesis.Hash() {
		return c.genesis
	}
	header := c.Header(hash)
	if header == nil {
		return nil
	}
	block := c.storedBlock(header)
	if block == nil {
		return nil
	}
	c.blocks.Add(hash, block)
	return block
}

// BlockByNumber finds a canonical block.
func (c *Chain) BlockByNumber(number uint64) *types.Block {
	return c.Block(c.CanonicalHash(number))
}

// Receipts returns a block's receipts with all derived fields; nil if they are not stored.
func (c *Chain) Receipts(hash common.Hash) types.Receipts {
	if receipts, ok := c.receipts.Get(hash); ok {
		return receipts
	}
	block := c.Block(hash)
	if block == nil {
		return nil
	}
	receipts := c.storedReceipts(block)
	if receipts == nil {
		return nil
	}
	c.receipts.Add(hash, receipts)
	return receipts
}

// bloomOf computes the bloom of receipts that have no derived fields, and so none of their own.
func bloomOf(receipts types.Receipts) (bloom types.Bloom) {
	for _, receipt := range receipts {
		for at, b := range types.CreateBloom(receipt) {
			bloom[at] |= b
		}
	}
	return bloom
}

// RawReceipts returns a block's receipts as they are stored, without derived fields; nil if they are not stored. Of their content only
// what is in the bloom of the block is compared with the header.
func (c *Chain) RawReceipts(hash common.Hash) types.Receipts {
	header := c.Header(hash)
	if header == nil {
		return nil
	}
	receipts := c.store.Receipts(hash, header.Number.Uint64())
	if receipts != nil && bloomOf(receipts) != header.Bloom {
		c.damaged.report(hash, header.Number.Uint64(), DamagedReceipts)
		return nil
	}
	return receipts
}

// AccessList returns the RLP of a block's access list (EIP-7928), nil if it is not stored.
func (c *Chain) AccessList(hash common.Hash) rlp.RawValue {
	header := c.Header(hash)
	if header == nil || header.BlockAccessListHash == nil {
		return nil
	}
	list := c.store.AccessList(hash, header.Number.Uint64())
	if len(list) > 0 && crypto.Keccak256Hash(list) != *header.BlockAccessListHash {
		c.damaged.report(hash, header.Number.Uint64(), DamagedAccessList)
		return nil
	}
	return list
}

// Transaction returns a transaction of the canonical chain, if the body of its block is stored.
func (c *Chain) Transaction(hash common.Hash) (tx *types.Transaction, block common.Hash, number uint64, index uint64) {
	number, ok := c.store.Lookup(hash)
	if !ok {
		return nil, common.Hash{}, 0, 0
	}
	found := c.BlockByNumber(number)
	if found == nil {
		return nil, common.Hash{}, 0, 0
	}
	for i, tx := range found.Transactions() {
		if tx.Hash() == hash {
			return tx, found.Hash(), number, uint64(i)
		}
	}
	return nil, common.Hash{}, 0, 0 // the lookup was of a branch that is no longer canonical
}

// AddHeaders stores a run of headers that are linked by parent hash, in either direction. It checks each
// by [VerifyHeader], except for the lowest if its parent is not stored. If the run joins the tail of
// the canonical chain, the canonical chain grows downward.
func (c *Chain) AddHeaders(headers []*types.Header) error {
	if len(headers) == 0 {
		return nil
	}
	if len(headers) > 1 && headers[0].ParentHash == headers[1].Hash() {
		upward := make([]*types.Header, len(headers))
		for i, header := range headers {
			upward[len(headers)-1-i] = header
		}
		headers = upward
	}
	for i, header := range headers {
		if err := c.checkRoot(header); err != nil {
			return err
		}
		parent := c.Header(header.ParentHash)
		if i > 0 {
			parent = headers[i-1]
		}
		if parent == nil {
			if err := checkShape(c.config, header); err != nil {
				return fmt.Errorf("header %d (%x): %w", header.Number, header.Hash(), err)
			}
			continue
		}
		if err := VerifyHeader(c.config, header, parent); err != nil {
			return fmt.Errorf("header %d (%x): %w", header.Number, header.Hash(), err)
		}
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	update := &Update{Headers: headers}
	next := c.extendTail(update)
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("keep %d headers: %w", len(headers), err)
	}
	for _, header := range headers {
		c.headers.Add(header.Hash(), header)
	}
	c.snapshot.Store(next)
	return nil
}

// checkRoot refuses headers that descend from another genesis block.
func (c *Chain) checkRoot(header *types.Header) error {
	if header.Number == nil || !header.Number.IsUint64() {
		return fmt.Errorf("header %x: no usable number", header.Hash())
	}
	switch number := header.Number.Uint64(); {
	case number == 0 && header.Hash() != c.genesis.Hash():
		return fmt.Errorf("%w: block 0 is %x, ours is %x", ErrForeign, header.Hash(), c.genesis.Hash())
	case number == 1 && header.ParentHash != c.genesis.Hash():
		return fmt.Errorf("%w: parent of block 1 is %x, ours is %x", ErrForeign, header.ParentHash, c.genesis.Hash())
	}
	return nil
}

// Commit stores an executed valid block with its receipts, and marks it as executed, in one atomic
// update. The block becomes canonical only by [Chain.SetHead]. Its parent need not be executed: the
// parent state of the first block after a pivot comes from the network.
func (c *Chain) Commit(block *types.Block, receipts types.Receipts) error {
	if err := c.checkRoot(block.Header()); err != nil {
		return err
	}
	if have, want := len(receipts), len(block.Transactions()); have != want {
		return fmt.Errorf("commit block %d: %d receipts for %d transactions", block.NumberU64(), have, want)
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	update := &Update{
		Blocks:   []*types.Block{block},
		Executed: []Execution{{Block: block, Receipts: receipts}},
	}
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("commit block %d: %w", block.NumberU64(), err)
	}
	c.cache(block)
	c.invalid.forget(block.Hash())
	c.damaged.forget(block.Hash())
	return nil
}

func (c *Chain) cache(block *types.Block) {
	c.headers.Add(block.Hash(), block.Header())
	c.blocks.Add(block.Hash(), block)
}
