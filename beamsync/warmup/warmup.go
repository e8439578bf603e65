// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// chunk is how many accounts are requested at once: some 1,000 nodes, a fraction of a second with one peer.
	chunk = 256

	watchInterval  = 10 * time.Millisecond  // how often it is checked whether a block has come
	pollInterval   = 200 * time.Millisecond // how often it is checked whether there is something to do
	reportInterval = 8 * time.Second        // between lines in the log
)

// errPaused says that a block is being imported.
var errPaused = errors.New("a block is being imported")

// Chain is what is stored of blocks; [chain.Chain] implements it.
type Chain interface {
	CurrentHeader() *types.Header
	HeaderByNumber(number uint64) *types.Header
	Oldest() uint64
	Status(hash common.Hash) chain.Status
	Block(hash common.Hash) *types.Block
	RawReceipts(hash common.Hash) types.Receipts
}

// Session fetches trie nodes and codes in the class background; fetch.Session implements it.
type Session interface {
	trie.Source
	prefetch.Hinter
}

// Prefetcher fetches what a block reads; [prefetch.Prefetcher] implements it.
type Prefetcher interface {
	Prefetch(ctx context.Context, block *types.Block, parent *types.Header, headers prefetch.Ancestors, hinter prefetch.Hinter) error
}

// Executor executes blocks; [evm.Executor] implements it.
type Executor interface {
	Senders(block *types.Block) []common.Address
	Execute(ctx context.Context, job evm.Job) *evm.Result
}

// Config is what a [Warmup] works with. Log and Registerer may be left out.
type Config struct {
	Chain      Chain
	Store      trie.Local // where Session puts what it fetches
	Session    Session
	Prefetcher Prefetcher
	Executor   Executor
	Headers    prefetch.Ancestors
	// AccessLists returns the access lists (EIP-7928) of headers, verified, nil where no peer has one.
	AccessLists func(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error)

	Ready   func() bool // the node beams, and has executed its head since it started
	Busy    func() bool // a block is being imported
	Settled func() bool // the chain gets no more blocks below its oldest one
	Budget  uint64      // bytes of trie nodes and codes

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Warmup fetches what the next blocks are likely to read. The package documentation has its rules.
type Warmup struct {
	cfg     Config
	metrics *metrics
	budget  *budget

	// Of Run's goroutine.
	base     uint64 // see the package documentation; 0: none yet
	tally    *tally
	next     uint64 // number of the next block to read; base, and down
	replay   uint64 // number of the next block to replay
	attempts int    // to replay it

	done     counts
	reported time.Time
}

// counts is what was done since the start.
type counts struct{ read, replayed, listed, failed, addresses, pauses int }

// New returns a warm-up that does nothing until Run.
func New(cfg Config) *Warmup {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(cfg.Registerer)
	return &Warmup{cfg: cfg, metrics: m, budget: &budget{metrics: m, limit: cfg.Budget}}
}

// Run fetches until all is done, the budget is spent or ctx ends; all of that is nil. So is a store that fails: whoever owns it
// finds out.
func (w *Warmup) Run(ctx context.Context) error {
	for began := time.Now(); ; {
		if !w.yield(ctx) {
			return nil
		}
		if w.reported.IsZero() {
			began, w.reported = time.Now(), time.Now()
		}
		act := w.choose()
		if act == nil {
			w.end(began, "all was requested")
			return nil
		}
		switch err := w.undisturbed(ctx, act); {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errSpent):
			w.end(began, "the budget is spent")
			return nil
		case errors.Is(err, errPaused):
			w.done.pauses++
			w.metrics.pauses.Inc()
		case err != nil:
			w.cfg.Log.Debug("Warm-up failed", "err", err)
			return nil
		}
		w.report()
	}
}

// yield waits until the node is ready and no block is being imported. It returns false if ctx ends.
func (w *Warmup) yield(ctx context.Context) bool {
	for !w.cfg.Ready() || w.cfg.Busy() {
		if pause(ctx) != nil {
			return false
		}
	}
	return ctx.Err() == nil
}

