// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// basis is what a block is executed on.
type basis struct {
	parent *types.Header
	beamed bool // the parent was not executed here: beaming starts with this block
}

// errHeaderMissing is for executed blocks.
func errHeaderMissing(hash common.Hash) error {
	return fmt.Errorf("header of executed block %x is missing: the database is damaged", hash)
}

// findBasis finds or makes the basis of a block. If it returns none, it returns the outcome instead.
func (i *Importer) findBasis(ctx context.Context, job *importJob) (*basis, Outcome) {
	if states := i.full(); states != nil {
		return i.fullBasis(ctx, job, states)
	}
	hash := job.block.ParentHash()
	if i.cfg.Chain.Status(hash) == chain.Executed {
		return &basis{parent: i.cfg.Chain.Header(hash)}, Outcome{}
	}
	parent, waits := i.lookup(hash), i.jobsBelow(hash)
	switch {
	case waits > i.cfg.MaxLag, parent == nil && !i.withinReach(job.number()):
		return i.beamedBasis(ctx, job)
	case parent == nil:
		var outcome Outcome
		if parent, outcome = i.connect(ctx, job); outcome.ended() {
			return nil, outcome
		}
	}
	if parent != nil {
		end := i.prefetchAhead(ctx, job.block, parent.block.Header())
		outcome := i.awaitParent(ctx, job, parent)
		end()
		if outcome.ended() {
			return nil, outcome
		}
	}
	if i.cfg.Chain.Status(hash) != chain.Executed {
		// No executed ancestor within reach: a side chain deeper than the lag allows.
		return i.beamedBasis(ctx, job)
	}
	return &basis{parent: i.cfg.Chain.Header(hash)}, Outcome{}
}

// awaitParent waits for the job of the parent, always: a block on an invalid parent is not valid. It returns the
// outcome that the block inherits.
func (i *Importer) awaitParent(ctx context.Context, job, parent *importJob) Outcome {
	job.enter(stageParent)
	outcome := parent.wait(ctx)
	if ctx.Err() != nil {
		return syncing(ctx.Err())
	}
	return i.inherit(job.block, outcome)
}

// jobsBelow counts the linked jobs from a block downward.
func (i *Importer) jobsBelow(hash common.Hash) uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	var n uint64
	for job := i.mu.jobs[hash]; job != nil; job = i.mu.jobs[job.block.ParentHash()] {
		n++
	}
	return n
}

// beamedBasis is the basis of a block whose parent is not executed: the parent's header, local or from peers.
func (i *Importer) beamedBasis(ctx context.Context, job *importJob) (*basis, Outcome) {
	hash := job.block.ParentHash()
	if header := i.cfg.Chain.Header(hash); header != nil {
		return &basis{parent: header, beamed: true}, Outcome{}
	}
	if parent := i.lookup(hash); parent != nil {
		return &basis{parent: parent.block.Header(), beamed: true}, Outcome{}
	}
	job.enter(stageParentHeader)
	headers, err := i.fetchAncestors(ctx, job, hash, 1)
	if err != nil {
		return nil, syncing(fmt.Errorf("header of parent %x: %w", hash, err))
	}
	return &basis{parent: headers[0], beamed: true}, Outcome{}
}

// connect fetches the missing ancestors of a block, at most MaxLag of them, and starts their jobs. It returns the job
// of the parent; nil if that was executed meanwhile or no executed ancestor is within reach. The
// import ends with the outcome if that has [Outcome.ended].
func (i *Importer) connect(ctx context.Context, job *importJob) (*importJob, Outcome) {
	job.enter(stageAncestors)
	var (
		missing []*types.Header // newest first
		hash    = job.block.ParentHash()
	)
	for i.cfg.Chain.Status(hash) != chain.Executed && i.lookup(hash) == nil {
		outOfReach := uint64(len(missing)) >= i.cfg.MaxLag
		if outOfReach || i.cfg.Chain.Rejects(hash) {
			if outcome := i.inheritLinked(job.block, missing); outOfReach || outcome.ended() {
				return nil, outcome // out of reach is not an error
			}
		}
		headers, err := i.fetchAncestors(ctx, job, hash, int(i.cfg.MaxLag)-len(missing))
		if err != nil {
			return nil, syncing(fmt.Errorf("ancestors of block %d: %w", job.number(), err))
		}
		if outcome := i.verifyLinked(slices.Concat([]*types.Header{job.block.Header()}, missing, headers)); outcome.final() {
			return nil, outcome
		}
		if job.defect != nil {
			return nil, i.reject(job.block, job.defect)
		}
		for _, header := range headers {
			if i.anyArrived([]common.Hash{hash}) != nil {
				break
			}
			missing = append(missing, header)
			hash = header.ParentHash
			if header.Number.Sign() == 0 {
				return nil, syncing(fmt.Errorf("block %d descends from another genesis block, %x", job.number(), header.Hash()))
			}
		}
	}
	if len(missing) == 0 { // the parent was executed, or its job started meanwhile
		return i.lookup(hash), Outcome{}
	}
	i.lists.want(missing...)
	var blocks []*types.Block
	err := i.fetchUnlessArrived(ctx, job, hashesOf(missing), func(ctx context.Context) (err error) {
		blocks, err = i.cfg.Blocks.Bodies(ctx, missing)
		return err
	})
	if err != nil {
		return nil, syncing(fmt.Errorf("bodies of the ancestors of block %d: %w", job.number(), err))
	}
	var parent *importJob
	for n := len(blocks) - 1; n >= 0; n-- { // oldest first, so that each finds the job of its parent
		if parent, err = i.enqueue(ctx, newImportJob(blocks[n])); err != nil {
			return nil, syncing(fmt.Errorf("ancestor %d: %w", blocks[n].NumberU64(), err))
		}
	}
	return parent, Outcome{}
}

// fetchAncestors returns headers from one downward: those that the job has fetched before, else from peers.
func (i *Importer) fetchAncestors(ctx context.Context, job *importJob, hash common.Hash, amount int) (headers []*types.Header, err error) {
	for header := job.ancestors[hash]; header != nil && len(headers) < amount; header = job.ancestors[header.ParentHash] {
		headers = append(headers, header)
	}
	if len(headers) > 0 {
		return headers, nil
	}
	err = i.fetchUnlessArrived(ctx, job, []common.Hash{hash}, func(ctx context.Context) (err error) {
		headers, err = i.cfg.Blocks.Headers(ctx, hash, amount)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, header := range headers {
		job.ancestors[header.Hash()] = header
	}
	return headers, nil
}

func hashesOf(headers []*types.Header) []common.Hash {
	hashes := make([]common.Hash, len(headers))
	for at, header := range headers {
		hashes[at] = header.Hash()
	}
	return hashes
}

// inheritLinked returns the outcome that a block inherits from its ancestors, whose headers are linked, newest first.
// It looks for an invalid one among them and the parent of the last: no block above that may be beamed.
func (i *Importer) inheritLinked(block *types.Block, ancestors []*types.Header) Outcome {
	hash := block.ParentHash()
	for at := 0; ; at++ {
		if latest, err := i.cfg.Chain.LastingRejection(hash); err != nil {
			i.rejectDescendants(ancestors[:at])
			return i.inherit(block, invalid(latest, err))
		}
		if at == len(ancestors) {
			return Outcome{}
		}
		hash = ancestors[at].ParentHash
	}
}
