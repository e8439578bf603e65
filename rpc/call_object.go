// SPDX-License-Identifier: LGPL-3.0-or-later

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

// callObject describes a message to execute (GenericTransaction in execution-apis,
// src/schemas/transaction.yaml). Every member is optional.
type callObject struct {
	Sender    *common.Address `json:"from"`
	Recipient *common.Address `json:"to"` // absent: contract creation
	Input     *hexutil.Bytes  `json:"input"`
	OldInput  *hexutil.Bytes  `json:"data"` // older name of input; input has precedence
	Value     *hexutil.Big    `json:"value"`
	GasLimit  *hexutil.Uint64 `json:"gas"`
	Nonce     *hexutil.Uint64 `json:"nonce"` // matters for the address of a created contract only
	ChainID   *hexutil.Big    `json:"chainId"`

	callFees
	AccessList     types.AccessList             `json:"accessList"`
	BlobHashes     []common.Hash                `json:"blobVersionedHashes"`
	Authorizations []types.SetCodeAuthorization `json:"authorizationList"`
}

// callFees are prices in wei per unit of gas. gasPrice excludes the members of EIP-1559.
type callFees struct {
	Price   *hexutil.Big `json:"gasPrice"`
	Cap     *hexutil.Big `json:"maxFeePerGas"`
	Tip     *hexutil.Big `json:"maxPriorityFeePerGas"`
	BlobCap *hexutil.Big `json:"maxFeePerBlobGas"`
}

// callDefaults complete a call object.
type callDefaults struct {
	gas     uint64   // gas limit if the call object has none
	gasCap  uint64   // upper bound of the gas limit; zero: none
	baseFee *big.Int // of the block; nil before London
	chainID *big.Int
}

// uncappedGas is the gas limit if neither the call object nor the configuration has one.
const uncappedGas = math.MaxUint64 / 2

var errBeforeLondon = errors.New("maxFeePerGas and maxPriorityFeePerGas are not valid before London is active")

// sender is the zero address if the call object has none.
func (c *callObject) sender() common.Address { return valueOr(c.Sender, common.Address{}) }

// data is the input, in either of its members.
func (c *callObject) data() []byte { return valueOr(c.Input, valueOr(c.OldInput, nil)) }

// checkBlobCap refuses a price for blobs without blobs. It needs no state, so it comes before all else.
func (c *callObject) checkBlobCap() error {
	if c.BlobCap != nil && len(c.BlobHashes) == 0 {
		return errors.New("maxFeePerBlobGas specified without blobVersionedHashes")
	}
	return nil
}

// checkFeeMembers refuses prices of two kinds of transaction in one call object.
func (f *callFees) checkFeeMembers() error {
	if f.Price != nil && (f.Cap != nil || f.Tip != nil) {
		return errors.New("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
	}
	return nil
}

// check refuses members that contradict each other, the fork or the chain.
func (c *callObject) check(d callDefaults) error {
	if err := c.checkFeeMembers(); err != nil {
		return err
	}
	if c.Recipient == nil { // EIP-4844, EIP-7702: these types cannot create contracts
		if c.BlobHashes != nil {
			return core.ErrBlobTxCreate
		}
		if c.Authorizations != nil {
			return core.ErrSetCodeTxCreate
		}
	}
	if c.ChainID != nil && c.ChainID.ToInt().Cmp(d.chainID) != 0 {
		return fmt.Errorf("chainId does not match node's (have=%v, want=%v)", c.ChainID.ToInt(), d.chainID)
	}
	if d.baseFee == nil && (c.Cap != nil || c.Tip != nil) {
		return errBeforeLondon
	}
	return nil
}

// message completes the call and returns it as the EVM executes it: without the checks that need a
// signed transaction (nonce, sender without code, gas limit of EIP-7825).
func (c *callObject) message(d callDefaults) (*core.Message, error) {
	msg, err := c.nonceChecked(d)
	if err != nil {
		return nil, err
	}
	return msg.SkipNonceCheck(), nil
}

// nonceChecked is message with a check of the nonce.
func (c *callObject) nonceChecked(d callDefaults) (*core.Message, error) {
	if err := c.check(d); err != nil {
		return nil, err
	}
	msg := &core.Message{
		From: c.sender(), To: c.Recipient, Nonce: uint64(valueOr(c.Nonce, 0)), Data: c.data(),
		Value: wordOr(c.Value, new(uint256.Int)), GasLimit: c.gasLimit(d), AccessList: c.AccessList,
		BlobHashes: c.BlobHashes, BlobGasFeeCap: wordOr(c.BlobCap, nil), SetCodeAuthorizations: c.Authorizations,
	}
	if c.BlobHashes != nil && c.BlobCap == nil {
		msg.BlobGasFeeCap = new(uint256.Int)
	}
	if d.baseFee == nil || c.Price != nil {
		price := wordOr(c.Price, new(uint256.Int))
		msg.GasPrice, msg.GasFeeCap, msg.GasTipCap = price, price, price
	} else {
		msg.GasFeeCap, msg.GasTipCap = wordOr(c.Cap, new(uint256.Int)), wordOr(c.Tip, new(uint256.Int))
		msg.GasPrice = priceUnderCap(msg.GasFeeCap, msg.GasTipCap, d.baseFee)
	}
	return msg.SkipEOACheck().SkipGasLimitCapCheck(), nil
}

func (c *callObject) gasLimit(d callDefaults) uint64 {
	limit := d.gas
	if c.GasLimit != nil {
		limit = uint64(*c.GasLimit)
	}
	if d.gasCap > 0 {
		limit = min(limit, d.gasCap)
	}
	return limit
}

// priceUnderCap is base fee plus tip, modulo 2^256 as in go-ethereum, at most the fee cap. A call without fees is free.
func priceUnderCap(feeCap, tip *uint256.Int, baseFee *big.Int) *uint256.Int {
	if feeCap.IsZero() && tip.IsZero() {
		return new(uint256.Int)
	}
	price := uint256.MustFromBig(baseFee)
	if price.Add(price, tip).Gt(feeCap) {
		return feeCap
	}
	return price
}

// wordOr converts a quantity as word does.
func wordOr(q *hexutil.Big, absent *uint256.Int) *uint256.Int {
	if q == nil {
		return absent
	}
	return word(q.ToInt())
}

// word converts a number modulo 2^256. JSON decoding limits quantities to 256 bits; a fee cap that was filled in may
// have more, and go-ethereum cuts it too.
func word(n *big.Int) *uint256.Int {
	w, _ := uint256.FromBig(n)
	return w
}

func valueOr[T any](value *T, absent T) T {
	if value == nil {
		return absent
	}
	return *value
}

func ptr[T any](v T) *T { return &v }
