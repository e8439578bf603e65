// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/sunbeam-eth/sunbeam/evm"
)

const (
	// maxPayloads is the number of payloads that are kept, as in go-ethereum.
	maxPayloads = 10
	// maxRounds is the number of rounds that execute at the same time, of different payloads.
	maxRounds = 2
	// lifetime is how long a payload improves: a slot of mainnet.
	lifetime = 12 * time.Second
)

var (
	// ErrUnknownParent says that the block to build on is not stored.
	ErrUnknownParent = errors.New("unknown parent block")
	// ErrUnknownPayload says that no payload has the ID, or not any more.
	ErrUnknownPayload = errors.New("unknown payload")
	// ErrNotReady says that a payload has no block yet, because state is missing and no peer has sent it in time.
	ErrNotReady = errors.New("payload is not ready: its state is still being fetched from peers")
	// ErrNotRunning says that the builder has ended.
	ErrNotRunning = errors.New("payload builder is not running")
)

// Builder builds payloads. Run drives it; the other methods may be called concurrently.
type Builder struct {
	cfg      Config
	settings Settings
	log      *slog.Logger
	metrics  *metrics
	rounds   *semaphore.Weighted
	spawn    chan *payload
	ended    chan struct{} // closed by Run

	mu       sync.Mutex
	payloads []*payload // newest first
	pending  pendingBlocks
}

// New returns a builder that improves no payload until Run.
func New(cfg Config) *Builder {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Builder{
		cfg:      cfg,
		settings: cfg.Settings.withDefaults(),
		log:      cfg.Log,
		metrics:  newMetrics(cfg.Registerer),
		rounds:   semaphore.NewWeighted(maxRounds),
		spawn:    make(chan *payload),
		ended:    make(chan struct{}),
	}
}

// Run improves payloads until ctx ends. It may be called once.
func (b *Builder) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		b.prepareHeads(ctx)
		return nil
	})
	group.Go(func() error {
		defer close(b.ended)
		for {
			select {
			case p := <-b.spawn:
				group.Go(func() error {
					b.improve(ctx, p)
					return nil
				})
			case <-ctx.Done():
				return nil
			}
		}
	})
	return group.Wait()
}

// Start begins a payload and returns its ID. One that has the same attributes goes on. The empty block is there when
// Start returns, unless state for it is missing. An error is about the attributes or wraps [ErrUnknownParent],
// [ErrNotRunning] or [evm.ErrInternal].
func (b *Builder) Start(ctx context.Context, attributes Attributes) (engine.PayloadID, error) {
	id := attributes.ID()
	if b.lookup(id) != nil {
		return id, nil
	}
	p, err := b.newPayload(attributes)
	if err != nil {
		return id, err
	}
	if err := b.buildEmpty(ctx, p, b.newRound(p)); err != nil && !isMissing(err) {
		return id, err
	}
	if !b.keep(p) {
		return id, nil // a concurrent call was first
	}
	b.metrics.started.Inc()
	b.log.Info("Building payload", "id", id, "number", p.header.Number, "parent", p.header.ParentHash, "timestamp", p.header.Time,
		"elapsed", time.Since(p.started).Round(time.Microsecond))
	select {
	case b.spawn <- p:
		return id, nil
	case <-b.ended:
		return id, ErrNotRunning
	case <-ctx.Done():
		b.forget(p) // so that the next call starts it
		return id, ctx.Err()
	}
}

// Get returns the best block of a payload, which does not improve from then on. It waits only for the first round, or for
// missing state of the empty block, and a part of a second at most.
// The errors are [ErrUnknownPayload] and [ErrNotReady].
func (b *Builder) Get(ctx context.Context, id engine.PayloadID) (*Envelope, error) {
	p := b.lookup(id)
	if p == nil {
		b.metrics.delivered.WithLabelValues(deliveredUnknown).Inc()
		return nil, ErrUnknownPayload
	}
	built := p.resolve(ctx)
	kind := deliveredFull
	switch {
	case built == nil:
		b.metrics.delivered.WithLabelValues(deliveredNothing).Inc()
		b.log.Warn("Payload was asked for before the state of its empty block arrived", "id", id, "number", p.header.Number)
		return nil, ErrNotReady
	case len(built.Block.Transactions()) == 0:
		kind = deliveredEmpty
	}
	b.metrics.delivered.WithLabelValues(kind).Inc()
	b.log.Info("Payload delivered", "id", id, "number", p.header.Number, "hash", built.Block.Hash(), "txs", len(built.Block.Transactions()),
		"mgas", float64(built.Block.GasUsed())/1e6, "blobs", len(built.Sidecars), "value", ether(built.Value))
	return built.envelope, nil
}

// BuildOnce builds one block that nobody asks for later: of exactly these transactions, or of the pool's if txs is nil.
// Extra data of the block is that given.
func (b *Builder) BuildOnce(ctx context.Context, attributes Attributes, txs []*types.Transaction, extra []byte) (*Envelope, error) {
	p, err := b.newPayload(attributes)
	if err != nil {
		return nil, err
	}
	p.header.Extra = extra
	r := b.newRound(p)
	var built *evm.Built
	if txs == nil {
		built, err = r.fromPool(ctx, nil)
	} else {
		built, err = r.exactly(ctx, txs)
	}
	if err == nil {
		err = b.verify(ctx, p, built, b.cfg.State(p.parent.Root).Store)
	}
	if err != nil {
		return nil, err
	}
	return envelopeOf(built), nil
}

func (b *Builder) newPayload(attributes Attributes) (*payload, error) {
	parent := b.cfg.Chain.Header(attributes.Parent)
	if parent == nil {
		return nil, fmt.Errorf("%w %x", ErrUnknownParent, attributes.Parent)
	}
	config := b.cfg.Chain.Config()
	header, err := attributes.header(config, parent, &b.settings)
	if err != nil {
		return nil, err
	}
	return newPayload(attributes.ID(), parent, header, attributes.withdrawals(config, header)), nil
}

func (b *Builder) lookup(id engine.PayloadID) *payload {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lookupLocked(id)
}

func (b *Builder) lookupLocked(id engine.PayloadID) *payload {
	for _, p := range b.payloads {
		if p.id == id {
			return p
		}
	}
	return nil
}

// keep adds a payload, and ends the oldest one if there are too many. It returns false if there is one with the ID.
func (b *Builder) keep(p *payload) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lookupLocked(p.id) != nil {
		return false
	}
	b.payloads = slices.Insert(b.payloads, 0, p)
	if len(b.payloads) > maxPayloads {
		last := len(b.payloads) - 1
		b.payloads[last].want()
		b.payloads[last] = nil
		b.payloads = b.payloads[:last]
	}
	return true
}

func (b *Builder) forget(p *payload) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.payloads = slices.DeleteFunc(b.payloads, func(other *payload) bool { return other == p })
}

// ether formats an amount of wei for the log.
func ether(wei *big.Int) float64 {
	value, _ := new(big.Float).Quo(new(big.Float).SetInt(wei), big.NewFloat(1e18)).Float64()
	return value
}
