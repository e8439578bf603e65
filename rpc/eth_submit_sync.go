// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// How long eth_sendRawTransactionSync waits, as in go-ethereum.
const (
	defaultReceiptWait = 20 * time.Second
	maxReceiptWait     = time.Minute

	maxReceiptWaiters = 256 // calls that wait at once
)

// submitSyncAPI is the method of the eth namespace that waits for the block with a transaction (EIP-7966).
type submitSyncAPI struct {
	b       *backend
	heads   *eventFeed
	waiters *limiter
}

// receiptTimeoutError says that a transaction is in the pool, but not in a block yet.
type receiptTimeoutError struct {
	hash common.Hash
	wait time.Duration
}

func (e *receiptTimeoutError) Error() string {
	return fmt.Sprintf("The transaction was added to the transaction pool but wasn't processed in %v", e.wait)
}
func (e *receiptTimeoutError) ErrorCode() int { return codeReceiptTimeout }
func (e *receiptTimeoutError) ErrorData() any { return e.hash.Hex() }

// SendRawTransactionSync adds a signed transaction to the pool and returns its receipt once it is in a canonical block.
func (api *submitSyncAPI) SendRawTransactionSync(ctx context.Context, input hexutil.Bytes, milliseconds *uint64) (jsonObject, error) {
	ctx, release, err := api.waiters.tryAcquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	reader := api.heads.open() // before the transaction can get into a block
	defer reader.close()
	hash, err := (&submitAPI{api.b}).SendRawTransaction(ctx, input)
	if err != nil {
		return nil, err
	}
	limits := api.b.cfg.ReceiptWait
	wait := min(limits.Default, limits.Max)
	if milliseconds != nil && *milliseconds > 0 {
		wait = time.Duration(min(*milliseconds, uint64(limits.Max/time.Millisecond))) * time.Millisecond
	}
	timed, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		receipt, err := (&transactionAPI{api.b}).GetTransactionReceipt(hash)
		if receipt != nil && err == nil {
			return receipt, nil
		}
		if err := reader.wait(timed); err == nil {
			continue
		} else if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil, &receiptTimeoutError{hash, wait}
		} else {
			return nil, err
		}
	}
}

// wait waits for an event after the last that was read. It reads all that there are.
func (r *eventReader) wait(ctx context.Context) error {
	for seen := false; ; seen = true {
		ev, _, changed, err := r.read()
		switch {
		case err != nil:
			return err
		case ev != nil:
		case seen:
			return nil
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
