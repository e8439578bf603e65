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

// sendAPI is the part of the eth namespace that puts transactions into the pool.
type sendAPI struct{ b *backend }

// SendRawTransaction puts a signed transaction into the pool, from where peers get it. Blob
// transactions come with their sidecar, whose proofs are made anew if they are of the time before
// Osaka (EIP-7594), as in go-ethereum.
//
// go-ethereum says that it took a transaction which its pool has no room or no use for right now, and
// tries again by itself; this node says what the matter is.
func (api *sendAPI) SendRawTransaction(ctx context.Context, input hexutil.Bytes) (common.Hash, error) {
	if api.b.Pool == nil {
		return common.Hash{}, &codedError{codeServer, "this node does not propagate transactions: send to another node"}
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
	if !tx.Protected() {
		return common.Hash{}, errors.New("only replay-protected (EIP-155) transactions allowed over RPC")
	}
	_, err := withPool(ctx, api.b, func(ctx context.Context) (struct{}, error) { return struct{}{}, api.b.Pool.Send(ctx, tx) })
	if err != nil {
		return common.Hash{}, err
	}
	api.b.log.Info("Submitted transaction", "hash", tx.Hash(), "nonce", tx.Nonce(), "recipient", tx.To(), "value", tx.Value())
	return tx.Hash(), nil
}

// PendingTransactions lists the pooled transactions of the node's own accounts: it has none.
func (api *sendAPI) PendingTransactions() []*transactionObject { return []*transactionObject{} }

// checkFee is go-ethereum's checkTxFee: limit is in ether, zero for none.
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

// withPool asks the pool for something that may read state. It takes the place of a state query.
func withPool[T any](ctx context.Context, b *backend, ask func(context.Context) (T, error)) (T, error) {
	ctx, leave, err := b.states.enter(ctx, b.cfg.EVMTimeout)
	if err != nil {
		var none T
		return none, err
	}
	defer leave()
	return ask(ctx)
}

// pooled finds a transaction in the pool, if there is one.
func (b *backend) pooled(hash common.Hash) *types.Transaction {
	if b.Pool == nil {
		return nil
	}
	return b.Pool.Get(hash)
}
