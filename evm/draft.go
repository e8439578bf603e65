// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	// ErrStateMissing says that a read of a [Draft] found no local state, or no header for BLOCKHASH. It says nothing about
	// the transaction.
	ErrStateMissing = errors.New("state is not in the local store")
	// ErrNoRoom says that a transaction does not fit into the rest of the block: its gas, blobs or size.
	ErrNoRoom = errors.New("no room left in the block")
	// ErrTimeUp says that the context of a [Draft] ended during a transaction, which is left out.
	ErrTimeUp = errors.New("time is up")
)

// sizeReserve is how many bytes below the limit of EIP-7934 the transactions of a draft end, as in go-ethereum: the
// consensus client adds its own parts of the block.
const sizeReserve = 1_000_000

// DraftJob is a block to build.
type DraftJob struct {
	// Header has all that does not depend on the execution: from the parent hash to the slot number.
	Header      *types.Header
	Parent      *types.Header
	Withdrawals types.Withdrawals
	// State is opened on Parent.Root, without a fallback, for this draft only. It records what is missing.
	State *trie.PartialState
	// Complete says that all of the state is local: then a read of state that fails ends the draft.
	Complete bool
	// MaxBlobs is the number of blobs that the block may have.
	MaxBlobs int
	// LocalHeader finds ancestors for BLOCKHASH without blocking; nil: it is missing.
	LocalHeader func(hash common.Hash, number uint64) *types.Header
}

// Built is a block that a draft became.
type Built struct {
	Block    *types.Block
	Receipts types.Receipts
	Sidecars []*types.BlobTxSidecar // of the blob transactions, in their order
	Requests [][]byte               // EIP-7685, nil before Prague
	Value    *big.Int               // wei: sum of the tips paid to the fee recipient
}

// Draft is a block that is being built on the local part of its parent's state. It never waits for the network. What
// is in it was executed with every read answered: a transaction that misses state leaves no trace, and a block whose
// root or system calls miss state is not returned.
//
// A read of missing state fails, so StateDB caches no result of it, and going back to the state before the transaction is a revert. That a
// read failed is known from the State: StateDB itself remembers its first error for good.
//
// A Draft is not safe for concurrent use.
type Draft struct {
	executor *Executor
	job      DraftJob
	signer   types.Signer
	rules    params.Rules
	chain    *draftChain
	broken   error // the draft cannot be used any more

	now draftState

	cancel struct {
		sync.Mutex
		stop    func() bool // ends the watch of the context
		machine *vm.EVM     // to cancel when the context ends
		ended   bool
	}
}

// draftState is what a transaction changes.
type draftState struct {
	statedb  *state.StateDB
	machine  *vm.EVM
	gas      *core.GasPool
	size     uint64 // bytes of the encoded block
	blobs    int
	value    *big.Int
	txs      []*types.Transaction // without sidecars
	receipts []*types.Receipt
	sidecars []*types.BlobTxSidecar
	lists    []*bal.ConstructionBlockAccessList // of the system calls and each transaction (EIP-7928)
}

// NewDraft begins a block: it runs the system calls that come before the transactions. The transaction that runs when
// ctx ends is left out, and so are later ones; [Draft.Seal] still works then. The caller calls [Draft.Close] in any case.
func (e *Executor) NewDraft(ctx context.Context, job DraftJob) (d *Draft, err error) {
	d = &Draft{
		executor: e, job: job,
		signer: types.MakeSigner(e.config, job.Header.Number, job.Header.Time),
		rules:  e.config.Rules(job.Header.Number, true, job.Header.Time),
	}
	defer d.recover(&err)
	d.chain = &draftChain{localChain: localChain{e, Speculation{
		Block: types.NewBlockWithHeader(job.Header), Parent: job.Parent, LocalHeader: job.LocalHeader,
	}}}
	statedb, err := state.New(job.Parent.Root, job.State)
	if err != nil {
		return nil, err
	}
	d.now = draftState{
		statedb: statedb,
		gas:     core.NewGasPool(job.Header.GasLimit),
		size:    uint64(job.Header.Size()) + uint64(job.Withdrawals.Size()),
		value:   new(big.Int),
	}
	d.now.machine = d.newMachine(statedb)
	before := core.PreExecution(context.Background(), job.Header.ParentBeaconRoot, job.Parent, e.config, d.now.machine, job.Header.Number, job.Header.Time) //nolint:contextcheck // for tracing only
	if err := d.checkReads(); err != nil {
		d.Close()
		return nil, err
	}
	d.now.lists = append(d.now.lists, before)
	stop := context.AfterFunc(ctx, func() {
		d.cancel.Lock()
		defer d.cancel.Unlock()
		d.cancel.ended = true
		if d.cancel.machine != nil {
			d.cancel.machine.Cancel()
		}
	})
	d.cancel.stop = stop
	return d, nil
}

