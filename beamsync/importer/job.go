// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// The stages of an import job: what it waits for, as beam_status and the log spell it.
const (
	stageQueued       = "queued"
	stageParent       = "parent"        // the job of the parent
	stageParentHeader = "parent header" // from peers
	stageAncestors    = "ancestors"     // headers and bodies from peers
	stageMissedBlocks = "missed blocks" // a full node catches up
	stageDamaged      = "damaged state" // the change to beaming
	stageSlot         = "slot"          // one of maxExecutions
	stagePrefetching  = "prefetching"
	stageExecuting    = "executing"
)

// importJob is the import of one block. Any number of callers can wait for its outcome.
type importJob struct {
	block     *types.Block
	since     time.Time
	verified  bool                          // its verdict was asked for before, and it has none yet
	defect    error                         // what is wrong with the body; it counts as soon as the parent is known
	ancestors map[common.Hash]*types.Header // that connect has fetched; of the job's goroutine

	done    chan struct{} // closed by finish; outcome is set before
	outcome Outcome

	mu struct {
		sync.Mutex
		reason   error                   // why it was cancelled
		cancel   context.CancelCauseFunc // ends the work; nil until begin
		stage    string
		fetching time.Time // since when it waits for ancestors from peers; zero: it does not
		finished bool
	}
}

func newImportJob(block *types.Block) *importJob {
	job := &importJob{block: block, since: time.Now(), ancestors: make(map[common.Hash]*types.Header), done: make(chan struct{})}
	job.mu.stage = stageQueued
	return job
}

func (job *importJob) number() uint64 { return job.block.NumberU64() }

// wait returns the outcome, or Syncing when ctx ends first.
func (job *importJob) wait(ctx context.Context) Outcome {
	select {
	case <-job.done:
		return job.outcome
	case <-ctx.Done():
		return syncing(nil)
	}
}

func (job *importJob) finish(outcome Outcome) {
	job.mu.Lock()
	defer job.mu.Unlock()
	if job.mu.finished {
		return
	}
	job.mu.finished = true
	job.outcome = outcome
	close(job.done)
}

// giveUp cancels the work. It returns false if the job has ended or was cancelled before.
func (job *importJob) giveUp(reason error) bool {
	job.mu.Lock()
	defer job.mu.Unlock()
	if job.mu.finished || job.mu.reason != nil {
		return false
	}
	job.mu.reason = reason
	if job.mu.cancel != nil {
		job.mu.cancel(reason)
	}
	return true
}

// begin sets how the work is cancelled. A job that was cancelled before ends at once.
func (job *importJob) begin(cancel context.CancelCauseFunc) {
	job.mu.Lock()
	defer job.mu.Unlock()
	job.mu.cancel = cancel
	if job.mu.reason != nil {
		cancel(job.mu.reason)
	}
}

// setFetching records whether the job waits for ancestors from peers.
func (job *importJob) setFetching(fetching bool) {
	job.mu.Lock()
	defer job.mu.Unlock()
	if fetching {
		job.mu.fetching = time.Now()
	} else {
		job.mu.fetching = time.Time{}
	}
}

// fetchingSince returns since when the job waits for ancestors from peers; zero if it does not.
func (job *importJob) fetchingSince() time.Time {
	job.mu.Lock()
	defer job.mu.Unlock()
	return job.mu.fetching
}

func (job *importJob) enter(stage string) {
	job.mu.Lock()
	defer job.mu.Unlock()
	job.mu.stage = stage
}

func (job *importJob) stage() string {
	job.mu.Lock()
	defer job.mu.Unlock()
	return job.mu.stage
}
