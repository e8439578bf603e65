// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// The tag pending names the block that would follow the head if it were built now, of the transactions of the pool, as in go-ethereum. A node without
// a builder takes it for the latest block.

func (b *backend) isPending(number gethrpc.BlockNumber) bool {
	return number == gethrpc.PendingBlockNumber && b.Payloads != nil
}

// pendingBlock returns the pending block with its receipts; what names it in the error.
func (b *backend) pendingBlock(ctx context.Context, what string) (*types.Block, types.Receipts, error) {
	if err := b.checkHead(); err != nil {
		return nil, nil, err
	}
	block, receipts, err := b.Payloads.Pending(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("pending %s is not available: %w", what, err)
	}
	return block, receipts, nil
}

// blockByNumber is block for methods that know the pending block.
func (b *backend) blockByNumber(ctx context.Context, number gethrpc.BlockNumber) (*types.Block, error) {
	if b.isPending(number) {
		block, _, err := b.pendingBlock(ctx, "block")
		return block, err
	}
	return b.block(number)
}

// blockAtOrPending is blockAt for methods that know the pending block.
func (b *backend) blockAtOrPending(ctx context.Context, at gethrpc.BlockNumberOrHash) (*types.Block, error) {
	if number, ok := at.Number(); ok && b.isPending(number) {
		return b.blockByNumber(ctx, number)
	}
	return b.blockAt(at)
}

// refusePending is the error of methods that return what is stored. go-ethereum finds no block with the hash of the pending one.
func (b *backend) refusePending(at gethrpc.BlockNumberOrHash) error {
	if number, ok := at.Number(); ok && b.isPending(number) {
		return errors.New("the pending block is not stored")
	}
	return nil
}

// readPending runs read on the state after the pending block: its transactions are executed on the state of the head.
func readPending[T any](ctx context.Context, b *backend, limits stateLimits, read func(context.Context, *stateView) (T, error)) (T, error) {
	var none T
	block, _, err := b.pendingBlock(ctx, "state")
	if err != nil {
		return none, err
	}
	parent := b.Chain.Header(block.ParentHash())
	if parent == nil {
		return none, errNoHeader
	}
	return readStateOf(ctx, b, parent, limits, func(ctx context.Context, v *stateView) (T, error) {
		r := newReplay(ctx, b.Chain.Config(), v, block)
		defer r.plain.Release()
		for i := range block.Transactions() {
			if err := r.apply(ctx, i); err != nil {
				return none, fmt.Errorf("pending state is not available: %w", err)
			}
		}
		if err := r.finish(ctx); err != nil {
			return none, fmt.Errorf("pending state is not available: %w", err)
		}
		after := *v
		after.header, after.chain = block.Header(), newChainContext(ctx, b, block.Header())
		result, err := read(ctx, &after)
		if failure := after.readError(); failure != nil {
			return none, unavailable(ctx, failure, limits.timeout)
		}
		return result, err
	})
}

// finish runs what follows the transactions of the block. Which requests they make does not matter.
func (r *replay) finish(ctx context.Context) error {
	header := r.block.Header()
	_, _, err := core.PostExecution(ctx, r.config, header.Number, header.Time, nil, r.block.Withdrawals(), r.plain, uint32(len(r.block.Transactions())+1))
	r.state.Finalise(r.plain.GetRules())
	return err
}
