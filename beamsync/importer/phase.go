// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Phase is how the node gets state. The importer owns it: everyone else asks [Importer.Phase] or [Importer.States].
type Phase int

const (
	// Beaming: missing state is fetched from peers while a block executes.
	Beaming Phase = iota
	// FullNode: blocks are executed on complete local states.
	FullNode
)

// String returns the phase as beam_status spells it.
func (p Phase) String() string {
	switch p {
	case Beaming:
		return "beaming"
	case FullNode:
		return "full"
	}
	return fmt.Sprintf("phase(%d)", int(p))
}

// States are the complete states of some blocks. Executing a block on one of them adds the block's own.
type States interface {
	// Has says whether the state with a root is available. It may be discarded once 128 are newer.
	Has(root common.Hash) bool
	// Open opens it for one execution.
	Open(ctx context.Context, root common.Hash) evm.State
}

// fullStates is what a full node executes on.
type fullStates struct {
	States
	lowest uint64 // number of the lowest block with a state when this process began to use them
}

// LowestState finds the run of canonical blocks with a state that is nearest to the head, and returns the number of its
// lowest block. After a kill it may end far below the head: states in memory are lost. It returns false if no
// canonical block has a state.
func LowestState(c *chain.Chain, states States) (uint64, bool) {
	var lowest *types.Header
	for at := c.CurrentHeader(); at != nil; at = c.Header(at.ParentHash) {
		switch has := states.Has(at.Root) && c.Status(at.Hash()) == chain.Executed; {
		case has:
			lowest = at
		case lowest != nil:
			return lowest.Number.Uint64(), true
		}
	}
	if lowest == nil {
		return 0, false
	}
	return lowest.Number.Uint64(), true
}

// Phase returns the current phase.
func (i *Importer) Phase() Phase {
	if i.full() == nil {
		return Beaming
	}
	return FullNode
}

// States returns the complete states that blocks are executed on, nil while beaming.
func (i *Importer) States() States {
	if full := i.full(); full != nil {
		return full.States
	}
	return nil
}

// full returns what a full node executes on, nil while beaming.
func (i *Importer) full() *fullStates { return i.states.Load() }

// SwitchToFull ends the beaming phase. states has the state of the canonical block base. The blocks above it are
// executed on states while beaming goes on. Then ready is called, and every later block is executed on states. A block
// that is being executed meanwhile beams to its end, and is executed again when its child comes.
//
// After an error the importer still beams, and the switch can be tried again.
func (i *Importer) SwitchToFull(ctx context.Context, states States, base *types.Header, ready func() error) error {
	full := &fullStates{States: states, lowest: base.Number.Uint64()}
	for done := (common.Hash{}); ; {
		head := i.cfg.Chain.CurrentHeader()
		if head.Hash() == done {
			break
		}
		if err := i.catchUp(ctx, nil, full, head.Hash(), head.Number.Uint64()).err(); err != nil {
			return fmt.Errorf("execute blocks %d to %d again: %w", full.lowest+1, head.Number, err)
		}
		done = head.Hash()
	}
	if err := ready(); err != nil {
		return err
	}
	i.states.Store(full)
	return nil
}

// SwitchToBeaming ends the full phase. Blocks that could not be executed because the local state is damaged are
// executed again, on state from peers.
func (i *Importer) SwitchToBeaming() {
	i.mu.Lock()
	i.states.Store(nil)
	close(i.mu.beaming)
	i.mu.beaming = make(chan struct{})
	i.mu.Unlock()
	select {
	case <-i.stateLost: // this call is the response to it
	default:
	}
}

// awaitBeaming waits until the node is beaming; false if ctx ends before.
func (i *Importer) awaitBeaming(ctx context.Context) bool {
	i.mu.Lock()
	beaming, now := i.mu.beaming, i.Phase() == Beaming
	i.mu.Unlock()
	if now {
		return ctx.Err() == nil
	}
	select {
	case <-beaming:
		return true
	case <-ctx.Done():
		return false
	}
}

// StateLost receives when the forkchoice head descends from no block with an available state: a reorg below all of
// them. Then only beaming can execute it.
func (i *Importer) StateLost() <-chan struct{} { return i.stateLost }

