// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// rawBatch is how many transactions go to the pool in one call.
const rawBatch = 200

// buildOld makes a block of all these transactions by way of the pool, in the pool's order: a
// geth of Paris cannot be told what to build. There must be room for all of them.
func (b *Builder) buildOld(ctx context.Context, raw []hexutil.Bytes, attributes *engine.PayloadAttributes) (*Payload, error) {
	if err := b.pool(ctx, raw); err != nil {
		return nil, err
	}
	id, err := b.begin(ctx, attributes)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	for {
		built, err := b.fetch(ctx, id, attributes) // waits half a second for what is in work
		if err != nil {
			return nil, err
		}
		switch n := len(built.ExecutionPayload.Transactions); {
		case n == len(raw):
			return b.adopt(ctx, built, attributes)
		case n > 0 || ctx.Err() != nil:
			return nil, fmt.Errorf("%d transactions in block %d, %d were given", n, built.ExecutionPayload.Number, len(raw))
		}
	}
}

// pool hands transactions to geth's pool.
func (b *Builder) pool(ctx context.Context, raw []hexutil.Bytes) error {
	for len(raw) > 0 {
		n := min(rawBatch, len(raw))
		batch := make([]gethrpc.BatchElem, n)
		for i := range batch {
			batch[i] = gethrpc.BatchElem{Method: "eth_sendRawTransaction", Args: []any{raw[i]}, Result: new(common.Hash)}
		}
		if err := b.geth.BatchCallContext(ctx, batch); err != nil {
			return fmt.Errorf("send transactions: %w", err)
		}
		for i := range batch {
			if batch[i].Error != nil {
				return fmt.Errorf("send a transaction: %w", batch[i].Error)
			}
		}
		raw = raw[n:]
	}
	return nil
}
