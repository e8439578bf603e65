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
	// maxPendingBlocks bounds the blocks that wait for an outcome at once. It leaves room
	// for a whole lag window (DefaultMaxLag) with side chains; more is answered SYNCING.
	maxPendingBlocks = 96

	// maxExecutions bounds the executions that run side by side. Blocks of one chain run one
	// after another anyway; the rest is for side chains, so that a block whose state nobody
	// has does not hold up the others.
	maxExecutions = 4

	// DefaultMaxLag is how many blocks the executing block may be behind the newest before
	// the importer gives it up: from 20 to 30 on, Trinity seldom caught up (docs/architecture.md, "Phases").
	DefaultMaxLag = 30

	// ancestorHeaders is how many headers below a block its execution can ask for: BLOCKHASH
	// reaches 256 blocks back (EVM, opcode 0x40).
	ancestorHeaders = 256
)

// Blocks gets parts of the chain from peers; [fetch.Fetcher] implements it. Its methods verify
// what they return against the hashes asked for and block until they have it or ctx ends, except that
// AccessLists does not wait for what no peer has.
type Blocks interface {
	Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error)
	Bodies(ctx context.Context, headers []*types.Header) ([]*types.Block, error)
	AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error)
}

// StateSession is the state source of one execution, and counts what that execution took.
type StateSession interface {
	trie.Source
	prefetch.Hinter
	Stats() trie.FetchStats
}

// Executor runs one block, for good or as a guess; evm.Executor implements it.
type Executor interface {
	prefetch.Speculator
	Execute(ctx context.Context, job evm.Job) *evm.Result
}

// ImporterConfig is what an [Importer] works with. All fields but Ahead, MaxLag, Full, Hints and Registerer
// are required.
type Config struct {
	Chain    *chain.Chain
	Executor Executor
	Local    trie.Local
	Blocks   Blocks
	Session  func() StateSession    // a new urgent session, one per execution
	Ahead    func() prefetch.Hinter // likewise for blocks whose parents are in work, of less weight; nil: Session
	MaxLag   uint64                 // blocks; 0 means DefaultMaxLag

	// Full is what a full node executes on, and Bottom what [Bottom] says about it; nil while beaming.
	Full   Full
	Bottom uint64

	// Hints fetches what others say that a block reads, beside the Collector and until ctx ends;
	// nil: nobody is asked. See [witness.Witnesses].
	Hints func(ctx context.Context, block *types.Block, parentRoot common.Hash)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Importer turns payloads and forkchoice updates into an executed chain.
//
// Every block in work is a pending: one goroutine that finds what the block stands on,
// executes it, commits the outcome and wakes everyone who asked. What it stands on is, in
// this order:
//
//   - an executed parent, or one that is in work itself: wait for it;
//   - ancestors that are missing, at most MaxLag of them: fetch and execute those first;
//   - nothing that we hold, because the node is fresh or has fallen too far behind: the
//     parent's header alone, fetched by its hash. The block is executed on the parent's state
//     root, all of whose nodes are verified by hash. This is where beaming begins, and doing it
//     again later is a pivot.
//
// A full node ([Config].Full, [Importer.HandOver]) executes all blocks since the newest state that it has,
// however many it missed; it does not beam and does not pivot.
//
// A block whose ancestors were executed is VALID in the full sense. The first block after a
// (re)start of beaming vouches for itself only: its parent is trusted to the consensus
// client, exactly as the pivot of a snap sync is.
type Importer struct {
	cfg       Config
	metrics   *importerMetrics
	collector *prefetch.Prefetcher
	lists     *lists
	ahead     chan struct{} // a token for each block that is collected before its parent is done
	slots     chan struct{} // one token per execution running side by side
	spawn     chan *pending
	failed    chan error // internal errors: they end Run

	states   atomic.Pointer[complete] // nil while beaming
	catching chan struct{}            // a token for the one who catches up
	stranded chan struct{}            // see Stranded

	ancestry chan struct{} // a wish for headers below those held
	choosing sync.Mutex    // one forkchoice is applied at a time; nothing is fetched under it
	applied  uint64        // turn of the newest one that was, guarded by choosing

	mu struct {
		sync.Mutex
		pending  map[common.Hash]*pending
		newest   uint64 // highest block number that anyone asked us for
		executed uint64 // highest block number executed since the start
		choice   choice // the latest forkchoice, executed or not
		last     BlockReport
		totals   Totals
		catchUp  *CatchUp // nil: all that is known is executed, or in work by itself
	}
}

// NewImporter makes an importer that does nothing until Run.
func New(cfg Config) *Importer {
	if cfg.MaxLag == 0 {
		cfg.MaxLag = DefaultMaxLag
	}
	if cfg.Ahead == nil {
		cfg.Ahead = func() prefetch.Hinter { return cfg.Session() }
	}
	i := &Importer{
		cfg:       cfg,
		metrics:   newImporterMetrics(cfg.Registerer),
		collector: prefetch.New(cfg.Executor, cfg.Local),
		lists:     newLists(cfg.Blocks),
		ahead:     make(chan struct{}, maxAhead),
		slots:     make(chan struct{}, maxExecutions),
		spawn:     make(chan *pending),
		failed:    make(chan error, 1),

		ancestry: make(chan struct{}, 1),
		catching: make(chan struct{}, 1),
		stranded: make(chan struct{}, 1),
	}
	if cfg.Full != nil {
		i.use(&complete{Full: cfg.Full, bottom: cfg.Bottom})
	}
	i.mu.pending = make(map[common.Hash]*pending)
	i.mu.newest = cfg.Chain.CurrentHeader().Number.Uint64()
	return i
}

// Run works on blocks until ctx ends (nil) or something internal breaks (that error). It
// returns after every goroutine that it started has.
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
			case p := <-i.spawn:
				group.Go(func() error {
					i.work(ctx, p)
					return nil
				})
			case <-ticker.C:
				i.logProgress()
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
