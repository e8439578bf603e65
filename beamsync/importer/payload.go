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
	"github.com/sunbeam-eth/sunbeam/trie"
)

// NewPayload imports a block and waits for its outcome until ctx ends. Then it returns Syncing, and the import goes
// on. Invalid is only ever the result of a complete execution with all state available, of a header or body rule, or
// of an invalid ancestor. What needs no state is decided at once, whatever else is being imported.
func (i *Importer) NewPayload(ctx context.Context, block *types.Block) Outcome {
	i.hear()
	job := i.lookup(block.Hash())
	if job == nil {
		job = newImportJob(block)
		job.verified = true
		if outcome := i.verdict(job); outcome.final() {
			return outcome
		}
		var err error
		if job, err = i.enqueue(ctx, job); err != nil { // shutting down, or too many jobs
			return syncing(err)
		}
	}
	return i.await(ctx, job)
}

// hear records that the consensus client called.
func (i *Importer) hear() {
	i.heard.Store(time.Now().UnixNano())
	i.called.Store(true)
}

// enqueue starts a job, unless its block has one already. It returns the job of the block.
func (i *Importer) enqueue(ctx context.Context, job *importJob) (*importJob, error) {
	block := job.block
	i.mu.Lock()
	if job, ok := i.mu.jobs[block.Hash()]; ok {
		i.mu.Unlock()
		return job, nil
	}
	if !i.makeRoomLocked(block) {
		i.mu.Unlock()
		return nil, fmt.Errorf("%d blocks are being imported already", maxJobs)
	}
	i.mu.jobs[block.Hash()] = job
	i.newest.Store(max(i.newest.Load(), block.NumberU64()))
	i.announceLocked()
	i.metrics.pending.Set(float64(len(i.mu.jobs)))
	i.mu.Unlock()

	select {
	case i.spawn <- job:
		return job, nil
	case <-ctx.Done():
		i.finish(job, syncing(ctx.Err()))
		return nil, ctx.Err()
	}
}

// finish removes a job and wakes everyone who waits for it.
func (i *Importer) finish(job *importJob, outcome Outcome) {
	i.mu.Lock()
	if i.mu.jobs[job.block.Hash()] == job {
		delete(i.mu.jobs, job.block.Hash())
	}
	if outcome.Status == Invalid && job.number() == i.newest.Load() { // an invalid block may have any number
		i.setNewestLocked(i.mu.executed)
	}
	i.metrics.pending.Set(float64(len(i.mu.jobs)))
	i.mu.Unlock()
	job.finish(outcome)
}

// setNewestLocked sets the newest block number to this one or the highest of a job. A job that waits for ancestors does
// not count: its block may belong to no chain at all.
func (i *Importer) setNewestLocked(number uint64) {
	for _, job := range i.mu.jobs {
		if job.fetchingSince().IsZero() {
			number = max(number, job.number())
		}
	}
	i.newest.Store(number)
}

// lookup returns the job of a block, or nil.
func (i *Importer) lookup(hash common.Hash) *importJob {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mu.jobs[hash]
}

// run carries out a job.
func (i *Importer) run(ctx context.Context, job *importJob) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	job.begin(cancel)

	outcome := i.process(ctx, job)
	for errors.Is(outcome.Reason, trie.ErrDamaged) { // found by the read that failed; the owner of the states switches
		job.enter(stageDamaged)
		if !i.awaitBeaming(ctx) {
			break
		}
		outcome = i.process(ctx, job)
	}
	if !outcome.final() {
		i.logUndecided(ctx, job, outcome.Reason)
		i.checkStateLost(job, outcome.Reason)
	}
	i.finish(job, outcome)
	if outcome.Status == Valid {
		i.applyForkchoice(job.block.Hash())
	}
}

// logUndecided logs why a job ends without a final outcome.
func (i *Importer) logUndecided(ctx context.Context, job *importJob, reason error) {
	log := i.cfg.Log.With("number", job.number(), "hash", job.block.Hash())
	switch {
	case errors.Is(context.Cause(ctx), errEvicted), errors.Is(context.Cause(ctx), errExpired): // logged by expire
	case errors.Is(context.Cause(ctx), errSuperseded):
		log.Info("Stopped importing block", "reason", errSuperseded)
	case ctx.Err() != nil: // shutting down
	case errors.Is(reason, trie.ErrUnavailable):
		switch o := i.troubles.note(troubleUnavailable, job.since); {
		case o.louder:
			log.Warn("Blocks are still not imported: state or ancestors are unavailable", "for", o.lasts, "blocks", o.times, "err", reason)
		case o.first:
			log.Warn("Block not imported: state or ancestors are unavailable", "err", reason)
		}
	default:
		log.Error("Block not imported", "err", reason)
	}
}

// process takes a block through the stages of its import.
func (i *Importer) process(ctx context.Context, job *importJob) Outcome {
	if !job.verified {
		if outcome := i.verdict(job); outcome.final() {
			return outcome
		}
	}
	base, outcome := i.findBasis(ctx, job)
	for errors.Is(outcome.Reason, errArrived) {
		if outcome := i.arrived(job); outcome.final() {
			return outcome
		}
		base, outcome = i.findBasis(ctx, job)
	}
	switch {
	case base == nil:
		return outcome
	case base.parent == nil: // it was executed: the store is damaged, and the block may be valid
		return syncing(errHeaderMissing(job.block.ParentHash()))
	case base.beamed: // its parent's outcome was not known before, or is new
		if outcome := i.known(job.block.Hash(), job.block.ParentHash()); outcome.final() {
			return outcome
		}
	}
	// Rules that need no state come before any state is fetched.
	if job.defect != nil {
		return i.reject(job.block, job.defect)
	}
	if err := chain.VerifyHeader(i.cfg.Chain.Config(), job.block.Header(), base.parent); err != nil {
		return i.reject(job.block, err)
	}
	if err := i.cfg.Chain.VerifyUncles(job.block); err != nil {
		return i.reject(job.block, err)
	}
	if base.beamed {
		if err := i.beginBeaming(job, base.parent); err != nil {
			return syncing(err)
		}
	} else {
		i.supersede(job.number()) // what is further behind waits for state that no peer has any more
	}
	release, err := i.acquireSlot(ctx, job)
	if err != nil {
		return syncing(err)
	}
	defer release()
	return i.execute(ctx, job, base)
}

// arrived returns the outcome of a block as far as an ancestor that came meanwhile decides it.
func (i *Importer) arrived(job *importJob) Outcome {
	if outcome := i.known(job.block.Hash(), job.block.ParentHash()); outcome.final() {
		return outcome
	}
	return i.verifyParent(job)
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
