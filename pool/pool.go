package pool

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

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
	// newsQueue is how many events of go-ethereum's pools may wait to be passed on.
	newsQueue = 1024
	// minedKept is for how many mined transactions their announcements are ignored: about half
	// an hour of them, as in go-ethereum's fetcher.
	minedKept = 1 << 15
)

// Pool is the transaction pool of a node. Run drives it; the other methods may be called at any time,
// concurrently.
type Pool struct {
	cfg      Config
	log      *slog.Logger
	metrics  *poolMetrics
	signer   types.Signer
	reserver *txpool.ReservationTracker        // makes an account belong to one of the two pools
	fetcher  atomic.Pointer[fetcher.TxFetcher] // nil until Run
	peers    peerSet
	choice   choice
	mined    *recent             // hashes
	reads    *semaphore.Weighted // accounts being read for other than users
	proving  *semaphore.Weighted // blob transactions being verified, which takes much computing
	wake     chan struct{}       // capacity 1: there is a reason to look at the head
	stood    chan struct{}       // closed when the pool stands on its first head
	opened   chan struct{}       // closed when it stands with both pools for the first time
	news     chan core.NewTxsEvent

	// mu is held for reading while transactions enter the pools and for writing while the pools
	// move to another head; never while an account is read. at changes under it, and may be
	// loaded without it by whoever only looks.
	mu sync.RWMutex
	at atomic.Pointer[standing] // nil before the first head

	senders senders
}

// standing is the pool on one head.
type standing struct {
	head   *types.Header
	ledger *ledger
	legacy *legacypool.LegacyPool
	blob   *blobpool.BlobPool // nil while it is being opened
}

// pools are those that are open.
func (s *standing) pools() []txpool.SubPool {
	if s.blob == nil {
		return []txpool.SubPool{s.legacy}
	}
	return []txpool.SubPool{s.legacy, s.blob}
}

// New makes a pool. It opens and starts nothing.
func New(cfg Config) *Pool {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		cfg:      cfg,
		log:      cfg.Log,
		signer:   types.LatestSigner(cfg.Chain.Config()),
		reserver: txpool.NewReservationTracker(),
		mined:    newRecent(minedKept),
		choice:   choice{maphash.MakeSeed()},
		reads:    semaphore.NewWeighted(maxReads),
		proving:  semaphore.NewWeighted(1),
		wake:     make(chan struct{}, 1),
		opened:   make(chan struct{}),
		stood:    make(chan struct{}),
		news:     make(chan core.NewTxsEvent, newsQueue),
	}
	p.metrics = newMetrics(cfg.Registerer, p.Stats)
	p.peers.serve = p.serve
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
	p.fetcher.Store(fetcher)
	f := &follower{Pool: p, whole: sync.OnceFunc(func() { close(p.opened) })}
	group.Go(func() error { return p.watch(ctx, heads) })
	group.Go(func() error { return f.run(ctx) })
	group.Go(func() error { return p.spread(ctx) })
	group.Go(func() error { return p.peers.run(ctx) })
	err := group.Wait()
	fetcher.Stop()
	return errors.Join(err, f.close())
}

// watch drains news of heads, so that the importer never waits.
func (p *Pool) watch(ctx context.Context, heads <-chan chain.HeadEvent) error {
	for {
		select {
		case head := <-heads:
			if head.Block != nil {
				for _, tx := range head.Block.Transactions() {
					p.mined.add(tx.Hash())
				}
			}
			p.look()
		case <-ctx.Done():
			return nil
		}
	}
}

// look makes the pool look at the head soon.
func (p *Pool) look() {
	select {
	case p.wake <- struct{}{}:
	default: // it is about to
	}
}

// ready returns where the pool stands; it waits for the first head, if the node has it.
func (p *Pool) ready(ctx context.Context) (*standing, error) {
	if at := p.at.Load(); at != nil {
		return at, nil
	}
	if !p.cfg.Ready() {
		return nil, ErrNotReady
	}
	p.look()
	select {
	case <-p.stood:
		return p.at.Load(), nil
	case <-ctx.Done():
		return nil, ErrNotReady
	}
}

// subscribe makes a pool's new transactions known to spread.
func (p *Pool) subscribe(pool txpool.SubPool) event.Subscription {
	return pool.SubscribeTransactions(p.news, false)
}
