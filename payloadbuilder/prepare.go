// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// slotSeconds is the time between blocks of mainnet. A head is prepared for it, and for the time to its parent.
	slotSeconds = 12
	// slotsAhead is how many blocks after a head are prepared. The block after the next one is prepared as well,
	// because often the call that names the head also asks for a payload on it.
	slotsAhead = 3
	// prepareTime bounds the preparation of one head.
	prepareTime = 10 * time.Second
	// prefetchTime bounds one prefetch for candidates: then the ones that are the best by now are looked at again.
	prefetchTime = 4 * time.Second
)

// block returns a block with the header of the payload as it is known before the execution, for the prefetch.
func (p *payload) block(txs []*types.Transaction) *types.Block {
	body := &types.Body{Withdrawals: p.withdrawals}
	for _, tx := range txs {
		body.Transactions = append(body.Transactions, tx.WithoutBlobTxSidecar())
	}
	return types.NewBlock(p.header, body, nil, gethtrie.NewStackTrie(nil))
}

// prepareHeads prefetches, with each new head, what empty blocks of the next slots read.
func (b *Builder) prepareHeads(ctx context.Context) {
	heads := make(chan chain.HeadEvent, 16)
	sub := b.cfg.Chain.SubscribeHead(heads)
	defer sub.Unsubscribe()
	var running sync.WaitGroup
	defer running.Wait()
	cancel := func() {}
	for {
		select {
		case <-heads:
			cancel()
			head := b.cfg.Chain.CurrentHeader()
			if b.cfg.State(head.Root).Complete {
				continue
			}
			var limited context.Context
			limited, cancel = context.WithTimeout(ctx, prepareTime)
			running.Go(func() { b.prepare(limited, head) })
		case <-ctx.Done():
			cancel()
			return
		}
	}
}

// prepare prefetches what empty blocks after a head read. Which slots of the system contracts that are depends on their
// numbers and timestamps only (EIP-2935, EIP-4788).
func (b *Builder) prepare(ctx context.Context, head *types.Header) {
	intervals := []uint64{slotSeconds}
	if parent := b.cfg.Chain.Header(head.ParentHash); parent != nil {
		if gap := head.Time - parent.Time; gap < slotSeconds && gap > 0 {
			intervals = append(intervals, gap)
		}
	}
	for slot := uint64(1); slot <= slotsAhead; slot++ {
		for _, interval := range intervals {
			attributes := Attributes{Parent: head.Hash()}
			attributes.Timestamp = head.Time + slot*interval
			attributes.BeaconRoot, attributes.SlotNumber = new(common.Hash), new(uint64)
			p, err := b.newPayload(attributes)
			if err != nil {
				return
			}
			p.header.Number = new(big.Int).Add(head.Number, new(big.Int).SetUint64(slot))
			_ = b.cfg.Fetcher.Prefetch(ctx, p.block(nil), head) // a hint
		}
	}
}

// fetching gets the state of candidates that were left out, one prefetch at a time. Only one goroutine uses it.
type fetching struct {
	b       *Builder
	p       *payload
	running sync.WaitGroup
	busy    bool
	arrived chan struct{} // a prefetch has ended
}

func newFetching(b *Builder, p *payload) *fetching {
	return &fetching{b: b, p: p, arrived: make(chan struct{}, 1)}
}

// start begins a prefetch of what a round missed, unless one is running. It says whether one is.
func (f *fetching) start(ctx context.Context, r *round) bool {
	select {
	case <-f.arrived:
		f.busy = false
	default:
	}
	if f.busy || r.state == nil || ctx.Err() != nil {
		return f.busy
	}
	faults, codes := r.state.Missing()
	if len(r.leftOut)+len(faults)+len(codes) == 0 {
		return false
	}
	f.busy = true
	ctx, cancel := context.WithTimeout(ctx, prefetchTime)
	f.running.Go(func() {
		defer cancel()
		f.fetch(ctx, r.leftOut, faults, codes)
		f.arrived <- struct{}{}
	})
	return true
}

// fetch gets what the draft missed, and what the candidates that were left out are expected to read. It ends early when
// a block is imported.
func (f *fetching) fetch(ctx context.Context, txs []*types.Transaction, faults []trie.Fault, codes []common.Hash) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.running.Go(func() {
		ticker := time.NewTicker(10 * busyPoll)
		defer ticker.Stop()
		for !f.b.cfg.Busy() {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	})
	var both sync.WaitGroup
	defer both.Wait()
	if len(faults)+len(codes) > 0 {
		both.Go(func() { _ = f.b.cfg.Fetcher.Fetch(ctx, faults, codes) }) // what did not arrive is missed again
	}
	if len(txs) > 0 {
		_ = f.b.cfg.Fetcher.Prefetch(ctx, f.p.block(txs), f.p.parent) // likewise
	}
}
