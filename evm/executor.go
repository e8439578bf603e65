package evm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

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

// ErrInternal marks an Incomplete that is nobody's fault but ours: a job that does
// not fit together, a panic in go-ethereum, a state error that no read explains.
var ErrInternal = errors.New("internal error in block execution")

// Executor executes blocks of one chain. It is safe for concurrent use.
type Executor struct {
	config    *params.ChainConfig
	engine    consensus.Engine
	validator *core.BlockValidator

	// Both are keyed by what they were computed from and bounded by go-ethereum.
	jumpDests   vm.JumpDestCache
	precompiles *vm.PrecompileCache

	memory *memory // what valid blocks showed; hints for speculation
	habits *habits // what speculation showed
}

// NewExecutor returns an executor for the rules of config.
func NewExecutor(config *params.ChainConfig) *Executor {
	return &Executor{
		config:      config,
		engine:      beacon.New(ethash.NewFaker()),
		validator:   core.NewBlockValidator(config, nil), // only ValidateState, which needs no chain
		jumpDests:   core.NewJumpDestCache(),
		precompiles: vm.NewPrecompileCache(),
		memory:      newMemory(),
		habits:      newHabits(),
	}
}

// Job is one block to execute.
type Job struct {
	// Block has passed the header and body rules. An access list attached to it is used
	// (EIP-7928, parallel execution) if it is the one that the header commits to.
	Block *types.Block
	// Parent is the header of the block's parent. If all that is known of the parent is
	// its state root, a stand-in with that Root and the right Number does as well: its
	// hash differs from the block's ParentHash, which is then used where the hash matters.
	Parent *types.Header
	// State stands on Parent.Root and serves this execution only. Its context should
	// not outlive that of Execute, so that a fetch in flight ends with it.
	State State
	// Headers finds the ancestors that BLOCKHASH asks for.
	Headers Headers
}

// Result is what came out of an execution. Everything below Err is set only if the
// outcome is Valid.
type Result struct {
	Outcome Outcome
	Err     error // why Invalid or Incomplete; nil if Valid

	Receipts   types.Receipts
	Requests   [][]byte // EIP-7685, nil before Prague
	Logs       []*types.Log
	GasUsed    uint64
	AccessList rlp.RawValue           // the block access list if the block came with one, else nil
	Nodes      []trie.Node            // new trie nodes of the post-state, unless the state keeps them itself
	Codes      map[common.Hash][]byte // likewise its new codes
}

// Execute runs the block on its parent's state and compares the result with the
// header. It blocks until that is done, something cannot be had, or ctx ends.
//
// When ctx ends or a read fails, the state latch makes all reads fail at once and
// what is left is bounded by the gas of the transaction in hand: those after it fail
// for want of a sender's account. Go-ethereum offers no way to stop the interpreter
// between; a whole block of pure computation takes a second or so.
//
// A panic in go-ethereum is no statement about the block, so it is Incomplete with
// ErrInternal. It can be caught on this goroutine only: malformed nodes, the one known
// cause on go-ethereum's own goroutines, are stopped by package trie.
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

	block := committedAccessList(job.Block)
	recovered := recoverSenders(e.config, block)
	defer recovered.Wait()

	chain := newAncestry(ctx, e, job)
	processed, statedb, rejection := e.process(ctx, block, job, chain)

	// The order matters: a conclusion counts only if every read was answered.
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
	if db, beams := job.State.(*trie.StateDatabase); beams && result.Outcome == Valid && block.AccessList() == nil {
		e.memory.learn(db.Touched(), statedb) // all of it was read, so nothing is fetched
	}
	return result
}

// check refuses a job that could not say anything about its block.
func (job *Job) check() error {
	switch {
	case job.Block == nil || job.Parent == nil || job.State == nil || job.Headers == nil:
		return fmt.Errorf("%w: job lacks block, parent, state or headers", ErrInternal)
	case job.Block.NumberU64() == 0 || job.Parent.Number == nil || job.Parent.Number.Uint64() != job.Block.NumberU64()-1:
		return fmt.Errorf("%w: block %d on parent %v", ErrInternal, job.Block.NumberU64(), job.Parent.Number)
	case job.State.Root() != job.Parent.Root:
		return fmt.Errorf("%w: state %x opened for a parent with state %x", ErrInternal, job.State.Root(), job.Parent.Root)
	}
	return nil
}

// process executes and validates. The error is go-ethereum's objection to the block,
// to be believed only if nothing was missing; statedb is nil if it got nowhere.
func (e *Executor) process(ctx context.Context, block *types.Block, job Job, chain *ancestry) (*core.ProcessResult, *state.StateDB, error) {
	statedb, err := state.New(job.Parent.Root, job.State)
	if err != nil {
		return nil, nil, err
	}
	config := vm.Config{Tracer: chain.correction(statedb)}
	processed, err := core.NewStateProcessor(chain).Process(ctx, block, statedb, e.jumpDests, e.precompiles, config, nil)
	if err != nil {
		return nil, statedb, err
	}
	return processed, statedb, e.validator.ValidateState(block, statedb, processed, false)
}

// accept collects what a valid block made.
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

// committedAccessList returns block without its access list if that is not the one
// that the header commits to. A wrong list would steer the parallel execution into
// refusing a good block; whether bringing one is an offence is for the caller to say.
func committedAccessList(block *types.Block) *types.Block {
	if block.AccessList() == nil || Listed(block) {
		return block
	}
	return types.NewBlockWithHeader(block.Header()).WithBody(*block.Body())
}

// recoverSenders fills the sender caches of the transactions on all processors while
// the block starts to execute. Wrong signatures are found again by the execution.
func recoverSenders(config *params.ChainConfig, block *types.Block) *sync.WaitGroup {
	var (
		signer  = types.MakeSigner(config, block.Number(), block.Time())
		txs     = block.Transactions()
		workers = min(runtime.GOMAXPROCS(0), len(txs))
		running sync.WaitGroup
	)
	for first := range workers {
		running.Go(func() {
			for i := first; i < len(txs); i += workers {
				_, _ = types.Sender(signer, txs[i])
			}
		})
	}
	return &running
}
