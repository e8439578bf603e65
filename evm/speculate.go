package evm

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Senders recovers the sender of every transaction; the zero address where the signature is
// wrong, which the execution will say.
func (e *Executor) Senders(block *types.Block) []common.Address {
	recoverSenders(e.config, block).Wait()
	signer := types.MakeSigner(e.config, block.Number(), block.Time())
	senders := make([]common.Address, len(block.Transactions()))
	for i, tx := range block.Transactions() {
		senders[i], _ = types.Sender(signer, tx)
	}
	return senders
}

// Likely returns slots that a contract will probably read when it is called with that input, for one
// whose code is not known; none if it is.
func (e *Executor) Likely(to common.Address, input []byte) []common.Hash {
	if _, known := e.memory.code(to); known || len(input) == 0 {
		return nil
	}
	return e.habits.likely(input)
}

// Speculation is a block to run on what is held of its parent's state.
type Speculation struct {
	Block  *types.Block
	Parent *types.Header // as in Job
	Guess  *trie.Guess   // opened on Parent.Root; takes note of what is asked for in vain
	Manner Manner
	// Held finds ancestors for BLOCKHASH without blocking; nil for one that is not held.
	Held func(hash common.Hash, number uint64) *types.Header
}

// SpeculateGroup runs transactions of the block, in order and without the others. If nothing was
// missing it computes the new root as well, which may need more. Nothing comes out but what was
// noted. It may be called concurrently, with a guess for each call.
func (e *Executor) SpeculateGroup(ctx context.Context, spec Speculation, group []int) {
	defer func() { _ = recover() }() // a guess may lead anywhere, and means nothing
	var (
		block, parent = spec.Block, spec.Parent

		header = block.Header()
		signer = types.MakeSigner(e.config, header.Number, header.Time)
		txs    = block.Transactions()
	)
	config, done := e.assume(ctx, spec, group)
	defer done()
	statedb, err := state.New(parent.Root, spec.Guess)
	if err != nil {
		return
	}
	machine := vm.NewEVM(core.NewEVMBlockContext(header, held{e, spec}, nil), statedb, e.config, config)
	defer machine.Release()
	machine.SetJumpDestCache(e.jumpDests)
	machine.SetPrecompileCache(e.precompiles)
	stop := context.AfterFunc(ctx, machine.Cancel)
	defer stop()

	pool := core.NewGasPool(block.GasLimit())
	for _, i := range group {
		if ctx.Err() != nil {
			return
		}
		msg, err := core.TransactionToMessage(txs[i], signer, header.BaseFee)
		if err != nil {
			return
		}
		statedb.SetTxContext(txs[i].Hash(), i, uint32(i+1))
		if _, err := core.ApplyMessage(machine, msg.SkipNonceCheck(), pool); err != nil {
			continue
		}
		statedb.Finalise(machine.GetRules())
	}
	if !spec.Guess.Missed() {
		statedb.IntermediateRoot(machine.GetRules())
	}
}

// SpeculateBlock runs the whole block, system calls and new root included. Nothing comes out but
// what was noted.
func (e *Executor) SpeculateBlock(ctx context.Context, spec Speculation) {
	defer func() { _ = recover() }() // a guess may lead anywhere, and means nothing
	block := spec.Block
	all := make([]int, len(block.Transactions()))
	for i := range all {
		all[i] = i
	}
	config, done := e.assume(ctx, spec, all)
	defer done()
	statedb, err := state.New(spec.Parent.Root, spec.Guess)
	if err != nil {
		return
	}
	chain := held{e, spec}
	_, _ = core.NewStateProcessor(chain).Process(ctx, block, statedb, e.jumpDests, e.precompiles, config, nil)
	statedb.IntermediateRoot(e.config.Rules(block.Number(), block.Difficulty().Sign() == 0, block.Time()))
}

// assume makes the guess answer in the manner of the speculation, and senders whose accounts are
// not held pay for what they send. The function that it returns is to be called after the run.
func (e *Executor) assume(ctx context.Context, spec Speculation, txs []int) (config vm.Config, done func()) {
	assume := newAssumption(spec.Manner, e.memory)
	senders := e.Senders(spec.Block) // cached by now
	for _, i := range txs {
		if _, seen := assume.nonces[senders[i]]; !seen {
			assume.nonces[senders[i]] = spec.Block.Transactions()[i].Nonce()
		}
	}
	spec.Guess.Assume = assume
	if spec.Manner == Plain {
		return vm.Config{}, func() {}
	}
	d := newDetour(ctx, spec.Guess, assume, e.habits)
	return vm.Config{Tracer: d.hooks()}, d.teach
}

// held is core.ChainContext over what is held: BLOCKHASH of other blocks is a zero hash to a
// speculation.
type held struct {
	executor *Executor
	spec     Speculation
}

func (h held) Config() *params.ChainConfig  { return h.executor.config }
func (h held) Engine() consensus.Engine     { return h.executor.engine }
func (h held) CurrentHeader() *types.Header { return h.spec.Parent }

func (h held) GetHeader(hash common.Hash, number uint64) *types.Header {
	if hash == h.spec.Block.ParentHash() {
		return h.spec.Parent
	}
	return h.spec.Held(hash, number)
}
func (h held) GetHeaderByHash(common.Hash) *types.Header { return nil }
func (h held) GetHeaderByNumber(uint64) *types.Header    { return nil }
