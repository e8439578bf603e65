// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// submitAPI is the part of the eth namespace that adds transactions to the pool.
type submitAPI struct{ b *backend }

// SendRawTransaction adds a signed transaction to the pool, which propagates it. A blob transaction comes with
// its sidecar. From Osaka on, a sidecar with blob proofs is converted to cell proofs (EIP-7594), as in
// go-ethereum.
//
// If its pool is full, the node reports success and tries again later, as go-ethereum does.
func (api *submitAPI) SendRawTransaction(ctx context.Context, input hexutil.Bytes) (common.Hash, error) {
	if api.b.Pool == nil {
		return common.Hash{}, &codedError{codeServer, "this node has no transaction pool: send the transaction to another node"}
	}
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(input); err != nil {
		return common.Hash{}, err
	}
	head := api.b.Chain.CurrentHeader()
	if sidecar := tx.BlobTxSidecar(); sidecar != nil && sidecar.Version == types.BlobSidecarVersion0 && api.b.Chain.Config().IsOsaka(head.Number, head.Time) {
		if err := sidecar.ToV1(); err != nil {
			return common.Hash{}, fmt.Errorf("blob sidecar conversion failed: %w", err)
		}
		tx = tx.WithBlobTxSidecar(sidecar)
	}
	if err := checkFee(tx, api.b.cfg.TxFeeCap); err != nil {
		return common.Hash{}, err
	}
	if !api.b.cfg.Unprotected && !tx.Protected() {
		return common.Hash{}, errors.New("only replay-protected (EIP-155) transactions allowed over RPC")
	}
	_, err := withPool(ctx, api.b, func(ctx context.Context) (struct{}, error) { return struct{}{}, api.b.Pool.Send(ctx, tx) })
	if err != nil {
		return common.Hash{}, err
	}
	api.b.log.Info("Submitted transaction", "hash", tx.Hash(), "nonce", tx.Nonce(), "recipient", tx.To(), "value", tx.Value())
	return tx.Hash(), nil
}

// PendingTransactions lists the pooled transactions of the node's own accounts: the node has no accounts.
func (api *submitAPI) PendingTransactions() []*transactionObject { return []*transactionObject{} }

// checkFee refuses a transaction whose fee exceeds the limit, in ether; zero is no limit.
func checkFee(tx *types.Transaction, limit float64) error {
	if limit == 0 {
		return nil
	}
	wei := new(big.Int).Mul(tx.GasPrice(), new(big.Int).SetUint64(tx.Gas()))
	fee, _ := new(big.Float).Quo(new(big.Float).SetInt(wei), new(big.Float).SetInt(big.NewInt(params.Ether))).Float64()
	if fee > limit {
		return fmt.Errorf("tx fee (%.2f ether) exceeds the configured cap (%.2f ether)", fee, limit)
	}
	return nil
}

// withPool runs a request to the pool that may read state. It counts as a state query for the limiter.
func withPool[T any](ctx context.Context, b *backend, request func(context.Context) (T, error)) (T, error) {
	ctx, release, err := b.stateQueries.acquire(ctx, b.cfg.EVMTimeout)
	if err != nil {
		var none T
		return none, err
	}
	defer release()
	return request(b.withBudget(ctx))
}

// pooled returns a transaction of the pool, nil if there is none.
func (b *backend) pooled(hash common.Hash) *types.Transaction {
	if b.Pool == nil {
		return nil
	}
	return b.Pool.Get(hash)
}
