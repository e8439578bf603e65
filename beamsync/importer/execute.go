// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// execute runs the block and commits it if it is valid.
func (i *Importer) execute(ctx context.Context, job *importJob, base *basis) Outcome {
	state, session, outcome := i.openState(ctx, job, base)
	if state == nil {
		return outcome
	}
	begin := time.Now()
	block := job.block
	if session != nil {
		block = i.prefetch(ctx, job, base, session)
	}
	fetched := func() (stats trie.FetchStats) {
		if session != nil {
			stats = session.Stats()
		}
		return stats
	}
	speculated := time.Since(begin) - fetched().Wait
	job.enter(stageExecuting)
	executed := time.Now()
	result := i.cfg.Executor.Execute(ctx, evm.Job{
		Block:   block,
		Parent:  base.parent,
		State:   state,
		Headers: ancestors{i},
	})
	execution, took := time.Since(executed), time.Since(begin)
	i.metrics.phases.WithLabelValues(phaseExecute).Observe(execution.Seconds())

	report := BlockReport{Took: took, Fetched: fetched(), Speculated: max(0, speculated)}
	report.Executed = max(0, took-report.Fetched.Wait-report.Speculated)
	switch result.Outcome {
	case evm.Incomplete:
		i.report(job, result, report)
		return syncing(result.Err)
	case evm.Invalid:
		outcome = i.reject(job.block, result.Err)
	case evm.Valid:
		if base.beamed { // its parent may have been rejected meanwhile
			if outcome := i.known(job.block.Hash(), job.block.ParentHash()); outcome.final() {
				return outcome
			}
		}
		if err := i.commit(block, result); err != nil {
			return syncing(err)
		}
		i.metrics.executed(block.GasUsed(), took, execution, time.Since(begin)-took)
		outcome = valid(job.block.Hash())
	}
	report.Written = time.Since(begin) - took
	i.metrics.phases.WithLabelValues(phaseCommit).Observe(report.Written.Seconds())
	i.report(job, result, report)
	return outcome
}

// commit makes a valid block durable. An error ends Run.
func (i *Importer) commit(block *types.Block, result *evm.Result) error {
	if err := i.write(block, result); err != nil {
		i.fail(fmt.Errorf("committing block %d: %w", block.Number(), err))
		return err
	}
	if lasted := i.troubles.end(); lasted > 0 {
		i.cfg.Log.Info("Blocks are imported again", "number", block.Number(), "after", lasted)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.executed = max(i.mu.executed, block.NumberU64())
	i.announceLocked()
	return nil
}

// write stores first the new state, which has no effect by itself, then block, receipts and outcome in one batch.
func (i *Importer) write(block *types.Block, result *evm.Result) error {
	for hash, code := range result.Codes {
		if err := i.cfg.Local.PutCode(hash, code); err != nil {
			return err
		}
	}
	if err := i.cfg.Local.PutNodes(result.Nodes); err != nil {
		return err
	}
	return i.cfg.Chain.Commit(block, result.Receipts)
}
