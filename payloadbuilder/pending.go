// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/singleflight"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// pendingAge is how long a pending block is returned again, as in go-ethereum.
const pendingAge = 2 * time.Second

// pendingBlocks has the last pending block, and builds one at a time.
type pendingBlocks struct {
	building singleflight.Group

	// Of the mutex of the builder.
	built *evm.Built
	at    time.Time
}

// Pending returns the block that would follow the head if it were built now, of the transactions of the pool, for callers who ask for the
// tag pending. As in go-ethereum, it has no parent beacon root and no fee recipient. Nobody proposes it, so it is not verified again. It is built on
// local state: an error says why there is none.
func (b *Builder) Pending(ctx context.Context) (*types.Block, types.Receipts, error) {
	head := b.cfg.Chain.CurrentHeader()
	if built := b.recent(head.Hash()); built != nil {
		return built.Block, built.Receipts, nil
	}
	result := b.pending.building.DoChan(head.Hash().Hex(), func() (any, error) { return b.buildPending(head) })
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, nil, r.Err
		}
		built := r.Val.(*evm.Built)
		return built.Block, built.Receipts, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// recent returns the last pending block if it is on a head and not old.
func (b *Builder) recent(head common.Hash) *evm.Built {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := &b.pending; p.built != nil && p.built.Block.ParentHash() == head && time.Since(p.at) <= pendingAge {
		return p.built
	}
	return nil
}

// buildPending does not end with a caller: others wait for it too. Its time is that of a round.
func (b *Builder) buildPending(head *types.Header) (*evm.Built, error) {
	var attributes Attributes
	attributes.Parent, attributes.Timestamp = head.Hash(), max(uint64(time.Now().Unix()), head.Time+1)
	if head.SlotNumber != nil {
		slot := *head.SlotNumber + 1
		attributes.SlotNumber = &slot
	} else {
		attributes.SlotNumber = new(uint64) // of the first block of Amsterdam; before, it has no effect
	}
	p, err := b.newPayload(attributes)
	if err != nil {
		return nil, err
	}
	built, err := b.newRound(p).fromPool(context.Background(), nil)
	if err != nil {
		if isMissing(err) {
			err = errors.Join(ErrNotReady, err)
		}
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending.built, b.pending.at = built, time.Now()
	return built, nil
}