// pause waits until it is time to look again whether there is something to do.
func pause(ctx context.Context) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// undisturbed acts until a block is being imported or the budget is spent; the error says so.
func (w *Warmup) undisturbed(ctx context.Context, act func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(trie.WithMeter(ctx, w.budget))
	w.budget.onSpent(func() { cancel(errSpent) })
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if w.cfg.Busy() || !w.cfg.Ready() {
					cancel(errPaused)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	err := act(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-watched
	return err
}

// choose returns what is most useful to do now; nil: nothing is left.
func (w *Warmup) choose() func(context.Context) error {
	head := w.cfg.Chain.CurrentHeader()
	if w.base == 0 || w.cfg.Chain.Oldest() > w.base { // the first time, and after a pivot
		w.base, w.next, w.tally = head.Number.Uint64(), head.Number.Uint64(), newTally()
		w.replay = w.base - 1
	}
	for _, blocks := range []uint64{newestBlocks, Window} {
		if act := w.chooseIn(blocks, head); act != nil {
			return act
		}
	}
	if addrs := w.tally.best(chunk, 1); len(addrs) > 0 {
		return func(ctx context.Context) error { return w.wantAccounts(ctx, head, addrs) }
	}
	if w.inWindow(w.next, Window) && !w.cfg.Settled() {
		return pause // the chain backfill brings more blocks
	}
	return nil
}

// chooseIn returns what is most useful among what the newest blocks tell.
func (w *Warmup) chooseIn(blocks uint64, head *types.Header) func(context.Context) error {
	if block, receipts := w.unread(blocks); block != nil {
		return func(context.Context) error { w.read(block, receipts); return nil }
	}
	if addrs := w.tally.best(chunk, recentScore); len(addrs) > 0 {
		return func(ctx context.Context) error { return w.wantAccounts(ctx, head, addrs) }
	}
	if header := w.unreplayed(blocks, head); header != nil {
		return func(ctx context.Context) error { return w.repeat(ctx, head, header) }
	}
	return nil
}

// inWindow says whether a number is one of so many from the base down. The genesis block names nothing.
func (w *Warmup) inWindow(number, blocks uint64) bool { return number > 0 && w.base-number < blocks }

// unread returns the next block to read, nil if there is none or it is not stored yet.
func (w *Warmup) unread(blocks uint64) (*types.Block, types.Receipts) {
	if !w.inWindow(w.next, blocks) || w.next < w.cfg.Chain.Oldest() {
		return nil, nil
	}
	header := w.cfg.Chain.HeaderByNumber(w.next)
	if header == nil {
		return nil, nil
	}
	block, receipts := w.cfg.Chain.Block(header.Hash()), w.cfg.Chain.RawReceipts(header.Hash())
	if receipts == nil {
		return nil, nil
	}
	return block, receipts
}

// read counts what a block mentions.
func (w *Warmup) read(block *types.Block, receipts types.Receipts) {
	w.tally.add(w.base-block.NumberU64()+1, mentionsOf(block, w.cfg.Executor.Senders(block), receipts))
	w.next--
	w.done.read++
	w.metrics.blocks.WithLabelValues(usedRead).Inc()
}

// wantAccounts fetches accounts of the head's state, their codes, and the slots that were mentioned with them.
func (w *Warmup) wantAccounts(ctx context.Context, head *types.Header, addrs []common.Address) error {
	if err := w.want(ctx, w.tally.touched(addrs), head.Root); err != nil {
		return err
	}
	w.tally.take(addrs)
	w.done.addresses += len(addrs)
	w.metrics.addresses.Add(float64(len(addrs)))
	return nil
}

// want fetches what is touched and missing of a state.
func (w *Warmup) want(ctx context.Context, touched *trie.Touched, root common.Hash) error {
	return prefetch.Touched(ctx, touched, w.cfg.Store, root, w.cfg.Session)
}

// report logs the progress now and then.
func (w *Warmup) report() {
	if time.Since(w.reported) >= reportInterval {
		w.reported = time.Now()
		w.cfg.Log.Info("Fetching what recent blocks used", w.attrs()...)
	}
}

// end logs what was done in all.
func (w *Warmup) end(began time.Time, reason string) {
	w.cfg.Log.Info("Fetched what recent blocks used", append(w.attrs(), "elapsed", time.Since(began).Round(time.Millisecond), "reason", reason)...)
}

func (w *Warmup) attrs() []any {
	return []any{
		"blocks", w.done.read, "of", min(Window, w.base), "accounts", w.done.addresses, "replayed", w.done.replayed, "listed", w.done.listed,
		"bytes", w.budget.used(), "budget", w.budget.limit, "pauses", w.done.pauses,
	}
}
