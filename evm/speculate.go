// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Mode is the value that a speculation takes for a storage slot that is missing and was not seen in a
// recent block. Some checks pass with the one value only, some with the other.
type Mode uint8

const (
	// ModePlaceholder takes a large number that is recognized in keys computed from it.
	ModePlaceholder Mode = iota
	// ModeZero takes zero, the value of a slot that was never written.
	ModeZero
)

// Speculation is a block to run on the local part of its parent's state.
type Speculation struct {
	Block  *types.Block
	Parent *types.Header      // as in Job
	State  *trie.PartialState // opened on Parent.Root, for one run; records what is missing
	Mode   Mode
	// Progress is that of the block, nil if no other run is to know of this one.
	Progress *Progress
	// LocalHeader finds ancestors for BLOCKHASH without blocking. It returns nil for a missing one.
	LocalHeader func(hash common.Hash, number uint64) *types.Header
}

// SpeculateGroup runs some transactions of the block, in order and without the others. The only result is what spec.State
// recorded as missing, and spec.Progress; the run in another Mode would be the same unless usedMode. It is safe for
// concurrent use with a State for each call.
func (e *Executor) SpeculateGroup(ctx context.Context, spec Speculation, group []int) (usedMode bool) {
	r := e.newRun(ctx, spec, group)
	defer e.recoverRun(&r.speculationRun)
	defer r.end()
	for _, i := range group {
		r.transaction(i)
	}
	if !spec.State.Missed() {
		r.deletions()
	}
	return r.tracer.fallback.usedMode
}

// SpeculateBlock runs the whole block, including the system calls. The only result is what spec.State recorded as missing,
// and spec.Progress; usedMode as of SpeculateGroup.
func (e *Executor) SpeculateBlock(ctx context.Context, spec Speculation) (usedMode bool) {
	all := make([]int, len(spec.Block.Transactions()))
	for i := range all {
		all[i] = i
	}
	r := e.newRun(ctx, spec, all)
	defer e.recoverRun(&r.speculationRun)
	defer r.end()
	r.before()
	for _, i := range all {
		r.transaction(i)
	}
	r.after()
	r.deletions()
	return r.tracer.fallback.usedMode
}

// optimistic prepares a run of some transactions: spec.State gets its fallback values. The caller
// finishes the tracer after the run.
func (e *Executor) optimistic(ctx context.Context, spec Speculation, txs []int) *optimisticTracer {
	values := newFallback(spec.Mode, e.lastSeen)
	senders := e.Senders(spec.Block) // cached by now
	for _, i := range txs {
		if _, seen := values.nonces[senders[i]]; !seen {
			values.nonces[senders[i]] = spec.Block.Transactions()[i].Nonce()
		}
	}
	spec.State.Fallback = values
	return newOptimisticTracer(ctx, spec.State, values, e.profiles)
}

// LikelySlots returns the slots that a contract probably reads when it is called with input. It returns
// none if the contract's code hash is known: then a run of the code finds them.
func (e *Executor) LikelySlots(to common.Address, input []byte) []common.Hash {
	if _, known := e.lastSeen.codeHash(to); known || len(input) == 0 {
		return nil
	}
	return e.profiles.likelySlots(input)
}

// SeedCodes tells speculation the code hashes of accounts before a block shows them.
func (e *Executor) SeedCodes(codes map[common.Address]common.Hash) { e.lastSeen.seed(codes) }

// localChain implements core.ChainContext over the parent and local headers. A missing header makes
// BLOCKHASH return zero.
type localChain struct {
	executor *Executor
	spec     Speculation
}

func (c localChain) Config() *params.ChainConfig  { return c.executor.config }
func (c localChain) Engine() consensus.Engine     { return c.executor.engine }
func (c localChain) CurrentHeader() *types.Header { return c.spec.Parent }

func (c localChain) GetHeader(hash common.Hash, number uint64) *types.Header {
	if hash == c.spec.Block.ParentHash() {
		return c.spec.Parent
	}
	return c.spec.LocalHeader(hash, number)
}
func (c localChain) GetHeaderByHash(common.Hash) *types.Header { return nil }
func (c localChain) GetHeaderByNumber(uint64) *types.Header    { return nil }
