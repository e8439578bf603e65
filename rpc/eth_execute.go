// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/gasestimator"
	"github.com/ethereum/go-ethereum/eth/tracers/logger"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// estimateErrorRatio is how much eth_estimateGas may overestimate, as in go-ethereum.
const estimateErrorRatio = 0.015

// callAPI is the part of the eth namespace that executes messages without a block.
type callAPI struct{ b *backend }

// Call executes a message on the state of a block and returns its result. The state does not change.
func (api *callAPI) Call(ctx context.Context, args callObject, at *gethrpc.BlockNumberOrHash, overrides *stateOverride, block *blockOverride) (hexutil.Bytes, error) {
	if err := args.checkBlobCap(); err != nil {
		return nil, err
	}
	return readState(ctx, api.b, at, func(ctx context.Context, v *stateView) (hexutil.Bytes, error) {
		result, err := api.call(ctx, v, args, overrides, block)
		switch {
		case err != nil:
			return nil, err
		case errors.Is(result.Err, vm.ErrExecutionReverted):
			return nil, newRevertError(result.Revert())
		}
		return result.Return(), result.Err
	})
}

func (api *callAPI) call(ctx context.Context, v *stateView, args callObject, overrides *stateOverride, block *blockOverride) (*core.ExecutionResult, error) {
	blockCtx, header, precompiles, err := api.setup(v, overrides, block)
	if err != nil {
		return nil, err
	}
	config := api.b.Chain.Config()
	pool := core.NewGasPool(math.MaxUint64)
	if api.b.cfg.GasCap > 0 {
		pool = core.NewGasPool(api.b.cfg.GasCap)
	}
	available := pool.Available(config.IsAmsterdam(header.Number, header.Time))
	msg, err := args.message(callDefaults{gas: available, gasCap: available, baseFee: header.BaseFee, chainID: config.ChainID})
	if err != nil {
		return nil, err
	}
	msg = msg.SkipExecutionGasCapCheck()
	waiveBaseFees(&blockCtx, msg)

	evm := vm.NewEVM(blockCtx, v.state, config, vm.Config{NoBaseFee: true})
	evm.SetPrecompiles(precompiles)
	return api.execute(ctx, evm, msg, pool, func(err error) error {
		return fmt.Errorf("err: %w (supplied gas %d)", err, msg.GasLimit)
	})
}

// execute runs a message, at most until ctx ends, and releases the EVM. If the message fails the result has the
// reason. If it is invalid, so that no block could contain it, the error is that of refused.
func (api *callAPI) execute(ctx context.Context, evm *vm.EVM, msg *core.Message, pool *core.GasPool, refused func(error) error) (*core.ExecutionResult, error) {
	defer evm.Release()
	defer context.AfterFunc(ctx, evm.Cancel)()
	result, err := core.ApplyMessage(evm, msg, pool)
	switch {
	case evm.Cancelled():
		return nil, fmt.Errorf("execution aborted (timeout = %v)", api.b.cfg.EVMTimeout)
	case err != nil:
		return nil, refused(err)
	}
	return result, nil
}

// setup applies the overrides to the view and to the block.
func (api *callAPI) setup(v *stateView, overrides *stateOverride, block *blockOverride) (vm.BlockContext, *types.Header, vm.PrecompiledContracts, error) {
	blockCtx := core.NewEVMBlockContext(v.header, v.chain, nil)
	header, err := block.apply(&blockCtx, v.header)
	if err != nil {
		return blockCtx, nil, nil, err
	}
	rules := api.b.Chain.Config().Rules(blockCtx.BlockNumber, blockCtx.Random != nil, blockCtx.Time)
	precompiles := vm.ActivePrecompiledContracts(rules)
	err = overrides.apply(v.state, precompiles)
	return blockCtx, header, precompiles, err
}

// waiveBaseFees sets the base fees to zero for a message that pays none. BASEFEE and BLOBBASEFEE show it.
func waiveBaseFees(blockCtx *vm.BlockContext, msg *core.Message) {
	if msg.GasPrice.Sign() == 0 {
		blockCtx.BaseFee = new(big.Int)
	}
	if msg.BlobGasFeeCap != nil && msg.BlobGasFeeCap.BitLen() == 0 {
		blockCtx.BlobBaseFee = new(big.Int)
	}
}

// EstimateGas returns the lowest gas limit with which a message succeeds.
func (api *callAPI) EstimateGas(ctx context.Context, args callObject, at *gethrpc.BlockNumberOrHash, overrides *stateOverride, block *blockOverride) (hexutil.Uint64, error) {
	if err := args.checkBlobCap(); err != nil {
		return 0, err
	}
	return api.estimate(ctx, args, at, overrides, block)
}

// estimate is EstimateGas, but a price for blobs without blobs has no effect.
func (api *callAPI) estimate(ctx context.Context, args callObject, at *gethrpc.BlockNumberOrHash, overrides *stateOverride, block *blockOverride) (hexutil.Uint64, error) {
	return readState(ctx, api.b, at, func(ctx context.Context, v *stateView) (hexutil.Uint64, error) {
		_, header, _, err := api.setup(v, overrides, block)
		if err != nil {
			return 0, err
		}
		config := api.b.Chain.Config()
		opts := &gasestimator.Options{
			Config:     config,
			Chain:      v.chain,
			Header:     header,
			State:      v.state,
			ErrorRatio: estimateErrorRatio,
		}
		if block != nil && block.BlobBaseFee != nil {
			opts.BlobBaseFee = block.BlobBaseFee.ToInt()
		}
		// No default gas limit: for zero the estimator starts from the limit of the block.
		msg, err := args.message(callDefaults{gasCap: api.b.cfg.GasCap, baseFee: header.BaseFee, chainID: config.ChainID})
		if err != nil {
			return 0, err
		}
		estimate, revert, err := gasestimator.Estimate(ctx, msg, opts, api.b.cfg.GasCap)
		if errors.Is(err, vm.ErrExecutionReverted) {
			return 0, newRevertError(revert)
		}
		return hexutil.Uint64(estimate), err
	})
}

