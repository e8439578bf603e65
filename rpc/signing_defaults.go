// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// feesGiven reports whether the call object has any price.
func (f *callFees) feesGiven() bool {
	return f.Price != nil || f.Cap != nil || f.Tip != nil || f.BlobCap != nil
}

// completeFees fills in the prices that a caller left out, as for a transaction to be signed on the block with this
// header. It refuses prices with which no block could contain the transaction. suggestTip is called if the tip is
// missing.
func (c *callObject) completeFees(config *params.ChainConfig, header *types.Header, suggestTip func() *big.Int) error {
	if isZero(c.BlobCap) {
		return errors.New("maxFeePerBlobGas, if specified, must be non-zero")
	}
	if c.BlobHashes != nil && c.BlobCap == nil && config.IsCancun(header.Number, header.Time) {
		c.BlobCap = quantity(double(eip4844.CalcBlobFee(config, header)))
	}
	if err := c.checkFeeMembers(); err != nil {
		return err
	}
	if c.Price != nil && c.Authorizations != nil { // EIP-7702: the type has no gas price
		return errors.New("both gasPrice and authorizationList specified")
	}
	london := config.IsLondon(header.Number)
	switch {
	case c.Price != nil:
		if isZero(c.Price) && london {
			return errors.New("gasPrice must be non-zero after london fork")
		}
		return nil
	case c.Cap != nil && c.Tip != nil:
		if isZero(c.Cap) {
			return errors.New("maxFeePerGas must be non-zero")
		}
	case !london:
		if c.Cap != nil || c.Tip != nil {
			return errBeforeLondon
		}
		c.Price = quantity(suggestTip())
		return nil
	default:
		if c.Tip == nil {
			c.Tip = quantity(suggestTip())
		}
		if c.Cap == nil { // the base fee may double until the transaction is included
			c.Cap = quantity(new(big.Int).Add(c.Tip.ToInt(), double(header.BaseFee)))
		}
	}
	if c.Cap.ToInt().Cmp(c.Tip.ToInt()) < 0 {
		return fmt.Errorf("maxFeePerGas (%v) < maxPriorityFeePerGas (%v)", c.Cap, c.Tip)
	}
	return nil
}

func isZero(q *hexutil.Big) bool { return q != nil && q.ToInt().Sign() == 0 }

func double(n *big.Int) *big.Int { return new(big.Int).Lsh(n, 1) }

// unsigned is the transaction with the prices of the call object. The call object is complete but for prices that are
// zero; list replaces its access list. With a gas price and no list it is a legacy transaction.
func (c *callObject) unsigned(d callDefaults, list types.AccessList) *types.Transaction {
	var (
		nonce, gas  = uint64(valueOr(c.Nonce, 0)), c.gasLimit(d)
		value, data = bigOr0(c.Value), c.data()
		feeCap, tip = bigOr0(c.Cap), bigOr0(c.Tip)
		chainID     = d.chainID
	)
	switch {
	case (c.Price != nil || d.baseFee == nil) && list == nil:
		return types.NewTx(&types.LegacyTx{Nonce: nonce, To: c.Recipient, Gas: gas, GasPrice: bigOr0(c.Price), Value: value, Data: data})
	case c.Price != nil || d.baseFee == nil:
		return types.NewTx(&types.AccessListTx{
			ChainID: chainID, Nonce: nonce, To: c.Recipient, Gas: gas, GasPrice: bigOr0(c.Price), Value: value, Data: data, AccessList: list,
		})
	case c.Authorizations != nil:
		return types.NewTx(&types.SetCodeTx{
			ChainID: word(chainID), Nonce: nonce, To: *c.Recipient, Gas: gas, GasFeeCap: word(feeCap), GasTipCap: word(tip),
			Value: word(value), Data: data, AccessList: list, AuthList: c.Authorizations,
		})
	case c.BlobHashes != nil:
		return types.NewTx(&types.BlobTx{
			ChainID: word(chainID), Nonce: nonce, To: *c.Recipient, Gas: gas, GasFeeCap: word(feeCap), GasTipCap: word(tip),
			Value: word(value), Data: data, AccessList: list, BlobHashes: c.BlobHashes, BlobFeeCap: word(bigOr0(c.BlobCap)),
		})
	}
	return types.NewTx(&types.DynamicFeeTx{
		ChainID: chainID, Nonce: nonce, To: c.Recipient, Gas: gas, GasFeeCap: feeCap, GasTipCap: tip, Value: value, Data: data, AccessList: list,
	})
}

func bigOr0(q *hexutil.Big) *big.Int {
	if q == nil {
		return new(big.Int)
	}
	return q.ToInt()
}
