package rpc

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// callArgs is the call object of eth_call and its kin: TransactionArgs of go-ethereum's
// internal/ethapi, without what only signing needs.
type callArgs struct {
	From                 *common.Address `json:"from"`
	To                   *common.Address `json:"to"`
	Gas                  *hexutil.Uint64 `json:"gas"`
	GasPrice             *hexutil.Big    `json:"gasPrice"`
	MaxFeePerGas         *hexutil.Big    `json:"maxFeePerGas"`
	MaxPriorityFeePerGas *hexutil.Big    `json:"maxPriorityFeePerGas"`
	Value                *hexutil.Big    `json:"value"`
	Nonce                *hexutil.Uint64 `json:"nonce"`

	Data  *hexutil.Bytes `json:"data"` // older name of input
	Input *hexutil.Bytes `json:"input"`

	AccessList *types.AccessList `json:"accessList,omitempty"`
	ChainID    *hexutil.Big      `json:"chainId,omitempty"`

	BlobFeeCap *hexutil.Big  `json:"maxFeePerBlobGas"`
	BlobHashes []common.Hash `json:"blobVersionedHashes,omitempty"`

	AuthorizationList []types.SetCodeAuthorization `json:"authorizationList"`
}

func (args *callArgs) from() common.Address {
	if args.From == nil {
		return common.Address{}
	}
	return *args.From
}

func (args *callArgs) data() []byte {
	if args.Input != nil {
		return *args.Input
	}
	if args.Data != nil {
		return *args.Data
	}
	return nil
}

// setDefaults fills in what a call may leave out (CallDefaults). gasCap zero is no cap.
func (args *callArgs) setDefaults(gasCap uint64, baseFee, chainID *big.Int) error {
	switch {
	case args.GasPrice != nil && (args.MaxFeePerGas != nil || args.MaxPriorityFeePerGas != nil):
		return errors.New("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
	case args.To == nil && args.BlobHashes != nil:
		return core.ErrBlobTxCreate
	case args.To == nil && args.AuthorizationList != nil:
		return core.ErrSetCodeTxCreate
	case args.ChainID != nil && args.ChainID.ToInt().Cmp(chainID) != 0:
		return fmt.Errorf("chainId does not match node's (have=%v, want=%v)", args.ChainID.ToInt(), chainID)
	}
	args.ChainID = (*hexutil.Big)(chainID)
	switch {
	case args.Gas == nil && gasCap == 0:
		args.Gas = ptr[hexutil.Uint64](math.MaxUint64 / 2)
	case args.Gas == nil || gasCap > 0 && gasCap < uint64(*args.Gas):
		args.Gas = ptr(hexutil.Uint64(gasCap))
	}
	if args.Nonce == nil {
		args.Nonce = new(hexutil.Uint64)
	}
	if args.Value == nil {
		args.Value = new(hexutil.Big)
	}
	if baseFee == nil { // before London
		if args.GasPrice == nil {
			args.GasPrice = new(hexutil.Big)
		}
	} else {
		if args.MaxFeePerGas == nil {
			args.MaxFeePerGas = new(hexutil.Big)
		}
		if args.MaxPriorityFeePerGas == nil {
			args.MaxPriorityFeePerGas = new(hexutil.Big)
		}
	}
	if args.BlobFeeCap == nil && args.BlobHashes != nil {
		args.BlobFeeCap = new(hexutil.Big)
	}
	return nil
}

// message is the call as the EVM takes it. setDefaults came before.
func (args *callArgs) message(baseFee *big.Int) *core.Message {
	price, feeCap, tipCap := args.prices(baseFee)
	var accessList types.AccessList
	if args.AccessList != nil {
		accessList = *args.AccessList
	}
	value, _ := args.Value.ToUint256()
	blobFeeCap, _ := args.BlobFeeCap.ToUint256()
	msg := &core.Message{
		From:                  args.from(),
		To:                    args.To,
		Value:                 value,
		Nonce:                 uint64(*args.Nonce),
		GasLimit:              uint64(*args.Gas),
		GasPrice:              price,
		GasFeeCap:             feeCap,
		GasTipCap:             tipCap,
		Data:                  args.data(),
		AccessList:            accessList,
		BlobGasFeeCap:         blobFeeCap,
		BlobHashes:            args.BlobHashes,
		SetCodeAuthorizations: args.AuthorizationList,
	}
	return msg.SkipNonceCheck().SkipEOACheck().SkipGasLimitCapCheck()
}

// prices turns whichever fee fields were given into all three.
func (args *callArgs) prices(baseFee *big.Int) (price, feeCap, tipCap *uint256.Int) {
	if baseFee == nil || args.GasPrice != nil {
		price, _ = args.GasPrice.ToUint256()
		return price, price, price
	}
	feeCap, _ = args.MaxFeePerGas.ToUint256()
	tipCap, _ = args.MaxPriorityFeePerGas.ToUint256()
	price = new(uint256.Int) // a call that names no fees pays none
	if feeCap.BitLen() > 0 || tipCap.BitLen() > 0 {
		price.Add(tipCap, uint256.MustFromBig(baseFee))
		if price.Cmp(feeCap) > 0 {
			price = feeCap
		}
	}
	return price, feeCap, tipCap
}

func ptr[T any](v T) *T { return &v }
