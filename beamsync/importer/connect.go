package importer

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// basis is what a block is executed on.
type basis struct {
	parent *types.Header
	beamed bool // the parent was not executed here: beaming begins with this block
}

// errHeaderGone says that the header of an executed block could not be read.
func errHeaderGone(hash common.Hash) error {
	return fmt.Errorf("header of executed block %x cannot be read", hash)
}

// findBasis finds or makes what the block stands on. A non-nil status settles the block
// without execution (an invalid ancestor).
func (i *Importer) findBasis(ctx context.Context, p *pending) (basis, *settlement, error) {
	if states := i.full(); states != nil {
		return i.fullBasis(ctx, p, states)
	}
	hash := p.block.ParentHash()
	if i.cfg.Chain.Status(hash) == chain.Executed {
		return basis{parent: i.cfg.Chain.Header(hash)}, nil, nil
	}
	parent, waits := i.lookup(hash), i.waiting(hash)
	switch {
	case waits > i.cfg.MaxLag, parent == nil && !i.withinReach(p.number()):
		header, err := i.parentHeader(ctx, p)
		return basis{parent: header, beamed: true}, nil, err
	case parent == nil:
		var err error
		if parent, err = i.connect(ctx, p); err != nil {
			return basis{}, nil, err
		}
	}
	if parent != nil {
		end := i.collectAhead(ctx, p.block, parent.block.Header())
		settled, err := i.awaitParent(ctx, p, parent)
		end()
		if settled != nil || err != nil {
			return basis{}, settled, err
		}
	}
	if i.cfg.Chain.Status(hash) != chain.Executed {
		// No executed ancestor within reach: a side chain deeper than the lag allows.
		header, err := i.parentHeader(ctx, p)
		return basis{parent: header, beamed: true}, nil, err
	}
	return basis{parent: i.cfg.Chain.Header(hash)}, nil, nil
}

// awaitParent waits for an ancestor in work. That is always done: a block is not VALID on top of an
// invalid one.
func (i *Importer) awaitParent(ctx context.Context, p, parent *pending) (*settlement, error) {
	p.enter("parent")
	status := parent.wait(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case status.Status == engine.INVALID:
		if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
			return &status, nil
		}
		// Nothing is remembered of the parent: it was a wrong body, and the hash may be good.
		return nil, fmt.Errorf("parent %x: no outcome: %w", p.block.ParentHash(), trie.ErrUnavailable)
	case status.Status != engine.VALID:
		return nil, fmt.Errorf("parent %x: no outcome: %w", p.block.ParentHash(), trie.ErrUnavailable)
	}
	return nil, nil
}

// waiting is how many blocks in work there are from this one downward.
func (i *Importer) waiting(hash common.Hash) uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	var n uint64
	for p := i.mu.pending[hash]; p != nil; p = i.mu.pending[p.block.ParentHash()] {
		n++
	}
	return n
}

// parentHeader gets the header of a block's parent from wherever it is.
func (i *Importer) parentHeader(ctx context.Context, p *pending) (*types.Header, error) {
	hash := p.block.ParentHash()
	if header := i.cfg.Chain.Header(hash); header != nil {
		return header, nil
	}
	if parent := i.lookup(hash); parent != nil {
		return parent.block.Header(), nil
	}
	p.enter("parent header")
	headers, err := i.cfg.Blocks.Headers(ctx, hash, 1)
	if err != nil {
		return nil, fmt.Errorf("header of parent %x: %w", hash, err)
	}
	return headers[0], nil
}

// connect fetches the missing ancestors of a block, up to the lag, and puts them to work. It
// returns the pending of the parent, or nil if no executed ancestor is within reach.
func (i *Importer) connect(ctx context.Context, p *pending) (*pending, error) {
	p.enter("ancestors")
	var (
		missing []*types.Header // newest first
		hash    = p.block.ParentHash()
	)
	for i.cfg.Chain.Status(hash) != chain.Executed && i.lookup(hash) == nil {
		if uint64(len(missing)) >= i.cfg.MaxLag {
			return nil, i.condemned(missing) // out of reach, which is not an error
		}
		headers, err := i.cfg.Blocks.Headers(ctx, hash, int(i.cfg.MaxLag)-len(missing))
		if err != nil {
			return nil, fmt.Errorf("ancestors of block %d: %w", p.number(), err)
		}
		for _, header := range headers {
			if i.cfg.Chain.Status(hash) == chain.Executed || i.lookup(hash) != nil {
				break
			}
			missing = append(missing, header)
			hash = header.ParentHash
			if header.Number.Sign() == 0 {
				return nil, fmt.Errorf("block %d links to a foreign genesis %x", p.number(), header.Hash())
			}
		}
	}
	if len(missing) == 0 { // the parent was executed or put to work meanwhile
		return i.lookup(hash), nil
	}
	i.lists.want(missing...)
	blocks, err := i.cfg.Blocks.Bodies(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("bodies of the ancestors of block %d: %w", p.number(), err)
	}
	var parent *pending
	for n := len(blocks) - 1; n >= 0; n-- { // oldest first, so that each finds its parent in work
		if parent, err = i.enlist(ctx, blocks[n]); err != nil {
			return nil, fmt.Errorf("ancestor %d: %w", blocks[n].NumberU64(), err)
		}
	}
	return parent, nil
}

// condemned returns an *invalidAncestor if one of these headers, newest first and linked, or what the last one stands on, is that
// of a bad block or of one on top of it: what stands on them must not be beamed on.
func (i *Importer) condemned(headers []*types.Header) error {
	hash := headers[0].Hash()
	for at := 0; ; at++ {
		if latest, err := i.cfg.Chain.LastingRejection(hash); err != nil {
			for at--; at >= 0; at-- {
				i.cfg.Chain.RejectChild(headers[at].Hash(), headers[at].ParentHash)
			}
			return &invalidAncestor{latest: latest, reason: err}
		}
		if at == len(headers) {
			return nil
		}
		hash = headers[at].ParentHash
	}
}
