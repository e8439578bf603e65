// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
)

// blockOverride replaces what a call sees of its block; nil replaces nothing. Its members are those of
// eth_simulateV1 in execution-apis, and difficulty. BeaconRoot and Withdrawals are refused: a call runs
// outside the system calls and the withdrawals of its block.
type blockOverride struct {
	Number       *hexutil.Big    `json:"number"`
	Time         *hexutil.Uint64 `json:"time"`
	Difficulty   *hexutil.Big    `json:"difficulty"`
	PrevRandao   *common.Hash    `json:"prevRandao"`
	GasLimit     *hexutil.Uint64 `json:"gasLimit"`
	FeeRecipient *common.Address `json:"feeRecipient"`
	BaseFee      *hexutil.Big    `json:"baseFeePerGas"`
	BlobBaseFee  *hexutil.Big    `json:"blobBaseFee"`

	BeaconRoot  *common.Hash       `json:"beaconRoot"`
	Withdrawals *types.Withdrawals `json:"withdrawals"`
}

// apply changes the block context of the EVM. It returns a copy of the header with the same changes, from
// which fees are computed.
func (o *blockOverride) apply(blockCtx *vm.BlockContext, header *types.Header) (*types.Header, error) {
	if o == nil {
		return header, nil
	}
	if o.BeaconRoot != nil {
		return nil, errNotOverridable("beaconRoot")
	}
	if o.Withdrawals != nil {
		return nil, errNotOverridable("withdrawals")
	}
	replaceNumber(o.Number, &blockCtx.BlockNumber)
	replace((*uint64)(o.Time), &blockCtx.Time)
	replace((*uint64)(o.GasLimit), &blockCtx.GasLimit)
	replace(o.FeeRecipient, &blockCtx.Coinbase)
	replaceNumber(o.BaseFee, &blockCtx.BaseFee)
	replaceNumber(o.BlobBaseFee, &blockCtx.BlobBaseFee)
	replaceNumber(o.Difficulty, &blockCtx.Difficulty)
	if o.PrevRandao != nil {
		blockCtx.Random = o.PrevRandao
	}
	return o.header(header), nil
}

// header returns a copy of a header with the changes. The blob base fee is not among them: a header has the excess
// blob gas instead.
func (o *blockOverride) header(header *types.Header) *types.Header {
	header = types.CopyHeader(header)
	replaceNumber(o.Number, &header.Number)
	replace((*uint64)(o.Time), &header.Time)
	replace((*uint64)(o.GasLimit), &header.GasLimit)
	replace(o.FeeRecipient, &header.Coinbase)
	replaceNumber(o.BaseFee, &header.BaseFee)
	replace(o.PrevRandao, &header.MixDigest)
	if header.Difficulty.Sign() != 0 { // a zero difficulty marks a block after the merge
		replaceNumber(o.Difficulty, &header.Difficulty)
	}
	return header
}

func errNotOverridable(member string) error {
	return fmt.Errorf("block override %q is not supported for this RPC method", member)
}

// replace writes a value to all targets, unless it is nil.
func replace[T any](value *T, targets ...*T) {
	if value == nil {
		return
	}
	for _, target := range targets {
		*target = *value
	}
}

// replaceNumber writes a number to all targets, unless it is nil. The targets share it: nobody changes it in place.
func replaceNumber(value *hexutil.Big, targets ...**big.Int) {
	if value != nil {
		n := value.ToInt()
		replace(&n, targets...)
	}
}