// newMachine returns an EVM on a state.
func (d *Draft) newMachine(statedb *state.StateDB) *vm.EVM {
	header := d.job.Header
	machine := vm.NewEVM(core.NewEVMBlockContext(header, d.chain, &header.Coinbase), statedb, d.executor.config, vm.Config{})
	machine.SetJumpDestCache(d.executor.jumpDests)
	machine.SetPrecompileCache(d.executor.precompiles)
	return machine
}

// Close releases what the draft uses.
func (d *Draft) Close() {
	if d.cancel.stop != nil {
		d.cancel.stop()
	}
	d.watch(nil)
	if d.now.machine != nil {
		d.now.machine.Release()
		d.now.machine = nil
	}
}

// watch names the EVM to cancel when the context ends. It returns false if that has ended.
func (d *Draft) watch(machine *vm.EVM) bool {
	d.cancel.Lock()
	defer d.cancel.Unlock()
	d.cancel.machine = machine
	return !d.cancel.ended
}

// recover turns a panic of go-ethereum into an error that ends the draft.
func (d *Draft) recover(err *error) {
	if r := recover(); r != nil {
		d.broken = fmt.Errorf("%w: panic: %v\n%s", ErrInternal, r, debug.Stack())
		*err = d.broken
	}
}

// checkReads returns an error if a read was not answered.
func (d *Draft) checkReads() error {
	if err := d.job.State.Failed(); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if d.job.State.Missed() || d.chain.missed {
		return ErrStateMissing
	}
	return nil
}

// Gas returns the largest gas limit that another transaction may have.
func (d *Draft) Gas() uint64 { return d.now.gas.Available(d.rules.IsAmsterdam) }

// Blobs returns the number of blobs that still fit.
func (d *Draft) Blobs() int { return d.job.MaxBlobs - d.now.blobs }

// Lacks says whether the sender, the recipient or its code are missing, so that [Draft.Add] would fail.
func (d *Draft) Lacks(tx *types.Transaction) bool {
	if d.job.Complete {
		return false
	}
	from, err := types.Sender(d.signer, tx)
	return err == nil && (d.job.State.Lacks(from) || tx.To() != nil && d.job.State.Lacks(*tx.To()))
}

// Add executes a transaction and puts it at the end of the block. With an error the draft is as it was before:
// [ErrStateMissing], [ErrNoRoom] and [ErrTimeUp] say nothing about the transaction, and any other is the rule of
// go-ethereum that it breaks. A draft that cannot go on returns an error that wraps [ErrInternal], from all methods.
func (d *Draft) Add(tx *types.Transaction) (err error) {
	if d.broken != nil {
		return d.broken
	}
	defer d.recover(&err)
	bare := tx.WithoutBlobTxSidecar()
	sidecar := tx.BlobTxSidecar()
	switch {
	case tx.Type() == types.BlobTxType && sidecar == nil:
		return errors.New("blob transaction without blobs")
	case len(tx.BlobHashes()) > d.Blobs(), d.now.size+bare.Size() > params.MaxBlockSize-sizeReserve:
		return ErrNoRoom
	case !d.watch(d.now.machine):
		return ErrTimeUp
	}
	receipt, list, err := d.execute(bare)
	d.watch(nil)
	if err != nil {
		return err
	}
	d.accept(bare, sidecar, receipt, list)
	return nil
}

// execute runs a transaction. With an error, state and gas pool are as before, but for what was read and answered.
func (d *Draft) execute(tx *types.Transaction) (*types.Receipt, *bal.ConstructionBlockAccessList, error) {
	header, now := d.job.Header, &d.now
	msg, err := core.TransactionToMessage(tx, d.signer, header.BaseFee)
	if err != nil {
		return nil, nil, err
	}
	index := len(now.txs)
	now.statedb.SetTxContext(tx.Hash(), index, uint32(index+1))
	revision, gas := now.statedb.Snapshot(), now.gas.Snapshot()
	result, err := core.ApplyMessage(now.machine, msg, now.gas)
	if now.machine.Cancelled() { // the interpreter stopped anywhere
		err = ErrTimeUp
	}
	if reads := d.checkReads(); reads != nil {
		err = d.unanswered(reads)
	}
	if err != nil {
		now.statedb.RevertToSnapshot(revision)
		now.gas.Set(gas)
		if errors.Is(err, core.ErrGasLimitReached) {
			err = ErrNoRoom
		}
		return nil, nil, err
	}
	list := now.statedb.Finalise(d.rules) // reads nothing
	receipt := core.MakeReceipt(now.machine, result, now.statedb, header.Number, common.Hash{}, header.Time, tx, now.gas.CumulativeUsed(), nil)
	return receipt, list, nil
}

