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
	// HistorySlots is how many batches may be in flight while nothing else needs the network:
	// enough to hide 100 ms of round trip, with some 10 MB held in memory.
	Slots = 4

	// historyBatchBytes is the size that a batch of blocks with receipts should have: small
	// enough not to be in the way for long on the link of a peer that is asked for state next.
	historyBatchBytes = 2 << 20
	historyFirstBatch = 16  // blocks, before anything is known about their size
	historyMaxBatch   = 128 // blocks

	// historyTick is how often it is looked whether there is something to do.
	historyTick = 250 * time.Millisecond

	// slowRequest is how long a request may take before fewer blocks are asked for at once: that
	// long peers have to answer.
	slowRequest = 5 * time.Second

	historyReport = 8 * time.Second // between lines in the log
)

// Past gets old parts of the chain from peers; [fetch.Fetcher] implements it. All methods verify
// what they return by hash and block until they have something or ctx ends.
type Past interface {
	Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error)
	// PastBodies and PastReceipts return one entry for each header, nil for what the answer
	// lacked; at least one is not nil.
	PastBodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error)
	PastReceipts(ctx context.Context, headers []*types.Header) ([]types.Receipts, error)
	// PastPeers counts the peers that announce to have a block.
	PastPeers(number uint64) int
}

// HistoryConfig is what a [History] works with. Merge and Registerer may be left out.
type Config struct {
	Chain *chain.Chain
	Past  Past

	Blocks    uint64 // how many blocks are wanted, counted from the head downward
	PostMerge bool   // no proof-of-work blocks
	Merge     uint64 // the first proof-of-stake block, if known: makes the progress true from the start

	Slots      func() int // how many batches may be in flight now: 0 while a block waits
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// History collects the chain behind the first executed block: from the [chain.Chain.Oldest]
// block downward, headers first, then bodies and receipts, down to what is wanted. It is the
// lowest of all priorities: it asks nothing while Slots is 0.
//
// Batches are fetched side by side and kept in order, each in one atomic update of the
// chain: a kill loses what is in flight. It keeps no state of its own. After every step
// it looks at where the chain ends, so that a pivot (a new beginning above), a reorg and
// a restart are the same to it as going on.
type History struct {
	cfg      Config
	metrics  *historyMetrics
	progress progress

	// Of Run's goroutine.
	flights []*historyFlight // in the order of the chain, downward from Oldest
	size    int              // blocks in the next batch
	merge   uint64           // first proof-of-stake block, as far as known
	landed  chan *historyFlight
	headers chan []*types.Header
	asking  bool // headers are being fetched

	request atomic.Int32 // blocks that peers deliver in one request, as seen last
}

// NewHistory makes a history that does nothing until Run.
func New(cfg Config) *History {
	h := &History{
		cfg:     cfg,
		metrics: newHistoryMetrics(cfg.Registerer),
		size:    historyFirstBatch,
		merge:   cfg.Merge,
		landed:  make(chan *historyFlight),
		headers: make(chan []*types.Header),
	}
	h.request.Store(historyMaxBatch)
	return h
}

// Run collects until ctx ends (nil) or the chain cannot be written (that error).
func (h *History) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		tick, report := time.NewTicker(historyTick), time.NewTicker(historyReport)
		defer tick.Stop()
		defer report.Stop()
		for {
			if err := h.advance(ctx, group); err != nil {
				return fmt.Errorf("chain history: %w", err)
			}
			select {
			case f := <-h.landed:
				f.done = true
				h.resize(f)
			case headers := <-h.headers:
				h.asking = false
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

// advance keeps what has landed and sends for more.
func (h *History) advance(ctx context.Context, group *errgroup.Group) error {
	if err := h.keep(); err != nil {
		return err
	}
	cutoff := h.cutoff()
	for len(h.flights) < h.cfg.Slots() && h.launch(ctx, group, cutoff) {
	}
	if err := h.needHeaders(ctx, group, cutoff); err != nil {
		return err
	}
	h.note(cutoff)
	return nil
}

// cutoff is the lowest block that is wanted.
func (h *History) cutoff() (low uint64) {
	if head := h.cfg.Chain.CurrentHeader().Number.Uint64(); h.cfg.Blocks <= head {
		low = head + 1 - h.cfg.Blocks
	}
	if h.cfg.PostMerge {
		low = max(low, h.merge)
	}
	return low
}

// keep hands what has landed to the chain, in order. Flights that the chain has moved away
// from are dropped.
func (h *History) keep() error {
	for len(h.flights) > 0 {
		f := h.flights[0]
		if f.top()+1 != h.cfg.Chain.Oldest() || h.cfg.Chain.CanonicalHash(f.top()) != f.headers[0].Hash() {
			h.drop()
			return nil
		}
		if !f.done {
			return nil
		}
		h.flights = h.flights[1:]
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

// add is AddHistory. What the chain takes over besides is told.
func (h *History) add(blocks []*types.Block, receipts []types.Receipts) error {
	reached := h.cfg.Chain.Oldest() - uint64(len(blocks))
	if err := h.cfg.Chain.AddHistory(blocks, receipts); err != nil {
		return err
	}
	if oldest := h.cfg.Chain.Oldest(); oldest < reached && reached > 1 { // genesis is always held
		h.cfg.Log.Info("Chain history joins what was held before", "at", reached, "oldest", oldest)
	}
	return nil
}

func (h *History) drop() {
	for _, f := range h.flights {
		f.cancel()
	}
	h.flights = nil
}

// launch sends for the next batch, if there is one whose headers are held.
func (h *History) launch(ctx context.Context, group *errgroup.Group, cutoff uint64) bool {
	next := h.cfg.Chain.Oldest()
	if len(h.flights) > 0 {
		next = h.flights[len(h.flights)-1].bottom()
	}
	headers := h.wanted(next, cutoff)
	if len(headers) == 0 {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &historyFlight{headers: headers, cancel: cancel}
	h.flights = append(h.flights, f)
	group.Go(func() error {
		if err := h.fetch(ctx, f); err != nil {
			return nil //nolint:nilerr // cancelled; whoever did that knows
		}
		select {
		case h.landed <- f:
		case <-ctx.Done():
		}
		return nil
	})
	return true
}

// wanted lists the headers of the batch below a block. It ends where blocks are held: the
// chain takes those over by itself when history arrives there.
func (h *History) wanted(below, cutoff uint64) (headers []*types.Header) {
	for number := below; number > cutoff && len(headers) < h.size; number-- {
		header := h.cfg.Chain.HeaderByNumber(number - 1)
		if header == nil || h.cfg.Chain.Complete(header.Hash()) {
			break
		}
		if h.cfg.PostMerge && header.Difficulty.Sign() > 0 {
			h.merge = number
			break
		}
		headers = append(headers, header)
	}
	return headers
}

// yield waits while a block does.
func (h *History) yield(ctx context.Context) error {
	for h.cfg.Slots() == 0 {
		select {
		case <-time.After(historyTick):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}
