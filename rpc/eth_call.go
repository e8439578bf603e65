package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"

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

// callAPI is the part of the eth namespace that executes messages on states.
type callAPI struct{ b *backend }

// Call executes a message on the state of a block and forgets what it changed.
func (api *callAPI) Call(ctx context.Context, args callArgs, at *gethrpc.BlockNumberOrHash, overrides *stateOverride, block *blockOverride) (hexutil.Bytes, error) {
	return readState(ctx, api.b, at, func(ctx context.Context, v *view) (hexutil.Bytes, error) {
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

func (api *callAPI) call(ctx context.Context, v *view, args callArgs, overrides *stateOverride, block *blockOverride) (*core.ExecutionResult, error) {
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
	if err := args.setDefaults(available, blockCtx.BaseFee, config.ChainID); err != nil {
		return nil, err
	}
	msg := args.message(header.BaseFee).SkipExecutionGasCapCheck()
	forgiveFees(&blockCtx, msg)

	evm := vm.NewEVM(blockCtx, v.state, config, vm.Config{NoBaseFee: true})
	defer evm.Release()
	evm.SetPrecompiles(precompiles)
	defer context.AfterFunc(ctx, evm.Cancel)()

	result, err := core.ApplyMessage(evm, msg, pool)
	if evm.Cancelled() {
		return nil, fmt.Errorf("execution aborted (timeout = %v)", api.b.cfg.EVMTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("err: %w (supplied gas %d)", err, msg.GasLimit)
	}
	return result, nil
}

// setup applies what the caller overrides to the view and to the block.
func (api *callAPI) setup(v *view, overrides *stateOverride, block *blockOverride) (vm.BlockContext, *types.Header, vm.PrecompiledContracts, error) {
	blockCtx := core.NewEVMBlockContext(v.header, v.chain, nil)
	if err := block.apply(&blockCtx); err != nil {
		return blockCtx, nil, nil, err
	}
	rules := api.b.Chain.Config().Rules(blockCtx.BlockNumber, blockCtx.Random != nil, blockCtx.Time)
	precompiles := vm.ActivePrecompiledContracts(rules)
	err := overrides.apply(v.state, precompiles)
	return blockCtx, block.header(v.header), precompiles, err
}

// forgiveFees lowers the base fees for a message that pays none, because the EVM wants
// fee caps that are not below them.
func forgiveFees(blockCtx *vm.BlockContext, msg *core.Message) {
	if msg.GasPrice.Sign() == 0 {
		blockCtx.BaseFee = new(big.Int)
	}
	if msg.BlobGasFeeCap != nil && msg.BlobGasFeeCap.BitLen() == 0 {
		blockCtx.BlobBaseFee = new(big.Int)
	}
}

// EstimateGas returns the lowest gas limit with which a message succeeds.
func (api *callAPI) EstimateGas(ctx context.Context, args callArgs, at *gethrpc.BlockNumberOrHash, overrides *stateOverride, block *blockOverride) (hexutil.Uint64, error) {
	return readState(ctx, api.b, at, func(ctx context.Context, v *view) (hexutil.Uint64, error) {
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
		if args.Gas == nil {
			args.Gas = new(hexutil.Uint64) // so that the cap does not become the limit
		}
		if err := args.setDefaults(api.b.cfg.GasCap, header.BaseFee, config.ChainID); err != nil {
			return 0, err
		}
		estimate, revert, err := gasestimator.Estimate(ctx, args.message(header.BaseFee), opts, api.b.cfg.GasCap)
		if errors.Is(err, vm.ErrExecutionReverted) {
			return 0, newRevertError(revert)
		}
		return hexutil.Uint64(estimate), err
	})
}

// accessListResult is the answer of eth_createAccessList; Error is the message's own.
type accessListResult struct {
	AccessList *types.AccessList `json:"accessList"`
	Error      string            `json:"error,omitempty"`
	GasUsed    hexutil.Uint64    `json:"gasUsed"`
}

// CreateAccessList returns the accounts and slots that a message touches (EIP-2930).
func (api *callAPI) CreateAccessList(ctx context.Context, args callArgs, at *gethrpc.BlockNumberOrHash, overrides *stateOverride) (*accessListResult, error) {
	return readState(ctx, api.b, at, func(ctx context.Context, v *view) (*accessListResult, error) {
		if err := overrides.apply(v.state, nil); err != nil {
			return nil, err
		}
		if args.Nonce == nil {
			args.Nonce = ptr(hexutil.Uint64(v.state.GetNonce(args.from())))
		}
		config := api.b.Chain.Config()
		if err := args.setDefaults(api.b.cfg.GasCap, v.header.BaseFee, config.ChainID); err != nil {
			return nil, err
		}
		known := api.known(v, &args)
		tracer := logger.NewAccessListTracer(nil, known)
		if args.AccessList != nil {
			tracer = logger.NewAccessListTracer(*args.AccessList, known)
		}
		for { // until another round finds nothing new
			list := tracer.AccessList()
			args.AccessList = &list
			next := logger.NewAccessListTracer(list, known)
			result, err := api.trace(ctx, v, &args, next)
			if err != nil {
				return nil, err
			}
			if !next.Equal(tracer) {
				tracer = next
				continue
			}
			answer := &accessListResult{AccessList: &list, GasUsed: hexutil.Uint64(result.UsedGas)}
			if result.Err != nil {
				answer.Error = result.Err.Error()
			}
			return answer, nil
		}
	})
}

// known are the addresses that cost nothing extra and so do not belong in a list.
func (api *callAPI) known(v *view, args *callArgs) map[common.Address]struct{} {
	config := api.b.Chain.Config()
	to := crypto.CreateAddress(args.from(), uint64(*args.Nonce))
	if args.To != nil {
		to = *args.To
	}
	known := map[common.Address]struct{}{args.from(): {}, to: {}}
	rules := config.Rules(v.header.Number, v.header.Difficulty.Sign() == 0, v.header.Time)
	for _, address := range vm.ActivePrecompiles(rules) {
		known[address] = struct{}{}
	}
	for _, auth := range args.AuthorizationList {
		if !auth.ChainID.IsZero() && auth.ChainID.CmpBig(config.ChainID) != 0 || auth.Nonce+1 < auth.Nonce {
			continue
		}
		if authority, err := auth.Authority(); err == nil {
			known[authority] = struct{}{}
		}
	}
	return known
}

// trace executes a message on a copy of the view.
func (api *callAPI) trace(ctx context.Context, v *view, args *callArgs, tracer *logger.AccessListTracer) (*core.ExecutionResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := v.failure(); err != nil {
		return nil, err
	}
	msg := args.message(v.header.BaseFee)
	blockCtx := core.NewEVMBlockContext(v.header, v.chain, nil)
	forgiveFees(&blockCtx, msg)
	copied := v.state.Copy()
	evm := vm.NewEVM(blockCtx, copied, api.b.Chain.Config(), vm.Config{Tracer: tracer.Hooks(), NoBaseFee: true})
	defer evm.Release()
	defer context.AfterFunc(ctx, evm.Cancel)()

	result, err := core.ApplyMessage(evm, msg, nil)
	if evm.Cancelled() {
		return nil, fmt.Errorf("execution aborted (timeout = %v)", api.b.cfg.EVMTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to apply transaction: %w", err)
	}
	return result, nil
}
