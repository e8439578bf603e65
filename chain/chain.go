package chain

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

var (
	// ErrUnknownBlock says that a block was named of which nothing is held.
	ErrUnknownBlock = errors.New("unknown block")
	// ErrNotExecuted says that a block may not take the role it was given before it was executed.
	ErrNotExecuted = errors.New("block not executed")
	// ErrNotCanonical says that a safe or finalized block is held, and not an ancestor of the head.
	ErrNotCanonical = errors.New("block not canonical")
	// ErrForeign says that a header leads to another genesis block than ours.
	ErrForeign = errors.New("header does not descend from our genesis block")
)

// Sizes of the caches, in blocks. Headers cover BLOCKHASH's 256 and the 128 states that
// peers keep; a full block with its receipts is about 1 MB in memory.
const (
	headerCache  = 2048
	blockCache   = 48
	receiptCache = 48
)

// Chain is the block tree over one [Store]. Reads answer nil, zero or false for what is
// not known. All methods are safe for concurrent use; what they return is shared and
// must not be modified.
type Chain struct {
	store   Store
	config  *params.ChainConfig
	genesis *types.Block

	headers  *lru.Cache[common.Hash, *types.Header]
	blocks   *lru.Cache[common.Hash, *types.Block]
	receipts *lru.Cache[common.Hash, types.Receipts]

	writing    sync.Mutex           // one writer at a time: read, decide, Apply, publish
	view       atomic.Pointer[view] // what is canonical; replaced after the Apply that changed it
	heads      sync.Mutex           // orders SetHead with its event; taken before writing
	feed       event.Feed
	rejections rejections
}

// view is one state of the canonical chain. It is never modified.
type view struct {
	Markers
	head  *types.Header
	spans []Span // left behind by pivots, highest first
}

// Config is the network's fork configuration.
func (c *Chain) Config() *params.ChainConfig { return c.config }

// Genesis is block 0.
func (c *Chain) Genesis() *types.Block { return c.genesis }

// CurrentHeader is the canonical head; on a fresh node, genesis.
func (c *Chain) CurrentHeader() *types.Header { return c.view.Load().head }

// Safe is the newest block that the consensus client called safe, nil if there is none
// or its header is not held yet.
func (c *Chain) Safe() *types.Header { return c.Header(c.view.Load().Safe) }

// Finalized is the newest finalized block, nil if there is none or its header is not held yet.
func (c *Chain) Finalized() *types.Header { return c.Header(c.view.Load().Finalized) }

// Oldest is the lowest block from which on, up to the head, bodies and receipts are held.
func (c *Chain) Oldest() uint64 { return c.view.Load().Oldest }

// Tail is the lowest number from which on, up to the head, headers are held.
func (c *Chain) Tail() uint64 { return c.view.Load().Tail }

// Header finds a header by hash, on whatever branch.
func (c *Chain) Header(hash common.Hash) *types.Header {
	if hash == (common.Hash{}) {
		return nil
	}
	if header, ok := c.headers.Get(hash); ok {
		return header
	}
	number, ok := c.store.Number(hash)
	if !ok {
		return nil
	}
	header := c.store.Header(hash, number)
	if header == nil {
		return nil
	}
	c.headers.Add(hash, header)
	return header
}

// CanonicalHash is the hash of the canonical block with this number.
func (c *Chain) CanonicalHash(number uint64) common.Hash {
	return c.canonical(c.view.Load(), number)
}

func (c *Chain) canonical(v *view, number uint64) common.Hash {
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

// Block finds a block by hash, on whatever branch; its access list is attached if held.
func (c *Chain) Block(hash common.Hash) *types.Block {
	if block, ok := c.blocks.Get(hash); ok {
		return block
	}
	header := c.Header(hash)
	if header == nil {
		return nil
	}
	number := header.Number.Uint64()
	body := c.store.Body(hash, number)
	if body == nil {
		return nil
	}
	block := types.NewBlockWithHeader(header).WithBody(*body)
	if list := decodeAccessList(c.store.AccessList(hash, number)); list != nil {
		block = block.WithAccessListUnsafe(list)
	}
	c.blocks.Add(hash, block)
	return block
}

// BlockByNumber finds a canonical block.
func (c *Chain) BlockByNumber(number uint64) *types.Block {
	return c.Block(c.CanonicalHash(number))
}

// Receipts are a block's receipts with all derived fields; nil if they are not held.
func (c *Chain) Receipts(hash common.Hash) types.Receipts {
	if receipts, ok := c.receipts.Get(hash); ok {
		return receipts
	}
	block := c.Block(hash)
	if block == nil {
		return nil
	}
	receipts := c.store.Receipts(hash, block.NumberU64())
	if receipts == nil || deriveReceipts(c.config, block, receipts) != nil {
		return nil
	}
	c.receipts.Add(hash, receipts)
	return receipts
}

// AccessList is the RLP of a block's access list (EIP-7928), nil if it is not held.
func (c *Chain) AccessList(hash common.Hash) rlp.RawValue {
	header := c.Header(hash)
	if header == nil || header.BlockAccessListHash == nil {
		return nil
	}
	return c.store.AccessList(hash, header.Number.Uint64())
}

// Transaction finds a transaction of the canonical chain, as far as bodies are held.
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
	return nil, common.Hash{}, 0, 0 // the lookup was of a branch that is canonical no more
}

// AddHeaders keeps ancestors of which only the header is known: a run of headers that
// are linked by parent hash, in either direction, all of them checked by [VerifyHeader]
// except for the lowest if its parent is not held. Where the run joins the tail of the
// canonical chain, the canonical chain grows downward.
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
	view := c.extendTail(update)
	if err := c.store.Apply(update); err != nil {
		return fmt.Errorf("keep %d headers: %w", len(headers), err)
	}
	for _, header := range headers {
		c.headers.Add(header.Hash(), header)
	}
	c.view.Store(view)
	return nil
}

// checkRoot refuses headers that lead to another genesis block.
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

// AddBlock keeps a block that is not executed yet. The caller has checked it by
// [VerifyBody] and, where the parent is held, by [VerifyHeader].
func (c *Chain) AddBlock(block *types.Block) error {
	if err := c.checkRoot(block.Header()); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()

	if err := c.store.Apply(&Update{Blocks: []*types.Block{block}}); err != nil {
		return fmt.Errorf("keep block %d: %w", block.NumberU64(), err)
	}
	c.remember(block)
	return nil
}

// Commit keeps a block that was executed and found good, with its receipts and that
// outcome, atomically. It becomes canonical only by [Chain.SetHead]. Its parent need not be
// executed: the state under the first block after a pivot comes from the network.
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
	c.remember(block)
	c.rejections.forget(block.Hash())
	return nil
}

func (c *Chain) remember(block *types.Block) {
	c.headers.Add(block.Hash(), block.Header())
	c.blocks.Add(block.Hash(), block)
}
