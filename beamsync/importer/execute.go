package importer

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// execute runs the block and makes its outcome durable.
func (i *Importer) execute(ctx context.Context, p *pending, base basis) (engine.PayloadStatusV1, error) {
	state, session, err := i.source(ctx, p, base)
	if err != nil {
		return i.settleError(p, err)
	}
	begin := time.Now()
	block := p.block
	if session != nil {
		block = i.gather(ctx, p, base, session)
	}
	p.enter("executing")
	executed := time.Now()
	result := i.cfg.Executor.Execute(ctx, evm.Job{
		Block:   block,
		Parent:  base.parent,
		State:   state,
		Headers: ancestors{i},
	})
	i.metrics.phases.WithLabelValues(phaseExecute).Observe(time.Since(executed).Seconds())
	took := time.Since(begin)

	var (
		status  engine.PayloadStatusV1
		fetched trie.FetchStats
	)
	if session != nil {
		fetched = session.Stats()
	}
	switch result.Outcome {
	case evm.Incomplete:
		i.report(p, result, fetched, took)
		return status, result.Err
	case evm.Invalid:
		status = i.reject(p, result.Err)
	case evm.Valid:
		if base.beamed { // its parent may have turned out bad meanwhile
			if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
				return status, nil
			}
		}
		if err := i.keep(block, result); err != nil {
			return status, err
		}
		status = valid(p.block.Hash())
	}
	i.metrics.phases.WithLabelValues(phaseCommit).Observe((time.Since(begin) - took).Seconds())
	i.report(p, result, fetched, took)
	return status, nil
}

// gather collects what a block will read, and returns the block with its access list if that was found.
func (i *Importer) gather(ctx context.Context, p *pending, base basis, session StateSession) *types.Block {
	begin := time.Now()
	p.enter("collecting")
	unhint := i.hint(ctx, p.block, base.parent.Root)
	defer unhint()
	block, err := i.collect(ctx, p.block, base.parent, session)
	if err != nil && ctx.Err() == nil {
		i.cfg.Log.Debug("Collecting ended early", "number", p.number(), "err", err)
	}
	i.metrics.phases.WithLabelValues(phaseCollect).Observe(time.Since(begin).Seconds())
	return block
}

// keep makes a valid block durable. That this fails is the end of Run.
func (i *Importer) keep(block *types.Block, result *evm.Result) error {
	if err := i.commit(block, result); err != nil {
		i.fail(fmt.Errorf("committing block %d: %w", block.Number(), err))
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.executed = max(i.mu.executed, block.NumberU64())
	return nil
}

// hint lets others of our kind help with collecting, until the function that it returns is called.
func (i *Importer) hint(ctx context.Context, block *types.Block, parentRoot common.Hash) (stop func()) {
	if i.cfg.Hints == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.cfg.Hints(ctx, block, parentRoot)
	}()
	return func() { cancel(); <-done }
}

// commit makes a valid block durable: first its new state, which is worth nothing by itself,
// then block, receipts and outcome in one batch.
func (i *Importer) commit(block *types.Block, result *evm.Result) error {
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

// reject remembers an invalid block and makes its status.
func (i *Importer) reject(p *pending, reason error) engine.PayloadStatusV1 {
	return i.rejectBlock(p.block, reason)
}

func (i *Importer) rejectBlock(block *types.Block, reason error) engine.PayloadStatusV1 {
	i.cfg.Chain.Reject(block, reason)
	i.metrics.imports.WithLabelValues(evm.Invalid.String()).Inc()
	i.cfg.Log.Warn("Invalid block", "number", block.Number(), "hash", block.Hash(), "err", reason)
	return invalid(i.cfg.Chain.LatestValid(block.ParentHash()), reason)
}
