// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/core/vm"
)

// blockRun is the execution of one simulated block.
type blockRun struct {
	*simulation
	header   *types.Header
	evm      *vm.EVM
	state    vm.StateDB // the state of the view, which reports logs to the collector
	pool     *core.GasPool
	logs     *logCollector
	accesses *bal.ConstructionBlockAccessList // EIP-7928

	txs      []*types.Transaction
	senders  []common.Address // of txs, which are not signed
	receipts []*types.Receipt
	calls    []simulatedCall
	emitted  []*types.Log // by calls that succeeded
	blobGas  uint64
}

// runBlock executes a block whose header is a draft, on the last block of the chain.
func (s *simulation) runBlock(ctx context.Context, block simulatedBlock, header *types.Header) (*simulatedResult, error) {
	parent := s.chain.last()
	s.completeHeader(header, parent)
	blockCtx := core.NewEVMBlockContext(header, s.chain, nil)
	replaceNumber(block.Header.BlobBaseFee, &blockCtx.BlobBaseFee)
	config := s.b.Chain.Config()
	precompiles := vm.ActivePrecompiledContracts(config.Rules(header.Number, header.Difficulty.Sign() == 0, header.Time))
	if err := block.State.apply(s.view.state, precompiles); err != nil {
		return nil, err
	}
	// From Amsterdam on the protocol logs transfers itself (EIP-7708).
	transfers := s.request.TraceTransfers && !config.IsAmsterdam(header.Number, header.Time)
	r := &blockRun{
		simulation: s, header: header, pool: core.NewGasPool(blockCtx.GasLimit), accesses: bal.NewConstructionBlockAccessList(),
		logs: &logCollector{transfers: transfers, number: header.Number.Uint64(), time: header.Time},
	}
	hooks := r.logs.hooks()
	r.state = state.NewHookedState(s.view.state, hooks)
	r.evm = vm.NewEVM(blockCtx, r.state, config, vm.Config{Tracer: hooks, NoBaseFee: !s.request.Validation})
	defer r.evm.Release()
	defer context.AfterFunc(ctx, r.evm.Cancel)()
	r.evm.SetPrecompiles(precompiles)

	r.accesses.Merge(core.PreExecution(ctx, header.ParentBeaconRoot, parent, config, r.evm, header.Number, header.Time))
	for _, call := range block.Calls {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.view.readError(); err != nil {
			return nil, err
		}
		r.view.turn.yield()
		if err := r.call(call); err != nil {
			return nil, err
		}
	}
	return r.finish(ctx, block)
}

// completeHeader sets what follows from the parent, which is executed by now.
func (s *simulation) completeHeader(header, parent *types.Header) {
	config := s.b.Chain.Config()
	header.ParentHash = parent.Hash()
	if config.IsLondon(header.Number) && header.BaseFee == nil {
		header.BaseFee = new(big.Int) // so that calls without a price are valid
		if s.request.Validation {
			header.BaseFee = eip1559.CalcBaseFee(config, parent)
		}
	}
	if config.IsCancun(header.Number, header.Time) {
		header.ExcessBlobGas = new(uint64)
		if config.IsCancun(parent.Number, parent.Time) {
			*header.ExcessBlobGas = eip4844.CalcExcessBlobGas(config, parent, header.Time)
		}
	}
}

// call executes the next call of the block. An error is that of the whole request; that of the call is in its result.
func (r *blockRun) call(args callObject) error {
	defaults, capped, err := r.complete(&args)
	if err != nil {
		return err
	}
	msg, err := args.nonceChecked(defaults)
	if err != nil {
		return err
	}
	if !r.request.Validation {
		msg.SkipNonceCheck().SkipExecutionGasCapCheck()
	}
	tx, index := args.unsigned(defaults, args.AccessList), len(r.txs)
	r.logs.begin(tx.Hash(), index)
	r.view.state.SetTxContext(tx.Hash(), index, uint32(index+1))

	result, err := core.ApplyMessage(r.evm, msg, r.pool)
	switch {
	case r.evm.Cancelled():
		return refusedCall(fmt.Errorf("execution aborted (timeout = %v)", r.b.cfg.EVMTimeout))
	case err != nil:
		return refusedCall(fmt.Errorf("err: %w (supplied gas %d)", err, msg.GasLimit))
	}
	r.record(tx, msg.From, result)
	if err := r.useGas(result.UsedGas); err != nil {
		return err
	}
	r.calls = append(r.calls, newSimulatedCall(result, r.logs.logs(), capped))
	if !result.Failed() {
		r.emitted = append(r.emitted, r.logs.logs()...)
	}
	return r.useBytes(&r.calls[index])
}