// accept counts an executed transaction.
func (d *Draft) accept(tx *types.Transaction, sidecar *types.BlobTxSidecar, receipt *types.Receipt, list *bal.ConstructionBlockAccessList) {
	now := &d.now
	now.txs = append(now.txs, tx)
	now.receipts = append(now.receipts, receipt)
	now.lists = append(now.lists, list)
	now.size += tx.Size()
	if sidecar != nil {
		now.sidecars = append(now.sidecars, sidecar)
		now.blobs += len(tx.BlobHashes())
	}
	tip, _ := tx.EffectiveGasTip(d.job.Header.BaseFee) // it was executed, so it pays the base fee
	now.value = new(big.Int).Add(now.value, tip.Mul(tip, new(big.Int).SetUint64(receipt.GasUsed)))
}

// Seal returns the block of the transactions so far: it runs the system calls that come after them and computes the roots, on a copy
// of the state. So the draft may go on. The error is [ErrStateMissing] if that needs state that is not local.
func (d *Draft) Seal() (built *Built, err error) {
	if d.broken != nil {
		return nil, d.broken
	}
	defer d.recover(&err)
	now, config := d.now, d.executor.config
	now.statedb = now.statedb.Copy()
	now.machine = d.newMachine(now.statedb) // one that was not cancelled
	defer now.machine.Release()

	header := types.CopyHeader(d.job.Header)
	var logs []*types.Log
	for _, receipt := range now.receipts {
		logs = append(logs, receipt.Logs...)
	}
	requests, after, err := core.PostExecution(context.Background(), config, header.Number, header.Time, logs, d.job.Withdrawals, now.machine, uint32(len(now.txs)+1))
	if reads := d.checkReads(); reads != nil {
		return nil, d.forget(reads)
	}
	if err != nil {
		return nil, err
	}
	if requests != nil {
		hash := types.CalcRequestsHash(requests)
		header.RequestsHash = &hash
	}
	header.GasUsed = now.gas.Used()
	if header.BlobGasUsed != nil {
		used := uint64(now.blobs) * params.BlobTxBlobGasPerBlob
		header.BlobGasUsed = &used
	}
	body := &types.Body{Transactions: now.txs, Withdrawals: d.job.Withdrawals}
	d.executor.engine.Finalize(d.chain, header, now.statedb, body)
	block := core.AssembleBlock(d.chain, header, now.statedb, body, now.receipts, d.accessList(after))
	if reads := d.checkReads(); reads != nil {
		return nil, d.forget(reads)
	}
	return &Built{
		Block: block, Receipts: slices.Clip(now.receipts), Sidecars: slices.Clip(now.sidecars), Requests: requests, Value: now.value,
	}, nil
}

// accessList is that of the whole block. Merging changes lists, so those of the draft are copied.
func (d *Draft) accessList(after *bal.ConstructionBlockAccessList) *bal.ConstructionBlockAccessList {
	whole := bal.NewConstructionBlockAccessList()
	if !d.rules.IsAmsterdam {
		return whole
	}
	for _, list := range d.now.lists {
		if list != nil {
			whole.Merge(list.Copy())
		}
	}
	whole.Merge(after)
	return whole
}

// unanswered returns the reason why a transaction is left out. If the state is complete, only a header may be missing: anything else ends
// the draft.
func (d *Draft) unanswered(reason error) error {
	if d.job.Complete && !d.chain.missed {
		d.broken = fmt.Errorf("%w: complete state: %w", ErrInternal, reason)
		return d.broken
	}
	return d.forget(reason)
}

// forget makes a read that was not answered not count for what comes after it, and returns the reason.
func (d *Draft) forget(reason error) error {
	d.job.State.ForgetMissed()
	d.chain.missed = false
	return reason
}

// draftChain is the chain that BLOCKHASH reads. It remembers that a header was missing.
type draftChain struct {
	localChain
	missed bool
}

// GetHeader implements core.ChainContext.
func (c *draftChain) GetHeader(hash common.Hash, number uint64) *types.Header {
	header := c.localChain.GetHeader(hash, number)
	c.missed = c.missed || header == nil
	return header
}
