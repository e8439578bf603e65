// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	// Slots is how many batches may be in flight while nothing else needs the network:
	// enough to hide 100 ms of round trip, with some 10 MB held in memory.
	Slots = 4

	// batchBytes is the intended size of a batch of blocks with receipts: small enough not to delay
	// for long a request for state to the same peer.
	batchBytes = 2 << 20
	firstBatch = 16  // blocks, before anything is known about their size
	maxBatch   = 128 // blocks

	// pollInterval is how often the chain is checked for something to do.
	pollInterval = 250 * time.Millisecond

	// slowRequest is how long a request may take before fewer blocks are requested at once. Peers
	// have that long to answer.
	slowRequest = 5 * time.Second

	reportInterval = 8 * time.Second // between lines in the log
)

// OldChain gets old blocks from peers; [fetch.Fetcher] implements it. All methods verify
// what they return by hash and block until they have something or ctx ends.
type OldChain interface {
	Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error)
	// OldBodies and OldReceipts return one entry for each header, nil for what the answer
	// lacked; at least one is not nil.
	OldBodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error)
	OldReceipts(ctx context.Context, headers []*types.Header) ([]types.Receipts, error)
	// OldBlockPeers counts the peers that announce to have a block.
	OldBlockPeers(number uint64) int
}

// Config is what a [History] works with. TooOld, First and Registerer may be left out.
type Config struct {
	Chain    *chain.Chain
	OldChain OldChain

	Blocks uint64                   // how many blocks are wanted, counted from the head downward
	TooOld func(*types.Header) bool // says which blocks are not wanted: one, and all below it; nil: none
	First  uint64                   // the lowest block that is not too old, if known: makes the progress true from the start

	Slots      func() int // how many batches may be in flight now: 0 while a block waits
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// History collects the chain behind the first executed block: from the [chain.Chain.Oldest]
// block downward, headers first, then bodies and receipts, down to the cutoff. The package
// documentation has its rules.
type History struct {
	cfg      Config
	metrics  *metrics
	progress progress

	// Of Run's goroutine.
	inFlight        []*batch // in the order of the chain, downward from Oldest
	batchSize       int      // blocks in the next batch
	first           uint64   // lowest block that is not too old, as far as known
	fetched         chan *batch
	headers         chan []*types.Header
	fetchingHeaders bool // headers are being fetched

	requestBlocks atomic.Int32 // blocks that peers deliver in one request, as seen last
}

// New returns a history that does nothing until Run.
func New(cfg Config) *History {
	h := &History{
		cfg:       cfg,
		metrics:   newMetrics(cfg.Registerer),
		batchSize: firstBatch,
		first:     cfg.First,
		fetched:   make(chan *batch),
		headers:   make(chan []*types.Header),
	}
	h.requestBlocks.Store(maxBatch)
	return h
}

// Run collects until ctx ends (nil) or the chain cannot be written (that error).
func (h *History) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		tick, report := time.NewTicker(pollInterval), time.NewTicker(reportInterval)
		defer tick.Stop()
		defer report.Stop()
		for {
			if err := h.advance(ctx, group); err != nil {
				return fmt.Errorf("chain history: %w", err)
			}
			select {
			case f := <-h.fetched:
				f.done = true
				h.resize(f)
			case headers := <-h.headers:
				h.fetchingHeaders = false
				if err := h.cfg.Chain.AddHeaders(headers); err != nil {
					return fmt.Errorf("chain history: %w", err)
				}
				h.metrics.headersReceived(headers)
			case <-tick.C:
			case <-report.C:
				h.report()
			case <-ctx.Done():
				return nil
			}
		}
	})
	return group.Wait()
}

// advance writes what was fetched and requests more.
func (h *History) advance(ctx context.Context, group *errgroup.Group) error {
	if err := h.commit(); err != nil {
		return err
	}
	cutoff := h.cutoff()
	for len(h.inFlight) < h.cfg.Slots() && h.requestBatch(ctx, group, cutoff) {
	}
	if err := h.needHeaders(ctx, group, cutoff); err != nil {
		return err
	}
	h.updateProgress(cutoff)
	return nil
}

// cutoff is the lowest block that is wanted.
func (h *History) cutoff() (low uint64) {
	if head := h.cfg.Chain.CurrentHeader().Number.Uint64(); h.cfg.Blocks <= head {
		low = head + 1 - h.cfg.Blocks
	}
	return max(low, h.first)
}

// commit writes fetched batches to the chain, in order. Batches that the chain has moved away
// from are dropped.
func (h *History) commit() error {
	for len(h.inFlight) > 0 {
		f := h.inFlight[0]
		if f.top()+1 != h.cfg.Chain.Oldest() || h.cfg.Chain.CanonicalHash(f.top()) != f.headers[0].Hash() {
			h.drop()
			return nil
		}
		if !f.done {
			return nil
		}
		h.inFlight = h.inFlight[1:]
		f.cancel()
		err := h.add(f.blocks, f.receipts)
		if errors.Is(err, chain.ErrDetached) { // it moved just now
			h.drop()
			return nil
		}
		if err != nil {
			return err
		}
		h.progress.add(len(f.blocks), f.bytes)
		h.metrics.blocks.Add(float64(len(f.blocks)))
	}
	return nil
}

// add writes blocks to the chain. It logs the blocks that became reachable by that.
func (h *History) add(blocks []*types.Block, receipts []types.Receipts) error {
	reached := h.cfg.Chain.Oldest() - uint64(len(blocks))
	if err := h.cfg.Chain.AddHistory(blocks, receipts); err != nil {
		return err
	}
	if oldest := h.cfg.Chain.Oldest(); oldest < reached && reached > 1 { // genesis is always held
		h.cfg.Log.Info("Older blocks became reachable", "from", oldest, "to", reached-1)
	}
	return nil
}

func (h *History) drop() {
	for _, f := range h.inFlight {
		f.cancel()
	}
	h.inFlight = nil
}

// requestBatch requests the next batch, if its headers are held.
func (h *History) requestBatch(ctx context.Context, group *errgroup.Group, cutoff uint64) bool {
	next := h.cfg.Chain.Oldest()
	if len(h.inFlight) > 0 {
		next = h.inFlight[len(h.inFlight)-1].bottom()
	}
	headers := h.wanted(next, cutoff)
	if len(headers) == 0 {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &batch{headers: headers, cancel: cancel}
	h.inFlight = append(h.inFlight, f)
	group.Go(func() error {
		if err := h.fetch(ctx, f); err != nil {
			return nil //nolint:nilerr // the batch was cancelled
		}
		select {
		case h.fetched <- f:
		case <-ctx.Done():
		}
		return nil
	})
	return true
}

// wanted lists the headers of the batch below a block. It ends at blocks that are held: the chain
// takes those over when the batch above them is written.
func (h *History) wanted(below, cutoff uint64) (headers []*types.Header) {
	for number := below; number > cutoff && len(headers) < h.batchSize; number-- {
		header := h.cfg.Chain.HeaderByNumber(number - 1)
		if header == nil || h.cfg.Chain.Complete(header.Hash()) {
			break
		}
		if h.cfg.TooOld != nil && h.cfg.TooOld(header) {
			h.first = number
			break
		}
		headers = append(headers, header)
	}
	return headers
}

// yield waits while a block waits for the network.
func (h *History) yield(ctx context.Context) error {
	for h.cfg.Slots() == 0 {
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}
