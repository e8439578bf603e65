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
	"github.com/holiman/uint256"

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

// Speculation is a block to run on what is held of its parent's state.
type Speculation struct {
	Block  *types.Block
	Parent *types.Header // as in Job
	Guess  *trie.Guess   // opened on Parent.Root; takes note of what is asked for in vain
	// Held finds ancestors for BLOCKHASH without blocking; nil for one that is not held.
	Held func(hash common.Hash, number uint64) *types.Header
}

// SpeculateGroup runs transactions of the block, in order and without the others. Nothing comes
// out but what was noted. It may be called concurrently, with a guess for each call.
func (e *Executor) SpeculateGroup(ctx context.Context, spec Speculation, group []int) {
	defer func() { _ = recover() }() // a guess may lead anywhere, and means nothing
	var (
		block, parent, guess = spec.Block, spec.Parent, spec.Guess

		chain  = held{e, spec}
		header = block.Header()
		signer = types.MakeSigner(e.config, header.Number, header.Time)
		txs    = block.Transactions()
	)
	e.assumeSenders(guess, block, group)
	statedb, err := state.New(parent.Root, guess)
	if err != nil {
		return
	}
	machine := vm.NewEVM(core.NewEVMBlockContext(header, chain, nil), statedb, e.config, vm.Config{})
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
}

// SpeculateBlock runs the whole block, system calls and new root included. Nothing comes out but
// what was noted.
func (e *Executor) SpeculateBlock(ctx context.Context, spec Speculation) {
	defer func() { _ = recover() }() // a guess may lead anywhere, and means nothing
	block, guess := spec.Block, spec.Guess
	all := make([]int, len(block.Transactions()))
	for i := range all {
		all[i] = i
	}
	e.assumeSenders(guess, block, all)
	statedb, err := state.New(spec.Parent.Root, guess)
	if err != nil {
		return
	}
	chain := held{e, spec}
	_, _ = core.NewStateProcessor(chain).Process(ctx, block, statedb, e.jumpDests, e.precompiles, vm.Config{}, nil)
	statedb.IntermediateRoot(e.config.Rules(block.Number(), block.Difficulty().Sign() == 0, block.Time()))
}

// assumeSenders lets senders whose accounts are not held pay for what they send.
func (e *Executor) assumeSenders(guess *trie.Guess, block *types.Block, txs []int) {
	var (
		senders = e.Senders(block) // cached by now
		nonces  = make(map[common.Address]uint64)
		rich    = new(uint256.Int).Lsh(uint256.NewInt(1), 128)
	)
	for _, i := range txs {
		if _, seen := nonces[senders[i]]; !seen {
			nonces[senders[i]] = block.Transactions()[i].Nonce()
		}
	}
	guess.Assume = func(addr common.Address) *types.StateAccount {
		nonce, sends := nonces[addr]
		if !sends {
			return nil
		}
		account := types.NewEmptyStateAccount()
		account.Nonce, account.Balance = nonce, rich.Clone()
		return account
	}
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
