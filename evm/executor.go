// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// ErrInternal marks an Incomplete that is a bug on our side: a job whose parts do not belong together, a
// panic in go-ethereum, a state error that no failed read explains.
var ErrInternal = errors.New("internal error in block execution")

// Executor executes blocks of one chain. It is safe for concurrent use.
type Executor struct {
	config    *params.ChainConfig
	engine    consensus.Engine
	validator *core.BlockValidator

	// Caches that depend on the code or the input only; go-ethereum bounds them.
	jumpDests   vm.JumpDestCache
	precompiles *vm.PrecompileCache

	lastSeen *lastSeen     // from valid blocks, for speculation
	profiles *slotProfiles // from speculation, for speculation

	panics *panicReport // of speculation; nil: they go on to the caller
}

// NewExecutor returns an executor for the rules of config.
func NewExecutor(config *params.ChainConfig, opts ...Option) *Executor {
	e := &Executor{
		config:      config,
		engine:      beacon.New(ethash.NewFaker()),
		validator:   core.NewBlockValidator(config, nil), // only ValidateState, which needs no chain
		jumpDests:   core.NewJumpDestCache(),
		precompiles: vm.NewPrecompileCache(),
		lastSeen:    newLastSeen(),
		profiles:    newSlotProfiles(),
	}
	for _, opt := range opts {
		opt(e)
	}
	return e
}

// Job is one block to execute.
type Job struct {
	// Block has passed the header and body rules. Its access list (EIP-7928) is used for parallel execution
	// if it is the one that the header commits to, and ignored otherwise.
	Block *types.Block
	// Parent is the header of the block's parent: its hash is the block's ParentHash.
	Parent *types.Header
	// State is opened on Parent.Root, for this execution only. Its context should not outlive that of
	// Execute, so that a fetch in flight ends with it.
	State State
	// Headers finds the ancestors that BLOCKHASH reads.
	Headers Headers
	// Repeated says that newer blocks than this one may have been executed: the values last seen in them stay.
	Repeated bool
}

// Result is the result of an execution. The fields after Err are set only if the outcome is Valid.
type Result struct {
	Outcome Outcome
	Err     error // why Invalid or Incomplete; nil if Valid

	Receipts   types.Receipts
	Requests   [][]byte // EIP-7685, nil before Prague
	Logs       []*types.Log
	GasUsed    uint64
	OldestHash uint64                 // number of the oldest ancestor whose hash BLOCKHASH read; the parent's if it read none
	AccessList rlp.RawValue           // the block's access list, nil if it carries none
	Nodes      []trie.Node            // new trie nodes of the post-state, unless the state stores them itself
	Codes      map[common.Hash][]byte // new codes of the post-state, likewise
}

// Execute runs the block on its parent's state and compares the result with the header. It blocks until
// that is done, a read fails, or ctx ends.
//
// When a read fails or ctx ends, the latch of the state makes all later reads fail. The current
// transaction runs on until its gas is used up, as go-ethereum offers no way to stop the interpreter: a
// second or so for a block of pure computation. Later transactions fail because their senders' accounts
// cannot be read.
//
// A panic in go-ethereum says nothing about the block: the outcome is Incomplete with ErrInternal. Only
// panics on this goroutine can be recovered. The one known cause on go-ethereum's own goroutines is a
// malformed trie node, and package trie rejects those.
func (e *Executor) Execute(ctx context.Context, job Job) (result *Result) {
	defer func() {
		if r := recover(); r != nil {
			result = incomplete(fmt.Errorf("%w: panic: %v\n%s", ErrInternal, r, debug.Stack()))
		}
	}()
	if err := job.check(); err != nil {
		return incomplete(err)
	}
	stop := context.AfterFunc(ctx, func() { job.State.Fail(context.Cause(ctx)) })
	defer stop()

	block := withoutWrongList(job.Block)
	recovered := recoverSenders(e.config, block)
	defer recovered.Wait()

	chain := newChainContext(ctx, e, job)
	processed, statedb, rejection := e.process(ctx, block, job, chain)

	// The latches come first: go-ethereum's conclusion counts only if every read was answered.
	if err := job.State.Err(); err != nil {
		return incomplete(err)
	}
	if err := chain.err(); err != nil {
		return incomplete(err)
	}
	if statedb == nil {
		return incomplete(fmt.Errorf("%w: %w", ErrInternal, rejection))
	}
	if err := statedb.Error(); err != nil {
		return incomplete(fmt.Errorf("%w: state: %w", ErrInternal, err))
	}
	if rejection != nil {
		return &Result{Outcome: Invalid, Err: rejection}
	}
	result = e.accept(block, job.State, statedb, processed)
	result.OldestHash = chain.oldestHash()
	if db, ok := job.State.(*trie.StateDatabase); ok && result.Outcome == Valid && block.AccessList() == nil {
		e.lastSeen.record(db.Touched(), statedb, job.Repeated) // the block read all of it, so nothing is fetched
	}
	return result
}

// check refuses a job whose parts do not belong together. That is a mistake of the caller and says
// nothing about the block.
func (job *Job) check() error {
	if job.Block == nil || job.Parent == nil || job.State == nil || job.Headers == nil {
		return fmt.Errorf("%w: job lacks block, parent, state or headers", ErrInternal)
	}
	number, parent := job.Block.NumberU64(), job.Parent.Hash()
	switch {
	case parent != job.Block.ParentHash():
		return fmt.Errorf("%w: block %d has parent %x, but the job has header %x", ErrInternal, number, job.Block.ParentHash(), parent)
	case number == 0 || job.Parent.Number == nil || job.Parent.Number.Uint64() != number-1:
		return fmt.Errorf("%w: block %d has a parent with number %v: verify the header before executing", ErrInternal, number, job.Parent.Number)
	case job.State.Root() != job.Parent.Root:
		return fmt.Errorf("%w: state is opened on root %x, but the parent of block %d has root %x", ErrInternal, job.State.Root(), number, job.Parent.Root)
	}
	return nil
}

// process executes and validates. Its error is go-ethereum's reason to reject the block, which counts
// only if nothing was missing. The StateDB is nil if the execution could not begin.
func (e *Executor) process(ctx context.Context, block *types.Block, job Job, chain *chainContext) (*core.ProcessResult, *state.StateDB, error) {
	statedb, err := state.New(job.Parent.Root, job.State)
	if err != nil {
		return nil, nil, err
	}
	processed, err := core.NewStateProcessor(chain).Process(ctx, block, statedb, e.jumpDests, e.precompiles, vm.Config{}, nil)
	if err != nil {
		return nil, statedb, err
	}
	return processed, statedb, e.validator.ValidateState(block, statedb, processed, false)
}

// accept makes the result of a valid block.
func (e *Executor) accept(block *types.Block, db State, executed *state.StateDB, processed *core.ProcessResult) *Result {
	nodes, codes, err := db.Finish(executed, e.config.Rules(block.Number(), block.Difficulty().Sign() == 0, block.Time()), block.NumberU64())
	if err != nil {
		return incomplete(err)
	}
	result := &Result{
		Outcome:  Valid,
		Receipts: processed.Receipts,
		Requests: processed.Requests,
		Logs:     processed.Logs,
		GasUsed:  processed.GasUsed,
		Nodes:    nodes,
		Codes:    codes,
	}
	if list := block.AccessList(); list != nil {
		if result.AccessList, err = rlp.EncodeToBytes(list); err != nil {
			return incomplete(fmt.Errorf("%w: encode access list: %w", ErrInternal, err))
		}
	}
	return result
}

func incomplete(err error) *Result {
	return &Result{Outcome: Incomplete, Err: err}
}
