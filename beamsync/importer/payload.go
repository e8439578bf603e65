package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// NewPayload imports a block and waits for its outcome as long as ctx allows; after that it
// answers SYNCING and the work goes on. INVALID is only ever the result of a full execution
// with all state at hand, of a broken header or body rule, or of an invalid ancestor.
//
// The returned error is for the caller's mistakes, never for a good block.
func (i *Importer) NewPayload(ctx context.Context, block *types.Block) (engine.PayloadStatusV1, error) {
	if status, known := i.settled(block.Hash(), block.ParentHash()); known {
		return status, nil
	}
	p, err := i.enlist(ctx, block)
	if err != nil {
		return syncing(), nil //nolint:nilerr // shutting down or crowded: not the block's fault
	}
	return p.wait(ctx), nil
}

// settled answers for blocks that need no work: executed ones, and rejected ones with
// everything on top of them. The parent is for payloads that are not held; it may be zero.
func (i *Importer) settled(hash, parent common.Hash) (engine.PayloadStatusV1, bool) {
	if i.cfg.Chain.Status(hash) == chain.Executed {
		return valid(hash), true
	}
	rejection := i.cfg.Chain.Rejection
	if i.full() == nil { // it may begin to beam above the bad block
		rejection = i.cfg.Chain.LastingRejection
	}
	for _, bad := range []common.Hash{hash, parent} {
		if latest, err := rejection(bad); err != nil {
			if bad != hash {
				i.cfg.Chain.RejectChild(hash, bad) // its children may come next
			}
			return invalid(latest, err), true
		}
	}
	return engine.PayloadStatusV1{}, false
}

// enlist finds the pending of a block or starts one.
func (i *Importer) enlist(ctx context.Context, block *types.Block) (*pending, error) {
	i.mu.Lock()
	if p, ok := i.mu.pending[block.Hash()]; ok {
		i.mu.Unlock()
		return p, nil
	}
	if len(i.mu.pending) >= maxPendingBlocks {
		i.mu.Unlock()
		return nil, fmt.Errorf("%d blocks in work already", maxPendingBlocks)
	}
	p := newPending(block)
	i.mu.pending[block.Hash()] = p
	i.mu.newest = max(i.mu.newest, block.NumberU64())
	i.metrics.pending.Set(float64(len(i.mu.pending)))
	i.mu.Unlock()

	select {
	case i.spawn <- p:
		return p, nil
	case <-ctx.Done():
		i.finish(p, syncing())
		return nil, ctx.Err()
	}
}

// finish takes a pending off the table and wakes everyone who waits for it.
func (i *Importer) finish(p *pending, status engine.PayloadStatusV1) {
	i.mu.Lock()
	if i.mu.pending[p.block.Hash()] == p {
		delete(i.mu.pending, p.block.Hash())
	}
	if status.Status == engine.INVALID && p.number() == i.mu.newest { // a bad block may have any number
		i.setNewestLocked(i.mu.executed)
	}
	i.metrics.pending.Set(float64(len(i.mu.pending)))
	i.mu.Unlock()
	p.finish(status)
}

// setNewestLocked makes this number, or the highest one in work, that of the newest block.
func (i *Importer) setNewestLocked(number uint64) {
	i.mu.newest = number
	for _, p := range i.mu.pending {
		i.mu.newest = max(i.mu.newest, p.number())
	}
}

// lookup returns the pending of a block, or nil.
func (i *Importer) lookup(hash common.Hash) *pending {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mu.pending[hash]
}

// work takes one block from "asked for" to its outcome.
func (i *Importer) work(ctx context.Context, p *pending) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.begin(cancel)

	status, err := i.process(ctx, p)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errSuperseded):
		i.cfg.Log.Info("Block given up", "number", p.number(), "hash", p.block.Hash(), "reason", errSuperseded)
	case ctx.Err() != nil: // shutting down
	case errors.Is(err, trie.ErrUnavailable):
		i.cfg.Log.Warn("Block is incomplete", "number", p.number(), "hash", p.block.Hash(), "err", err)
	default:
		i.cfg.Log.Error("Block could not be processed", "number", p.number(), "hash", p.block.Hash(), "err", err)
	}
	if err != nil {
		status = syncing()
		i.strand(p, err)
	}
	i.finish(p, status)
	if status.Status == engine.VALID {
		i.applyChoice(p.block.Hash())
	}
}

// process returns the outcome of a block, or why there is none.
func (i *Importer) process(ctx context.Context, p *pending) (engine.PayloadStatusV1, error) {
	base, status, err := i.findBasis(ctx, p)
	if status != nil {
		return *status, err
	}
	if err != nil {
		return i.settleError(p, err)
	}
	if base.parent == nil { // it was executed: the store is broken, which says nothing about the block
		return engine.PayloadStatusV1{}, errHeaderGone(p.block.ParentHash())
	}
	if base.beamed { // nobody asked before what its parent is worth, or that has shown since
		if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
			return status, nil
		}
	}
	// The rules that need no state come before anything is fetched for the block.
	switch err := i.verify(p.block, base.parent); {
	case errors.Is(err, chain.ErrBodyMismatch): // nothing to remember of a hash that may be good
		return invalid(i.cfg.Chain.LatestValid(p.block.ParentHash()), err), nil
	case err != nil:
		return i.reject(p, err), nil
	}
	if base.beamed {
		if err := i.beginBeaming(p, base.parent); err != nil {
			return engine.PayloadStatusV1{}, err
		}
	} else {
		i.supersede(p.number()) // what has come no further waits for something that nobody has any more
	}
	p.enter("slot")
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return engine.PayloadStatusV1{}, ctx.Err()
	}
	return i.execute(ctx, p, base)
}

// settleError makes INVALID of a block whose ancestor turned out to be.
func (i *Importer) settleError(p *pending, err error) (engine.PayloadStatusV1, error) {
	if bad := new(invalidAncestor); errors.As(err, &bad) {
		if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
			return status, nil
		}
		return invalid(bad.latest, bad.reason), nil // too far from its ancestor to be remembered
	}
	return engine.PayloadStatusV1{}, err
}

// verify checks the rules of header and body, which need no state.
func (i *Importer) verify(block *types.Block, parent *types.Header) error {
	if err := chain.VerifyHeader(i.cfg.Chain.Config(), block.Header(), parent); err != nil {
		return err
	}
	if err := chain.VerifyBody(i.cfg.Chain.Config(), block); err != nil {
		return err
	}
	return i.cfg.Chain.VerifyUncles(block)
}

// settlement is the outcome of a block that needs no execution.
type settlement = engine.PayloadStatusV1
