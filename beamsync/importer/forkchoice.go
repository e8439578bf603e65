// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// Forkchoice names the head of the chain and its safe and finalized blocks, which may be zero.
type Forkchoice struct {
	Head, Safe, Finalized common.Hash
}

// choice is a forkchoice and its sequence number since the start.
type choice struct {
	Forkchoice
	sequence uint64
}

// Forkchoice makes a block the head, and moves the safe and finalized markers. If the head is not executed yet it
// waits for that until ctx ends, then returns Syncing. The choice is kept, and applied when the head is executed. An
// unknown head is fetched by its hash.
//
// Safe and finalized blocks that are not stored (beaming started above them) are no error: their headers are fetched
// when peers have them, and the markers follow.
//
// The error is internal or wraps [chain.ErrNotCanonical]: a marker contradicts the head's chain.
func (i *Importer) Forkchoice(ctx context.Context, update Forkchoice) (Outcome, error) {
	head := update.Head
	if head == (common.Hash{}) {
		return invalid(nil, errors.New("zero head")), nil
	}
	i.hear()
	i.mu.Lock()
	choice := choice{update, i.mu.choice.sequence + 1}
	i.mu.choice = choice
	i.announceLocked()
	i.mu.Unlock()
	outcome := i.known(head, common.Hash{})
	if !outcome.final() {
		outcome = i.importHead(ctx, head)
	}
	if outcome.Status == Valid {
		return i.choose(choice)
	}
	return outcome, nil
}

// importHead imports the forkchoice head, and fetches it if it is unknown.
func (i *Importer) importHead(ctx context.Context, head common.Hash) Outcome {
	if job := i.lookup(head); job != nil {
		return i.await(ctx, job)
	}
	if i.isAlone() && i.cfg.Chain.Block(head) == nil {
		i.logUnknownHead(head, errAlone)
		return syncing(errAlone)
	}
	var block *types.Block
	err := i.fetchUnlessArrived(ctx, nil, []common.Hash{head}, func(ctx context.Context) (err error) {
		block, err = i.fetchBlock(ctx, head)
		return err
	})
	switch {
	case errors.Is(err, errArrived): // as a payload
		if job := i.lookup(head); job != nil {
			return i.await(ctx, job)
		}
		return i.known(head, common.Hash{})
	case err != nil:
		i.logUnknownHead(head, err)
		return syncing(err)
	}
	job, err := i.enqueue(ctx, newImportJob(block))
	if err != nil { // shutting down
		return syncing(err)
	}
	return i.await(ctx, job)
}

func (i *Importer) logUnknownHead(head common.Hash, err error) {
	switch o := i.troubles.note(troubleUnknownHead, time.Now()); {
	case o.louder:
		i.cfg.Log.Warn("Forkchoice head is still unknown: no peer sends it, and it does not come as a payload", "hash", head, "for", o.lasts, "calls", o.times, "err", err)
	case o.first:
		i.cfg.Log.Info("Forkchoice head is unknown, waiting for its block", "hash", head, "err", err)
	}
}

// fetchBlock gets a block by hash: from the store if its body is there, else from peers.
func (i *Importer) fetchBlock(ctx context.Context, hash common.Hash) (*types.Block, error) {
	if block := i.cfg.Chain.Block(hash); block != nil {
		return block, nil
	}
	headers, err := i.cfg.Blocks.Headers(ctx, hash, 1)
	if err != nil {
		return nil, err
	}
	i.lists.want(headers...)
	blocks, err := i.cfg.Blocks.Bodies(ctx, headers)
	if err != nil {
		return nil, err
	}
	return blocks[0], nil
}

// applyForkchoice makes a block the head if the latest forkchoice named it before it was executed.
func (i *Importer) applyForkchoice(hash common.Hash) {
	i.mu.Lock()
	choice := i.mu.choice
	i.mu.Unlock()
	if choice.Head != hash || i.cfg.Chain.Status(hash) != chain.Executed {
		return
	}
	if _, err := i.choose(choice); err != nil {
		i.cfg.Log.Warn("Failed to apply the forkchoice", "hash", hash, "err", err)
	}
}

// choose applies a forkchoice whose head is executed, unless a later one was applied: it may have waited for its head
// meanwhile.
func (i *Importer) choose(choice choice) (Outcome, error) {
	i.choosing.Lock()
	defer i.choosing.Unlock()
	if choice.sequence < i.applied {
		return valid(choice.Head), nil
	}
	i.applied = choice.sequence

	header := i.cfg.Chain.Header(choice.Head)
	if i.cfg.Chain.IsBelowFinalized(header) {
		return valid(choice.Head), nil // nothing to do
	}
	reorg, err := i.cfg.Chain.SetHead(choice.Head)
	if err != nil {
		err = fmt.Errorf("setting head %x: %w", choice.Head, err)
		i.fail(err)
		return syncing(err), err
	}
	if len(reorg.Old) > 0 {
		i.metrics.reorgs.Inc()
		i.cfg.Log.Info("Chain reorganised", "dropped", len(reorg.Old), "added", len(reorg.New), "head", choice.Head)
	}
	i.mu.Lock()
	if choice.sequence == i.mu.choice.sequence { // blocks above it without a job are obsolete
		i.setNewestLocked(header.Number.Uint64())
	}
	i.mu.Unlock()
	return i.mark(choice)
}

// mark moves the safe and finalized markers of a choice whose head is set.
func (i *Importer) mark(choice choice) (Outcome, error) {
	err := i.cfg.Chain.SetMarkers(choice.Safe, choice.Finalized)
	switch {
	case errors.Is(err, chain.ErrNotCanonical):
		return Outcome{}, err
	case err != nil:
		i.fail(fmt.Errorf("marking safe and finalized: %w", err))
		return syncing(err), err
	}
	for _, hash := range []common.Hash{choice.Safe, choice.Finalized} {
		if hash != (common.Hash{}) && i.cfg.Chain.Header(hash) == nil {
			i.WantAncestors()
		}
	}
	return valid(choice.Head), nil
}
