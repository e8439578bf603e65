// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxJobs bounds the jobs that wait for ancestors, see makeRoomLocked. It leaves room for a whole lag
	// window (DefaultMaxLag) with side chains.
	maxJobs = 96

	// maxExecutions bounds the concurrent executions. Blocks of one chain are executed one after
	// another anyway. The rest is for side chains, so that a block whose state is unavailable
	// does not delay the others.
	maxExecutions = 4

	// DefaultMaxLag is how many blocks the executing block may be behind the newest before
	// the importer pivots: Trinity seldom caught up from 20 to 30 blocks on (docs/architecture.md, "Phases").
	DefaultMaxLag = 30

	// ancestorHeaders is how many headers below a block its execution can ask for: BLOCKHASH
	// reaches 256 blocks back (EVM, opcode 0x40).
	ancestorHeaders = 256
)

// Blocks gets parts of the chain from peers; [fetch.Fetcher] implements it. Its methods verify
// what they return against the requested hashes and block until they have it or ctx ends, except that
// AccessLists does not wait for lists that no peer has.
type Blocks interface {
	Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error)
	Bodies(ctx context.Context, headers []*types.Header) ([]*types.Block, error)
	AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error)
}

// StateSession is the state source of one execution, and counts what it fetched.
type StateSession interface {
	trie.Source
	prefetch.Hinter
	Stats() trie.FetchStats
}

// Executor executes blocks and speculates on what they read; evm.Executor implements it.
type Executor interface {
	prefetch.Speculator
	Execute(ctx context.Context, job evm.Job) *evm.Result
}

// Config is what an [Importer] depends on. Alone, Ahead, MaxLag, States, Hints and Registerer are optional.
type Config struct {
	Chain    *chain.Chain
	Executor Executor
	Local    trie.Local
	Blocks   Blocks
	Alone    func() time.Duration   // for how long Blocks has had no peer, zero if it has one; nil: it always has
	Session  func() StateSession    // a new urgent session, one per execution
	Ahead    func() prefetch.Hinter // a new session of lower priority, for blocks that wait for their parent; nil: Session
	MaxLag   uint64                 // blocks; 0 means DefaultMaxLag
	Public   bool                   // the genesis block is no head that a node may serve, see Readiness
	Driver   string                 // who chooses the head, in what users read; empty: the consensus client

	// States are what a full node executes on; nil: the importer starts beaming. Lowest is the number that
	// [LowestState] returns for them.
	States States
	Lowest uint64

	// Hints fetches what other nodes report that a block reads, concurrently with the prefetch and until ctx
	// ends; nil: none. See package witness.
	Hints func(ctx context.Context, block *types.Block, parentRoot common.Hash)

	Log        *slog.Logger
	Quiet      bool // executed blocks are logged at debug level
	Registerer prometheus.Registerer
}

// Importer turns payloads and forkchoice updates into an executed chain. See the package documentation.
type Importer struct {
	cfg        Config
	metrics    *metrics
	prefetcher *prefetch.Prefetcher
	lists      *lists
	troubles   escalation
	ahead      chan struct{} // a token for each block that is prefetched while it waits for its parent
	slots      chan struct{} // a token for each concurrent execution
	headSlot   chan struct{} // the token of one more, see acquireSlot
	spawn      chan *importJob
	failed     chan error // internal errors: they end Run

	states    atomic.Pointer[fullStates] // nil while beaming; see Phase
	catching  chan struct{}              // the token of the one catch-up that executes
	stateLost chan struct{}              // see StateLost

	ancestry chan struct{} // requests for headers below the stored ones
	choosing sync.Mutex    // one forkchoice is applied at a time; nothing is fetched under it
	applied  uint64        // sequence number of the newest applied one, guarded by choosing

	// Metrics and health read these two without the lock.
	newest atomic.Uint64 // highest block number that a payload or forkchoice named; written under mu
	heard  atomic.Int64  // when a payload or forkchoice came last, before that the start; Unix nanoseconds
	called atomic.Bool   // one came
	pulse  atomic.Int64  // when the loop of Run turned last; Unix nanoseconds

	mu struct {
		sync.Mutex
		jobs       map[common.Hash]*importJob
		beaming    chan struct{} // closed by the next SwitchToBeaming
		arrival    chan struct{} // see nextArrival
		inHeadSlot *importJob    // the job that had the reserved slot last
		evicted    int           // jobs, since expire logged them
		executed   uint64        // highest block number executed since the start
		choice     choice        // the latest forkchoice, executed or not
		last       BlockReport
		recent     []BlockReport // the newest ones, the last one last
		totals     Totals
		catchUp    *CatchUp // nil: no missed blocks
	}
}

// New makes an importer that does nothing until Run.
func New(cfg Config) *Importer {
	if cfg.MaxLag == 0 {
		cfg.MaxLag = DefaultMaxLag
	}
	if cfg.Ahead == nil {
		cfg.Ahead = func() prefetch.Hinter { return cfg.Session() }
	}
	i := &Importer{
		cfg:        cfg,
		prefetcher: prefetch.New(cfg.Executor, cfg.Local),
		lists:      newLists(cfg.Blocks),
		ahead:      make(chan struct{}, maxAhead),
		slots:      make(chan struct{}, maxExecutions),
		headSlot:   make(chan struct{}, 1),
		spawn:      make(chan *importJob),
		failed:     make(chan error, 1),

		ancestry:  make(chan struct{}, 1),
		catching:  make(chan struct{}, 1),
		stateLost: make(chan struct{}, 1),
	}
	i.metrics = newMetrics(cfg.Registerer, i)
	if cfg.States != nil {
		i.states.Store(&fullStates{States: cfg.States, lowest: cfg.Lowest})
	}
	i.mu.jobs = make(map[common.Hash]*importJob)
	i.mu.arrival, i.mu.beaming = make(chan struct{}), make(chan struct{})
	i.newest.Store(cfg.Chain.CurrentHeader().Number.Uint64())
	i.heard.Store(time.Now().UnixNano())
	i.pulse.Store(time.Now().UnixNano())
	return i
}

// Run imports blocks until ctx ends (nil) or an internal error occurs. It returns after all goroutines that it started.
func (i *Importer) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		i.fetchAncestry(ctx)
		return nil
	})
	group.Go(func() error {
		i.lists.run(ctx)
		return nil
	})
	group.Go(func() error {
		i.restore(ctx)
		return nil
	})
	group.Go(func() error {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case job := <-i.spawn:
				group.Go(func() error {
					i.run(ctx, job)
					return nil
				})
			case <-ticker.C:
				i.expire()
				i.logProgress()
				i.pulse.Store(time.Now().UnixNano())
			case err := <-i.failed:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	})
	return group.Wait()
}

// fail reports an internal error to Run; only the first one counts.
func (i *Importer) fail(err error) {
	select {
	case i.failed <- err:
	default:
	}
}
