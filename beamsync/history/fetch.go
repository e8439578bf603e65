// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// batch is a run of blocks that is being fetched.
type batch struct {
	headers  []*types.Header // newest first
	cancel   context.CancelFunc
	done     bool
	blocks   []*types.Block
	receipts []types.Receipts
	bytes    uint64
}

func (f *batch) top() uint64 { return f.headers[0].Number.Uint64() }

func (f *batch) bottom() uint64 { return f.headers[len(f.headers)-1].Number.Uint64() }

// needHeaders requests headers when those below the blocks run out. Headers and blocks that are held
// there already are taken over.
func (h *History) needHeaders(ctx context.Context, group *errgroup.Group, cutoff uint64) error {
	oldest, tail := h.cfg.Chain.Oldest(), h.cfg.Chain.Tail()
	if oldest <= cutoff || h.cfg.Slots() == 0 {
		return nil
	}
	if len(h.inFlight) == 0 && h.cfg.Chain.Complete(h.cfg.Chain.CanonicalHash(oldest-1)) {
		return h.add(nil, nil)
	}
	next := oldest
	if len(h.inFlight) > 0 {
		next = h.inFlight[len(h.inFlight)-1].bottom()
	}
	if h.fetchingHeaders || tail <= cutoff || next > tail+peer.MaxHeaders {
		return nil
	}
	lowest := h.cfg.Chain.HeaderByNumber(tail)
	if lowest == nil {
		return nil // the chain is just being changed
	}
	if parent := h.cfg.Chain.Header(lowest.ParentHash); parent != nil {
		return h.cfg.Chain.AddHeaders([]*types.Header{parent})
	}
	h.fetchingHeaders = true
	amount := int(min(peer.MaxHeaders, tail-cutoff))
	group.Go(func() error {
		headers, err := h.cfg.OldChain.Headers(ctx, lowest.ParentHash, amount)
		if err != nil {
			return nil //nolint:nilerr // shutting down
		}
		select {
		case h.headers <- headers:
		case <-ctx.Done():
		}
		return nil
	})
	return nil
}

// fetch gets bodies and receipts of a batch, by as many requests as it takes. Between two of them
// it waits while a block waits for the network.
func (h *History) fetch(ctx context.Context, f *batch) error {
	bodies := make([]*types.Body, len(f.headers))
	err := h.fill(ctx, f.headers, func(headers []*types.Header, at []int) error {
		got, err := h.cfg.OldChain.OldBodies(ctx, headers)
		for i, body := range got {
			bodies[at[i]] = body
		}
		return err
	}, func(i int) bool { return bodies[i] != nil })
	if err != nil {
		return err
	}
	f.receipts = make([]types.Receipts, len(f.headers))
	err = h.fill(ctx, f.headers, func(headers []*types.Header, at []int) error {
		got, err := h.cfg.OldChain.OldReceipts(ctx, headers)
		for i, list := range got {
			f.receipts[at[i]] = list
		}
		return err
	}, func(i int) bool { return f.receipts[i] != nil })
	if err != nil {
		return err
	}
	for i, header := range f.headers {
		block := peer.Assemble(header, bodies[i])
		f.blocks = append(f.blocks, block)
		inBlock, inReceipts := block.Size(), receiptBytes(f.receipts[i])
		f.bytes += inBlock + inReceipts
		h.metrics.bytes.WithLabelValues(peer.KindBodies).Add(float64(inBlock))
		h.metrics.bytes.WithLabelValues(peer.KindReceipts).Add(float64(inReceipts))
	}
	return nil
}

// fill requests what is missing until nothing is, no more at once than peers deliver before their
// deadline.
func (h *History) fill(ctx context.Context, headers []*types.Header, ask func(headers []*types.Header, at []int) error, has func(int) bool) error {
	for {
		var missing []*types.Header
		var at []int
		for i, header := range headers {
			if !has(i) {
				missing, at = append(missing, header), append(at, i)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		if err := h.yield(ctx); err != nil {
			return err
		}
		request := h.requestBlocks.Load()
		n := min(len(missing), int(request))
		began := time.Now()
		if err := ask(missing[:n], at[:n]); err != nil {
			return err
		}
		got := 0
		for _, i := range at[:n] {
			if has(i) {
				got++
			}
		}
		switch {
		case time.Since(began) >= slowRequest:
			h.requestBlocks.Store(int32(max(got, 1)))
		case got == int(request):
			h.requestBlocks.Store(min(2*request, maxBatch))
		}
	}
}

// resize adapts the number of blocks in a batch to batchBytes.
func (h *History) resize(f *batch) {
	if f.bytes == 0 {
		return
	}
	fits := int(uint64(len(f.headers)) * batchBytes / f.bytes)
	h.batchSize = min(max(fits, h.batchSize/2, 1), 2*h.batchSize, maxBatch)
}

// receiptBytes is about the size of receipts on the wire.
func receiptBytes(receipts types.Receipts) (n uint64) {
	for _, receipt := range receipts {
		n += 8
		for _, log := range receipt.Logs {
			n += uint64(common.AddressLength + (common.HashLength+1)*len(log.Topics) + len(log.Data) + 8)
		}
	}
	return n
}
