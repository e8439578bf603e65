// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"bytes"
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// speculativeRun is one run of steps of a block, in order. Each step has a StateDB of its own on the state within the block,
// so that a step that is complete can be left out.
type speculativeRun struct {
	speculationRun
	executor *Executor
	ctx      context.Context //nolint:containedctx // of the one call that the run is
	spec     Speculation
	header   *types.Header
	signer   types.Signer
	tracer   *optimisticTracer
	machine  *vm.EVM
	rules    params.Rules
	within   *blockState
	noHeader bool        // BLOCKHASH of the present step found a header missing
	stop     func() bool // ends the watch of the context
}

// newRun prepares a run of some transactions. The caller ends it.
func (e *Executor) newRun(ctx context.Context, spec Speculation, txs []int) *speculativeRun {
	r := &speculativeRun{
		speculationRun: speculationRun{block: spec.Block},
		executor:       e, ctx: ctx, spec: spec, header: spec.Block.Header(),
		tracer: e.optimistic(ctx, spec, txs),
	}
	find := spec.LocalHeader
	r.spec.LocalHeader = func(hash common.Hash, number uint64) *types.Header {
		header := find(hash, number)
		r.noHeader = r.noHeader || header == nil
		return header
	}
	r.signer = types.MakeSigner(e.config, r.header.Number, r.header.Time)
	parent, _ := spec.State.Reader(spec.Parent.Root) // of a PartialState there always is one
	r.within = newBlockState(parent)
	r.machine = vm.NewEVM(core.NewEVMBlockContext(r.header, localChain{e, r.spec}, nil), nil, e.config, vm.Config{Tracer: r.tracer.hooks()})
	r.machine.SetJumpDestCache(e.jumpDests)
	r.machine.SetPrecompileCache(e.precompiles)
	r.rules = r.machine.GetRules()
	r.stop = context.AfterFunc(ctx, r.machine.Cancel)
	return r
}

func (r *speculativeRun) end() {
	r.stop()
	r.machine.Release()
	r.tracer.finish()
}

// transaction executes a transaction, unless it is complete.
func (r *speculativeRun) transaction(index int) {
	r.step(index, func(db *stepState) {
		tx := r.block.Transactions()[index]
		msg, err := core.TransactionToMessage(tx, r.signer, r.header.BaseFee)
		if err != nil {
			return
		}
		db.SetTxContext(tx.Hash(), index, uint32(index+1))
		revision := db.Snapshot()
		if _, err := core.ApplyMessage(r.machine, msg.SkipNonceCheck(), core.NewGasPool(r.block.GasLimit())); err != nil {
			db.RevertToSnapshot(revision)
		}
		db.Finalise(r.rules)
	})
}

// before executes what comes before the transactions.
func (r *speculativeRun) before() {
	r.step(stepBefore, func(db *stepState) {
		config, number := r.executor.config, r.block.Number()
		if config.DAOForkSupport && config.DAOForkBlock != nil && config.DAOForkBlock.Cmp(number) == 0 {
			misc.ApplyDAOHardFork(db)
		}
		core.PreExecution(r.ctx, r.block.BeaconRoot(), r.spec.Parent, r.executor.config, r.machine, number, r.block.Time())
		db.Finalise(r.rules)
	})
}

// after executes what comes after the transactions. Their logs are not needed: they touch no state.
func (r *speculativeRun) after() {
	last := len(r.block.Transactions())
	r.step(last, func(db *stepState) {
		if _, _, err := core.PostExecution(r.ctx, r.executor.config, r.block.Number(), r.block.Time(), nil, r.block.Withdrawals(), r.machine, uint32(last+1)); err != nil {
			return
		}
		r.executor.engine.Finalize(localChain{r.executor, r.spec}, r.header, db, r.block.Body())
		db.Finalise(r.rules)
	})
}

// step executes a step, unless it is complete, and makes its changes.
func (r *speculativeRun) step(index int, execute func(*stepState)) {
	if r.ctx.Err() != nil {
		return
	}
	if record := r.spec.Progress.record(index); record != nil && r.within.holds(record) && r.within.apply(record) == nil {
		for key, read := range record.slots {
			if !read.changed {
				r.tracer.fallback.Hit(key.addr)
			}
		}
		return
	}
	db, err := newStepState(r.spec.Parent.Root, r.spec.State, r.within)
	if err != nil {
		return
	}
	misses := r.spec.State.Misses()
	r.statedb, r.machine.StateDB, r.noHeader, r.tracer.overrode = db.StateDB, db, false, false
	execute(db)
	if r.ctx.Err() != nil { // the interpreter stopped anywhere
		return
	}
	record := db.close()
	if err := r.within.apply(record); err != nil || db.Error() != nil {
		return
	}
	if r.spec.State.Misses() == misses && !r.noHeader && !r.tracer.overrode {
		r.spec.Progress.complete(index, record)
	}
	if !r.rules.IsByzantium { // the state has a root after each step
		r.deletions()
	}
}

// deletions deletes from the tries what the run deletes from the state. That reads sibling nodes, which no step reads.
func (r *speculativeRun) deletions() {
	deleted := make(map[common.Address]bool)
	for key, value := range r.within.slots {
		if value == (common.Hash{}) && !deleted[key.addr] {
			before, known := r.spec.State.Slot(key.addr, key.slot)
			deleted[key.addr] = known && before != (common.Hash{})
		}
	}
	for addr, deletes := range deleted {
		if !deletes {
			continue
		}
		if account, err := r.within.parent.Account(addr); err == nil && account != nil {
			r.deleteSlots(addr, account.Root)
		}
	}
	r.deleteAccounts()
}

// deleteSlots makes the changes in the storage trie of one account: first what is set, which may save the need of siblings.
func (r *speculativeRun) deleteSlots(addr common.Address, root common.Hash) {
	storage, err := r.spec.State.OpenStorageTrie(r.spec.Parent.Root, addr, root, nil)
	if err != nil {
		return
	}
	var deleted []common.Hash
	for key, value := range r.within.slots {
		switch {
		case key.addr != addr:
		case value == common.Hash{}:
			deleted = append(deleted, key.slot)
		default:
			_ = storage.UpdateStorage(addr, key.slot[:], bytes.TrimLeft(value[:], "\x00")) // what is missing is recorded
		}
	}
	for _, slot := range deleted {
		_ = storage.DeleteStorage(addr, slot[:])
	}
}

// deleteAccounts makes the changes in the account trie, if an account is deleted.
func (r *speculativeRun) deleteAccounts() {
	var deleted []common.Address
	for addr, now := range r.within.accounts {
		if now.account == nil {
			if before, err := r.within.parent.Account(addr); err == nil && before != nil {
				deleted = append(deleted, addr)
			}
		}
	}
	accounts, err := r.spec.State.OpenTrie(r.spec.Parent.Root)
	if err != nil || len(deleted) == 0 {
		return
	}
	for addr, now := range r.within.accounts {
		if now.account != nil {
			_ = accounts.UpdateAccount(addr, now.account, 0)
		}
	}
	for _, addr := range deleted {
		_ = accounts.DeleteAccount(addr)
	}
}
