package rpc

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// accountOverride is what a caller wants an account to be during a call. State replaces
// all storage, StateDiff some slots; they exclude each other.
type accountOverride struct {
	Nonce            *hexutil.Uint64             `json:"nonce"`
	Code             *hexutil.Bytes              `json:"code"`
	Balance          *hexutil.Big                `json:"balance"`
	State            map[common.Hash]common.Hash `json:"state"`
	StateDiff        map[common.Hash]common.Hash `json:"stateDiff"`
	MovePrecompileTo *common.Address             `json:"movePrecompileToAddress"`
}

// stateOverride is the state override set of eth_call; nil changes nothing.
type stateOverride map[common.Address]accountOverride

// apply changes the state and the precompiles (which may be nil) of one call.
func (o *stateOverride) apply(statedb *state.StateDB, precompiles vm.PrecompiledContracts) error {
	if o == nil {
		return nil
	}
	moved := make(map[common.Address]struct{}) // where precompiles went
	for _, address := range slices.SortedFunc(maps.Keys(*o), common.Address.Cmp) {
		account := (*o)[address]
		if _, ok := moved[address]; ok {
			return fmt.Errorf("account %s has already been overridden by a precompile", address.Hex())
		}
		if err := o.movePrecompile(address, account.MovePrecompileTo, precompiles, moved); err != nil {
			return err
		}
		if account.State != nil && account.StateDiff != nil {
			return fmt.Errorf("account %s has both 'state' and 'stateDiff'", address.Hex())
		}
		account.apply(statedb, address)
	}
	// As if a transaction just before the call had made the changes.
	statedb.Finalise(params.Rules{})
	return nil
}

func (o *stateOverride) movePrecompile(from common.Address, to *common.Address, precompiles vm.PrecompiledContracts, moved map[common.Address]struct{}) error {
	contract, ok := precompiles[from]
	if to != nil {
		if !ok {
			return fmt.Errorf("account %s is not a precompile", from.Hex())
		}
		if _, taken := (*o)[*to]; taken {
			return fmt.Errorf("account %s is already overridden", to.Hex())
		}
		precompiles[*to] = contract
		moved[*to] = struct{}{}
	}
	if ok {
		delete(precompiles, from)
	}
	return nil
}

func (a accountOverride) apply(statedb *state.StateDB, address common.Address) {
	if a.Nonce != nil {
		statedb.SetNonce(address, uint64(*a.Nonce), tracing.NonceChangeUnspecified)
	}
	if a.Code != nil {
		statedb.SetCode(address, *a.Code, tracing.CodeChangeUnspecified)
	}
	if a.Balance != nil {
		balance, _ := a.Balance.ToUint256()
		statedb.SetBalance(address, balance, tracing.BalanceChangeUnspecified)
	}
	if a.State != nil {
		statedb.SetStorage(address, a.State)
	}
	for key, value := range a.StateDiff {
		statedb.SetState(address, key, value)
	}
}

// blockOverride is what a caller wants the block of a call to be; nil changes nothing.
type blockOverride struct {
	Number        *hexutil.Big
	Difficulty    *hexutil.Big // of blocks before the merge only
	Time          *hexutil.Uint64
	GasLimit      *hexutil.Uint64
	FeeRecipient  *common.Address
	PrevRandao    *common.Hash
	BaseFeePerGas *hexutil.Big
	BlobBaseFee   *hexutil.Big
	BeaconRoot    *common.Hash
	Withdrawals   *types.Withdrawals
}

// apply changes the block that the EVM sees.
func (o *blockOverride) apply(blockCtx *vm.BlockContext) error {
	switch {
	case o == nil:
		return nil
	case o.BeaconRoot != nil:
		return errors.New(`block override "beaconRoot" is not supported for this RPC method`)
	case o.Withdrawals != nil:
		return errors.New(`block override "withdrawals" is not supported for this RPC method`)
	}
	if o.Number != nil {
		blockCtx.BlockNumber = o.Number.ToInt()
	}
	if o.Difficulty != nil {
		blockCtx.Difficulty = o.Difficulty.ToInt()
	}
	if o.Time != nil {
		blockCtx.Time = uint64(*o.Time)
	}
	if o.GasLimit != nil {
		blockCtx.GasLimit = uint64(*o.GasLimit)
	}
	if o.FeeRecipient != nil {
		blockCtx.Coinbase = *o.FeeRecipient
	}
	if o.PrevRandao != nil {
		blockCtx.Random = o.PrevRandao
	}
	if o.BaseFeePerGas != nil {
		blockCtx.BaseFee = o.BaseFeePerGas.ToInt()
	}
	if o.BlobBaseFee != nil {
		blockCtx.BlobBaseFee = o.BlobBaseFee.ToInt()
	}
	return nil
}

// header is the header with the overrides in it, so that fees are computed from them.
func (o *blockOverride) header(header *types.Header) *types.Header {
	if o == nil {
		return header
	}
	h := types.CopyHeader(header)
	if o.Number != nil {
		h.Number = o.Number.ToInt()
	}
	if o.Difficulty != nil && (h.Difficulty == nil || h.Difficulty.Sign() != 0) {
		h.Difficulty = o.Difficulty.ToInt()
	}
	if o.Time != nil {
		h.Time = uint64(*o.Time)
	}
	if o.GasLimit != nil {
		h.GasLimit = uint64(*o.GasLimit)
	}
	if o.FeeRecipient != nil {
		h.Coinbase = *o.FeeRecipient
	}
	if o.PrevRandao != nil {
		h.MixDigest = *o.PrevRandao
	}
	if o.BaseFeePerGas != nil {
		h.BaseFee = o.BaseFeePerGas.ToInt()
	}
	return h
}
