// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// fillAPI is the part of the eth namespace that completes transactions.
type fillAPI struct{ b *backend }

// filledTransaction is a transaction to be signed, in its network encoding and as an object.
type filledTransaction struct {
	Raw hexutil.Bytes      `json:"raw"`
	Tx  *types.Transaction `json:"tx"`
}

// FillTransaction completes a transaction with nonce, prices and gas limit for the next block. It does not sign it, and
// it makes no sidecar of blobs.
func (api *fillAPI) FillTransaction(ctx context.Context, args callObject) (*filledTransaction, error) {
	config, head := api.b.Chain.Config(), api.b.Chain.CurrentHeader()
	if err := args.completeFees(config, head, api.b.suggestTip); err != nil {
		return nil, err
	}
	if err := api.completeNonce(ctx, &args); err != nil {
		return nil, err
	}
	if err := args.checkFillable(); err != nil {
		return nil, err
	}
	if args.GasLimit == nil {
		estimated := args
		estimated.Nonce, estimated.ChainID = nil, nil
		gas, err := (&callAPI{api.b}).estimate(ctx, estimated, nil, nil, nil)
		if err != nil {
			return nil, err
		}
		args.GasLimit = &gas
	}
	if args.ChainID != nil && args.ChainID.ToInt().Cmp(config.ChainID) != 0 {
		return nil, fmt.Errorf("chainId does not match node's (have=%v, want=%v)", args.ChainID.ToInt(), config.ChainID)
	}
	tx := args.unsigned(callDefaults{baseFee: head.BaseFee, chainID: config.ChainID}, args.AccessList)
	raw, err := tx.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return &filledTransaction{raw, tx}, nil
}

func (api *fillAPI) completeNonce(ctx context.Context, args *callObject) error {
	if args.Nonce != nil {
		return nil
	}
	pending := gethrpc.BlockNumberOrHashWithNumber(gethrpc.PendingBlockNumber)
	nonce, err := (&stateAPI{api.b}).GetTransactionCount(ctx, args.sender(), &pending)
	args.Nonce = nonce
	return err
}

// checkFillable refuses members that no transaction has together.
func (c *callObject) checkFillable() error {
	blobs := c.BlobHashes
	switch {
	case c.OldInput != nil && c.Input != nil && !bytes.Equal(*c.OldInput, *c.Input):
		return errors.New(`both "data" and "input" are set and not equal. Please use "input" to pass transaction call data`)
	case blobs != nil && len(blobs) == 0:
		return errors.New("need at least 1 blob for a blob transaction")
	case len(blobs) > params.BlobTxMaxBlobs:
		return fmt.Errorf("too many blobs in transaction (have=%d, max=%d)", len(blobs), params.BlobTxMaxBlobs)
	case c.Recipient != nil:
		return nil
	case blobs != nil:
		return errors.New(`missing "to" in blob transaction`)
	case len(c.data()) == 0:
		return errors.New("contract creation without any data provided")
	case c.Authorizations != nil:
		return errors.New(`authorizationList provided for contract creation, but "to" field is missing`)
	}
	return nil
}
