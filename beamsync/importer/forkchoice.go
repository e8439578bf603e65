package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// choice is a forkchoice, and the how many-th one since the start.
type choice struct {
	engine.ForkchoiceStateV1
	turn uint64
}

// Forkchoice makes a block the head, and marks the safe and the finalized one. If the head is
// not executed yet it waits for that as long as ctx allows, then answers SYNCING; the choice
// is kept and takes effect when the outcome is there. An unknown head is fetched by its hash.
//
// Safe and finalized blocks that are not held (the node began beaming above them) are not an
// error: their headers are fetched when peers have them, and the markers follow.
//
// Errors are engine.InvalidForkChoiceState (-38002): a marker that contradicts the head's chain.
func (i *Importer) Forkchoice(ctx context.Context, update engine.ForkchoiceStateV1) (engine.PayloadStatusV1, error) {
	head := update.HeadBlockHash
	if head == (common.Hash{}) {
		return invalid(nil, errors.New("zero head")), nil
	}
	i.mu.Lock()
	choice := choice{update, i.mu.choice.turn + 1}
	i.mu.choice = choice
	i.mu.Unlock()
	if i.cfg.Chain.Status(head) == chain.Executed {
		return i.choose(choice)
	}
	if status, known := i.settled(head, common.Hash{}); known {
		return status, nil
	}
	p := i.lookup(head)
	if p == nil {
		block, err := i.fetchBlock(ctx, head)
		if err != nil {
			i.cfg.Log.Info("Waiting for the block of an unknown head", "hash", head, "err", err)
			return syncing(), nil
		}
		if p, err = i.enlist(ctx, block); err != nil {
			return syncing(), nil //nolint:nilerr // shutting down or crowded
		}
	}
	status := p.wait(ctx)
	if status.Status == engine.VALID {
		return i.choose(choice)
	}
	return status, nil
}

// AtHead says whether the head of the chain is the one that was chosen last.
func (i *Importer) AtHead() bool {
	i.mu.Lock()
	chosen := i.mu.choice.HeadBlockHash
	i.mu.Unlock()
	return chosen == i.cfg.Chain.CurrentHeader().Hash()
}

// fetchBlock gets a block by hash: from the store if its body is held, else from peers.
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

// applyChoice makes a block the head that was chosen before it was executed.
func (i *Importer) applyChoice(hash common.Hash) {
	i.mu.Lock()
	choice := i.mu.choice
	i.mu.Unlock()
	if choice.HeadBlockHash != hash || i.cfg.Chain.Status(hash) != chain.Executed {
		return
	}
	if _, err := i.choose(choice); err != nil {
		i.cfg.Log.Warn("Chosen head could not be set", "hash", hash, "err", err)
	}
}

// choose applies a forkchoice whose head is executed, unless one that came after it has been: it may have waited
// for its head meanwhile.
func (i *Importer) choose(choice choice) (engine.PayloadStatusV1, error) {
	i.choosing.Lock()
	defer i.choosing.Unlock()
	if choice.turn < i.applied {
		return valid(choice.HeadBlockHash), nil
	}
	i.applied = choice.turn

	header := i.cfg.Chain.Header(choice.HeadBlockHash)
	if final := i.cfg.Chain.Finalized(); final != nil && header.Number.Cmp(final.Number) < 0 &&
		i.cfg.Chain.CanonicalHash(header.Number.Uint64()) == choice.HeadBlockHash {
		return valid(choice.HeadBlockHash), nil // an ancestor of the finalized block: nothing to do
	}
	reorg, err := i.cfg.Chain.SetHead(choice.HeadBlockHash)
	if err != nil {
		err = fmt.Errorf("setting head %x: %w", choice.HeadBlockHash, err)
		i.fail(err)
		return syncing(), err
	}
	if len(reorg.Old) > 0 {
		i.metrics.reorgs.Inc()
		i.cfg.Log.Info("Chain reorganised", "dropped", len(reorg.Old), "added", len(reorg.New), "head", choice.HeadBlockHash)
	}
	i.mu.Lock()
	if choice.turn == i.mu.choice.turn { // what is above and not in work is not wanted any more
		i.setNewestLocked(header.Number.Uint64())
	}
	i.mu.Unlock()
	i.metrics.head.Set(float64(header.Number.Uint64()))
	i.metrics.lag.Set(float64(i.lag()))

	return i.mark(choice)
}

// mark moves the safe and finalized markers of a choice whose head is set.
func (i *Importer) mark(choice choice) (engine.PayloadStatusV1, error) {
	err := i.cfg.Chain.SetMarkers(choice.SafeBlockHash, choice.FinalizedBlockHash)
	switch {
	case errors.Is(err, chain.ErrNotCanonical):
		return engine.PayloadStatusV1{}, engine.InvalidForkChoiceState.With(err)
	case err != nil:
		i.fail(fmt.Errorf("marking safe and finalized: %w", err))
		return syncing(), err
	}
	for _, hash := range []common.Hash{choice.SafeBlockHash, choice.FinalizedBlockHash} {
		if hash != (common.Hash{}) && i.cfg.Chain.Header(hash) == nil {
			i.wantAncestors()
		}
	}
	return valid(choice.HeadBlockHash), nil
}

// wantAncestors asks the ancestry goroutine for headers below what we hold.
func (i *Importer) wantAncestors() {
	select {
	case i.ancestry <- struct{}{}:
	default: // asked for already
	}
}

// fetchAncestry gets the headers below the oldest one that is held, so that the safe and
// finalized markers and BLOCKHASH find them. It serves one wish at a time until ctx ends.
func (i *Importer) fetchAncestry(ctx context.Context) {
	for {
		select {
		case <-i.ancestry:
		case <-ctx.Done():
			return
		}
		number := i.cfg.Chain.Tail()
		tail := i.cfg.Chain.HeaderByNumber(number)
		if number == 0 || tail == nil {
			continue
		}
		headers, err := i.cfg.Blocks.Headers(ctx, tail.ParentHash, int(min(ancestorHeaders, number)))
		if err == nil {
			err = i.cfg.Chain.AddHeaders(headers)
		}
		if err != nil && ctx.Err() == nil {
			i.cfg.Log.Warn("Ancestor headers not fetched", "below", number, "err", err)
		}
	}
}

// WantAncestors asks for headers below those that are held; they come when a peer has them.
func (i *Importer) WantAncestors() { i.wantAncestors() }