// checkStateLost signals StateLost if that is why the import of the forkchoice head ended. Other blocks do not matter.
func (i *Importer) checkStateLost(job *importJob, reason error) {
	i.mu.Lock()
	head := i.mu.choice.Head
	i.mu.Unlock()
	if head != job.block.Hash() || !errors.Is(reason, errNoState) || i.Phase() == Beaming { // it may beam again by now
		return
	}
	select {
	case i.stateLost <- struct{}{}:
	default:
	}
}

// restore rebuilds the state of the head after a restart. What fails here fails again, with an outcome, when the next
// block comes.
func (i *Importer) restore(ctx context.Context) {
	states, head := i.full(), i.cfg.Chain.CurrentHeader()
	if states == nil || states.Has(head.Root) {
		return
	}
	i.cfg.Log.Info("Rebuilding the newest states: the last process ended without saving them", "head", head.Number, "from", states.lowest)
	if err := i.catchUp(ctx, nil, states, head.Hash(), head.Number.Uint64()).err(); err != nil && ctx.Err() == nil && !errors.Is(err, trie.ErrDamaged) {
		i.cfg.Log.Warn("Failed to rebuild the head state", "number", head.Number, "err", err)
	}
}

// fullBasis is findBasis of a full node: all blocks between the block and an available state are executed first,
// however many those are.
func (i *Importer) fullBasis(ctx context.Context, job *importJob, states *fullStates) (*basis, Outcome) {
	hash := job.block.ParentHash()
	if parent := i.lookup(hash); parent != nil {
		if outcome := i.awaitParent(ctx, job, parent); outcome.ended() {
			return nil, outcome
		}
	}
	if outcome := i.verifyMissedParent(ctx, job, states); outcome.ended() {
		return nil, outcome
	}
	if outcome := i.catchUpParent(ctx, job, states); outcome.ended() {
		return nil, outcome
	}
	return &basis{parent: i.cfg.Chain.Header(hash)}, Outcome{}
}

// verifyMissedParent fetches the header of a block's parent if it is not local, with those below it, and verifies them:
// the number that the block claims decides how far a catch-up goes.
func (i *Importer) verifyMissedParent(ctx context.Context, job *importJob, states *fullStates) Outcome {
	hash, amount := job.block.ParentHash(), 1
	if i.localHeader(hash) != nil {
		return Outcome{} // verified before
	}
	if floor := max(states.lowest, i.cfg.Chain.CurrentHeader().Number.Uint64()); job.number() > floor+1 {
		amount = int(min(job.number()-1-floor, headerBatch))
	}
	job.enter(stageParentHeader)
	headers, err := i.fetchAncestors(ctx, job, hash, amount)
	if err != nil {
		return syncing(fmt.Errorf("header of parent %x: %w", hash, err))
	}
	if job.defect != nil {
		return i.reject(job.block, job.defect)
	}
	return i.verifyLinked(append([]*types.Header{job.block.Header()}, headers...))
}

// catchUpParent makes the state of a block's parent available. It returns the outcome that the block inherits.
func (i *Importer) catchUpParent(ctx context.Context, job *importJob, states *fullStates) Outcome {
	hash := job.block.ParentHash()
	if i.isExecutable(states, hash) {
		return Outcome{}
	}
	job.enter(stageMissedBlocks)
	outcome := i.catchUp(ctx, job, states, hash, job.number()-1)
	if outcome.Status == Syncing {
		return outcome
	}
	return i.inherit(job.block, outcome)
}

// isExecutable says whether a child of this block can be executed at once.
func (i *Importer) isExecutable(states *fullStates, hash common.Hash) bool {
	header := i.cfg.Chain.Header(hash)
	return header != nil && i.cfg.Chain.Status(hash) == chain.Executed && states.Has(header.Root)
}

// openState opens the state that a block is executed on, and the session that fetches what is missing of it; nil on
// a full node. If it returns no state, it returns the outcome instead.
func (i *Importer) openState(ctx context.Context, job *importJob, base *basis) (evm.State, StateSession, Outcome) {
	states := i.full()
	if states == nil {
		session := i.cfg.Session()
		return trie.Open(ctx, base.parent.Root, i.cfg.Local, session), session, Outcome{}
	}
	// The basis may have been found while the node was beaming still.
	if outcome := i.catchUpParent(ctx, job, states); outcome.ended() {
		return nil, nil, outcome
	}
	return states.Open(ctx, base.parent.Root), nil, Outcome{}
}