// complete fills in nonce and gas limit. capped is whether the gas of the request, not of the block, limits the call.
func (r *blockRun) complete(args *callObject) (d callDefaults, capped bool, err error) {
	config := r.b.Chain.Config()
	if args.Nonce == nil {
		args.Nonce = ptr(hexutil.Uint64(r.view.state.GetNonce(args.sender())))
	}
	amsterdam := config.IsAmsterdam(r.header.Number, r.header.Time)
	left := r.pool.Available(amsterdam)
	if amsterdam && !r.request.Validation { // calls may use all of their gas for execution
		left = min(left, r.header.GasLimit-r.pool.CumulativeExecution())
	}
	limit := uint64(valueOr(args.GasLimit, hexutil.Uint64(left)))
	if limit > left {
		return d, false, &codedError{codeBlockGasLimit, fmt.Sprintf("block gas limit reached: remaining: %d, required: %d", left, limit)}
	}
	args.GasLimit = ptr(hexutil.Uint64(min(limit, r.gas)))
	return callDefaults{baseFee: r.header.BaseFee, chainID: config.ChainID}, limit > r.gas, nil
}

// record adds an executed call to the block.
func (r *blockRun) record(tx *types.Transaction, sender common.Address, result *core.ExecutionResult) {
	var root []byte
	if number := r.header.Number; r.b.Chain.Config().IsByzantium(number) {
		r.accesses.Merge(r.state.Finalise(r.evm.GetRules()))
	} else {
		root = r.view.state.IntermediateRoot(r.evm.GetRules()).Bytes()
	}
	receipt := core.MakeReceipt(r.evm, result, r.view.state, r.header.Number, common.Hash{}, r.header.Time, tx, r.pool.CumulativeUsed(), root)
	r.txs, r.senders, r.receipts = append(r.txs, tx), append(r.senders, sender), append(r.receipts, receipt)
	r.blobGas += receipt.BlobGasUsed
}

// finish runs what follows the transactions of a block, and makes the block.
func (r *blockRun) finish(ctx context.Context, block simulatedBlock) (*simulatedResult, error) {
	config, header := r.b.Chain.Config(), r.header
	header.GasUsed = r.pool.Used()
	if config.IsCancun(header.Number, header.Time) {
		header.BlobGasUsed = &r.blobGas
	}
	body := &types.Body{Transactions: r.txs}
	if config.IsShanghai(header.Number, header.Time) { // before, not nil would change the header
		body.Withdrawals = valueOr(block.Header.Withdrawals, types.Withdrawals{})
	}
	requests, accesses, err := core.PostExecution(ctx, config, header.Number, header.Time, r.emitted, body.Withdrawals, r.evm, uint32(len(r.txs)+1))
	if err != nil {
		return nil, err
	}
	if requests != nil {
		header.RequestsHash = ptr(types.CalcRequestsHash(requests))
	}
	r.accesses.Merge(accesses)
	r.chain.Engine().Finalize(r.chain, header, r.view.state, body)
	made := core.AssembleBlock(r.chain, header, r.view.state, body, r.receipts, r.accesses)
	for _, call := range r.calls {
		for _, log := range call.Logs {
			log.BlockHash = made.Hash()
		}
	}
	return &simulatedResult{block: made, senders: r.senders, calls: r.calls, full: r.request.FullObjects, config: config}, nil
}

// refusedCall is the error of a call that no block could contain, with the code of execution-apis.
func refusedCall(err error) error {
	code := codeInternal
	for _, known := range refusalCodes {
		if errors.Is(err, known.err) {
			code = known.code
			break
		}
	}
	return &codedError{code, err.Error()}
}

// refusalCodes are the reasons to refuse a call that have a code of their own.
var refusalCodes = []struct {
	err  error
	code int
}{
	{core.ErrNonceTooHigh, codeNonceTooHigh},
	{core.ErrNonceTooLow, codeNonceTooLow},
	{core.ErrSenderNoEOA, codeSenderNotEOA},
	{core.ErrFeeCapVeryHigh, codeInvalidParams},
	{core.ErrTipVeryHigh, codeInvalidParams},
	{core.ErrTipAboveFeeCap, codeInvalidParams},
	{core.ErrFeeCapTooLow, codeBaseFeeTooLow},
	{core.ErrInsufficientFunds, codeInsufficientFunds},
	{core.ErrIntrinsicGas, codeIntrinsicGas},
	{core.ErrInsufficientFundsForTransfer, codeInsufficientFunds},
	{vm.ErrMaxInitCodeSizeExceeded, codeMaxInitCodeSize},
}