// accessListResult is the result of eth_createAccessList. Error is why the message fails, if it does.
type accessListResult struct {
	AccessList *types.AccessList `json:"accessList"`
	Error      string            `json:"error,omitempty"`
	GasUsed    hexutil.Uint64    `json:"gasUsed"`
}

// CreateAccessList returns the accounts and slots that a message accesses (EIP-2930). A message with any price gets
// the others as a transaction to be signed would.
func (api *callAPI) CreateAccessList(ctx context.Context, args callObject, at *gethrpc.BlockNumberOrHash, overrides *stateOverride) (*accessListResult, error) {
	if err := args.checkBlobCap(); err != nil {
		return nil, err
	}
	return readState(ctx, api.b, at, func(ctx context.Context, v *stateView) (*accessListResult, error) {
		if err := overrides.apply(v.state, nil); err != nil {
			return nil, err
		}
		config, gasCap := api.b.Chain.Config(), api.b.cfg.GasCap
		if args.feesGiven() {
			if err := args.completeFees(config, v.header, api.b.suggestTip); err != nil {
				return nil, err
			}
		}
		if args.Nonce == nil {
			args.Nonce = ptr(hexutil.Uint64(v.state.GetNonce(args.sender())))
		}
		defaults := callDefaults{gas: cmp.Or(gasCap, uncappedGas), gasCap: gasCap, baseFee: v.header.BaseFee, chainID: config.ChainID}
		msg, err := args.message(defaults)
		if err != nil {
			return nil, err
		}
		return api.expandAccessList(v, msg, func(list types.AccessList, tracer *logger.AccessListTracer) (*core.ExecutionResult, error) {
			return api.trace(ctx, v, withAccessList(msg, list), tracer, func(err error) error {
				return fmt.Errorf("failed to apply transaction: %v err: %w", args.unsigned(defaults, list).Hash(), err)
			})
		})
	})
}

// expandAccessList runs a message until it accesses nothing beyond the list that it runs with.
func (api *callAPI) expandAccessList(v *stateView, msg *core.Message, run func(types.AccessList, *logger.AccessListTracer) (*core.ExecutionResult, error)) (*accessListResult, error) {
	free := api.freeAddresses(v, msg)
	tracer := logger.NewAccessListTracer(msg.AccessList, free)
	for {
		list := tracer.AccessList()
		next := logger.NewAccessListTracer(list, free)
		result, err := run(list, next)
		if err != nil {
			return nil, err
		}
		if !next.Equal(tracer) {
			tracer = next
			continue
		}
		outcome := &accessListResult{AccessList: &list, GasUsed: hexutil.Uint64(result.UsedGas)}
		if result.Err != nil {
			outcome.Error = result.Err.Error()
		}
		return outcome, nil
	}
}

// freeAddresses are warm without being listed, so that listing them would only cost gas: sender, recipient
// or created contract, precompiles and authorities (EIP-2929, EIP-7702).
func (api *callAPI) freeAddresses(v *stateView, msg *core.Message) map[common.Address]struct{} {
	config := api.b.Chain.Config()
	rules := config.Rules(v.header.Number, v.header.Difficulty.Sign() == 0, v.header.Time)
	to := crypto.CreateAddress(msg.From, msg.Nonce)
	if msg.To != nil {
		to = *msg.To
	}
	addresses := slices.Concat([]common.Address{msg.From, to}, vm.ActivePrecompiles(rules))
	for _, auth := range msg.SetCodeAuthorizations {
		here := auth.ChainID.IsZero() || auth.ChainID.CmpBig(config.ChainID) == 0
		if !here || auth.Nonce == math.MaxUint64 {
			continue // has no effect
		}
		if authority, err := auth.Authority(); err == nil {
			addresses = append(addresses, authority)
		}
	}
	set := make(map[common.Address]struct{}, len(addresses))
	for _, address := range addresses {
		set[address] = struct{}{}
	}
	return set
}

func withAccessList(msg *core.Message, list types.AccessList) *core.Message {
	copied := *msg
	copied.AccessList = list
	return &copied
}

// trace executes a message on a copy of the state. The errors are those of execute.
func (api *callAPI) trace(ctx context.Context, v *stateView, msg *core.Message, tracer *logger.AccessListTracer, refused func(error) error) (*core.ExecutionResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := v.readError(); err != nil {
		return nil, err
	}
	blockCtx := core.NewEVMBlockContext(v.header, v.chain, nil)
	waiveBaseFees(&blockCtx, msg)
	evm := vm.NewEVM(blockCtx, v.state.Copy(), api.b.Chain.Config(), vm.Config{Tracer: tracer.Hooks(), NoBaseFee: true})
	return api.execute(ctx, evm, msg, nil, refused)
}
