// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
)

// Verdicts that need no state. They come first, in the order of what they need: nothing but the block, the header of its
// parent, headers from peers. All of them are final, because a header is taken for that of a parent by its hash only.

// errNotGenesis is for payloads: no chain has a second block 0.
var errNotGenesis = errors.New("invalid block number: 0 is the genesis block's")

// verdict returns the outcome of a block as far as the block itself and local headers decide it. It does not end if they
// do not. A body that breaks a rule is invalid as soon as the parent is known: until then consensus clients and their test
// suites expect SYNCING, as go-ethereum says.
func (i *Importer) verdict(job *importJob) Outcome {
	block := job.block
	if outcome := i.known(block.Hash(), block.ParentHash()); outcome.final() {
		return outcome
	}
	if err := chain.VerifyHeaderAlone(i.cfg.Chain.Config(), block.Header()); err != nil {
		return i.reject(block, err)
	}
	if job.defect = i.verifyBody(block); errors.Is(job.defect, chain.ErrBodyMismatch) { // not recorded: the hash may be valid
		return invalid(i.cfg.Chain.LatestValid(block.ParentHash()), job.defect)
	}
	if block.NumberU64() == 0 { // not our genesis block, which is executed
		return i.reject(block, errNotGenesis)
	}
	return i.verifyParent(job)
}

// verifyBody checks the rules of a body, which need neither the parent nor state.
func (i *Importer) verifyBody(block *types.Block) error {
	config := i.cfg.Chain.Config()
	if err := chain.VerifyBody(config, block); err != nil {
		return err
	}
	if i.Phase() == FullNode && i.cfg.Chain.Status(block.ParentHash()) == chain.Executed {
		return nil // the execution recovers the senders concurrently with its other work, and waits for nothing
	}
	i.cfg.Executor.Senders(block) // caches them
	return chain.VerifyTransactions(config, block)
}

// verifyParent checks a block's header against that of its parent, if that is local: stored, or of a job. Then a broken
// rule of the body counts too.
func (i *Importer) verifyParent(job *importJob) Outcome {
	block, parent := job.block, i.localHeader(job.block.ParentHash())
	switch {
	case parent == nil:
		return Outcome{}
	case job.defect != nil:
		return i.reject(block, job.defect)
	}
	if err := chain.VerifyHeader(i.cfg.Chain.Config(), block.Header(), parent); err != nil {
		return i.reject(block, err)
	}
	return Outcome{}
}

// localHeader returns a header that is stored or that of a job, else nil.
func (i *Importer) localHeader(hash common.Hash) *types.Header {
	if header := i.cfg.Chain.Header(hash); header != nil {
		return header
	}
	if job := i.lookup(hash); job != nil {
		return job.block.Header()
	}
	return nil
}

// verifyLinked checks headers that are linked by hash, newest first, each against its parent. It returns the outcome of
// the newest block if a rule is broken: the lowest block that breaks one is rejected, and those above descend from it.
func (i *Importer) verifyLinked(headers []*types.Header) Outcome {
	for at := len(headers) - 2; at >= 0; at-- {
		err := chain.VerifyHeader(i.cfg.Chain.Config(), headers[at], headers[at+1])
		if err == nil {
			continue
		}
		i.cfg.Chain.Reject(headers[at], err)
		outcome := i.rejected(headers[at], err)
		if at > 0 {
			outcome = ofDescendant(headers[at].Hash(), outcome)
			i.rejectDescendants(headers[:at])
		}
		return outcome
	}
	return Outcome{}
}

// rejectDescendants records blocks, newest first, as descendants of an invalid block: the parent of the last.
func (i *Importer) rejectDescendants(headers []*types.Header) {
	for at := len(headers) - 1; at >= 0; at-- {
		i.cfg.Chain.RejectChild(headers[at].Hash(), headers[at].ParentHash)
	}
}

// reject records that a block is invalid, and wakes the jobs that wait for it from peers.
func (i *Importer) reject(block *types.Block, reason error) Outcome {
	i.cfg.Chain.RejectBlock(block, reason)
	return i.rejected(block.Header(), reason)
}

// rejected reports a block that was recorded as invalid, and wakes the jobs that wait for it from peers.
func (i *Importer) rejected(header *types.Header, reason error) Outcome {
	i.metrics.imports.WithLabelValues(evm.Invalid.String()).Inc()
	i.cfg.Log.Warn("Invalid block", "number", header.Number, "hash", header.Hash(), "err", reason)
	i.mu.Lock()
	i.announceLocked()
	i.mu.Unlock()
	return invalid(i.cfg.Chain.LatestValid(header.ParentHash), reason)
}
