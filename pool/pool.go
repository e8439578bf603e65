// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/txpool/legacypool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/fetcher"
	"github.com/ethereum/go-ethereum/event"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	// addedQueue is how many events of go-ethereum's pools may wait to be broadcast.
	addedQueue = 1024
	// maxMined is the number of mined transactions whose announcements are ignored: about half an
	// hour of them, as in go-ethereum's fetcher.
	maxMined = 1 << 15
	// blobTimeout is how long a user's blob transaction waits for its pool to open.
	blobTimeout = 4 * time.Second
)

// Pool is the transaction pool of a node. Run drives it; the other methods may be called at any time,
// concurrently.
type Pool struct {
	cfg            Config
	log            *slog.Logger
	metrics        *poolMetrics
	signer         types.Signer
	reserver       *txpool.ReservationTracker        // assigns an account to one of the two pools
	fetcher        atomic.Pointer[fetcher.TxFetcher] // nil until Run
	assembler      *assembler                        // of blob transactions of eth/72 peers
	peers          peerSet
	fullRecipients fullRecipients
	mined          *recent             // hashes
	reads          *semaphore.Weighted // limits concurrent reads of accounts for peers
	proving        *semaphore.Weighted // limits the concurrent verification of blobs, which is expensive
	wake           chan struct{}       // capacity 1: the follower should check the head
	started        chan struct{}       // closed when the pool is on its first head
	locals         *locals             // nil: users' transactions are not kept
	pending        event.Feed          // of the new executable transactions, see SubscribePending
	opened         chan struct{}       // closed when both pools are open for the first time
	added          chan core.NewTxsEvent
	cacheCells     atomic.Bool // see CacheCells

	// mu is read-locked while transactions are added and write-locked while the pools move to
	// another head; it is not locked while an account is read. at changes under it; reads of
	// the pools may load at without it.
	mu sync.RWMutex
	at atomic.Pointer[headPools] // nil before the first head

	moved struct { // see Moved
		sync.Mutex
		ch chan struct{}
	}

	senders senders
}

// headPools are the pools on one head.
type headPools struct {
	head     *types.Header
	accounts *accountCache
	legacy   *legacypool.LegacyPool
	blob     *blobpool.BlobPool // nil until it is open
	cache    *blobpool.Cache    // of blob, nil as it is
}

// pools returns the open pools.
func (s *headPools) pools() []txpool.SubPool {
	if s.blob == nil {
		return []txpool.SubPool{s.legacy}
	}
	return []txpool.SubPool{s.legacy, s.blob}
}

// New returns a pool. It opens and starts nothing.
func New(cfg Config) *Pool {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		cfg:            cfg,
		log:            cfg.Log,
		signer:         types.LatestSigner(cfg.Chain.Config()),
		reserver:       txpool.NewReservationTracker(),
		mined:          newRecent(maxMined),
		fullRecipients: fullRecipients{maphash.MakeSeed()},
		reads:          semaphore.NewWeighted(maxReads),
		proving:        semaphore.NewWeighted(1),
		wake:           make(chan struct{}, 1),
		opened:         make(chan struct{}),
		started:        make(chan struct{}),
		added:          make(chan core.NewTxsEvent, addedQueue),
	}
	if !cfg.Locals.Disabled {
		p.locals = newLocals(cfg.Locals, p.signer, p.log)
	}
	p.moved.ch = make(chan struct{})
	p.metrics = newMetrics(cfg.Registerer, p.Stats)
	p.peers.serve = p.serve
	p.assembler = newAssembler(p)
	return p
}

// Run follows the head and talks to peers until ctx ends, then closes the pools. It may be called
// once.
func (p *Pool) Run(ctx context.Context) error {
	heads := make(chan chain.HeadEvent, 16)
	sub := p.cfg.Chain.SubscribeHead(heads)
	defer sub.Unsubscribe()

	group, ctx := errgroup.WithContext(ctx)
	fetcher := p.newFetcher(ctx)
	fetcher.Start()
	p.assembler.start(ctx)
	p.fetcher.Store(fetcher)
	f := &follower{Pool: p, markOpened: sync.OnceFunc(func() { close(p.opened) })}
	group.Go(func() error { return p.watch(ctx, heads) })
	group.Go(func() error { return f.run(ctx) })
	group.Go(func() error { return p.broadcast(ctx) })
	group.Go(func() error { return p.keepLocals(ctx) })
	group.Go(func() error { return p.peers.run(ctx) })
	group.Go(func() error { return p.assembler.run(ctx) })
	err := group.Wait()
	fetcher.Stop()
	p.assembler.stop()
	return errors.Join(err, f.close())
}

// watch drains head events, so that the importer never waits.
func (p *Pool) watch(ctx context.Context, heads <-chan chain.HeadEvent) error {
	for {
		select {
		case head := <-heads:
			if head.Block != nil {
				for _, tx := range head.Block.Transactions() {
					p.mined.add(tx.Hash())
				}
			}
			p.wakeUp()
		case <-ctx.Done():
			return nil
		}
	}
}

// wakeUp makes the follower check the head.
func (p *Pool) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default: // already signalled
	}
}

// ready returns the pools on their head. It waits until they are open.
func (p *Pool) ready(ctx context.Context) (*headPools, error) {
	if err := p.cfg.Ready(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	if at := p.at.Load(); at != nil {
		return at, nil
	}
	p.wakeUp()
	select {
	case <-p.started:
		return p.at.Load(), nil
	case <-ctx.Done():
		return nil, ErrNotReady
	}
}

// publish sets the pools that callers use.
func (p *Pool) publish(at *headPools) {
	p.at.Store(at)
	p.moved.Lock()
	defer p.moved.Unlock()
	close(p.moved.ch)
	p.moved.ch = make(chan struct{})
}

// Moved returns a channel that is closed when the pool is on its next head, or the blob pool is opened or closed.
func (p *Pool) Moved() <-chan struct{} {
	p.moved.Lock()
	defer p.moved.Unlock()
	return p.moved.ch
}

// awaitBlob waits until the blob pool is open, if one of the transactions needs it, and no longer than blobTimeout.
func (p *Pool) awaitBlob(ctx context.Context, at *headPools, txs []*types.Transaction) *headPools {
	if !slices.ContainsFunc(txs, func(tx *types.Transaction) bool { return tx.Type() == types.BlobTxType }) {
		return at
	}
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	for {
		next := p.Moved()
		if at = p.at.Load(); at.blob != nil {
			return at
		}
		select {
		case <-next:
		case <-ctx.Done():
			return at
		}
	}
}

// SubscribePending sends the transactions that become executable. Whoever reads must be quick: propagation waits.
func (p *Pool) SubscribePending(ch chan<- []*types.Transaction) event.Subscription {
	return p.pending.Subscribe(ch)
}

// subscribe sends new transactions of a pool to broadcast.
func (p *Pool) subscribe(pool txpool.SubPool) event.Subscription {
	return pool.SubscribeTransactions(p.added, false)
}
