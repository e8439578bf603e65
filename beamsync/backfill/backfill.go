package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// The scan of the Beam Sync specification: all nodes take the seed from the same blocks and
// begin anew at the same time, so that they want the same parts of the state and can give
// them to each other.
const (
	// SeedInterval is the distance of the blocks whose hashes are seeds.
	SeedInterval = 100
	// seedDelay is how many blocks after a seed block the scan begins anew: its hash is settled then.
	seedDelay = 5
	// maxRootAge is how many blocks the root may lie behind the head. Peers keep 128.
	maxRootAge = 110
)

const (
	rangeBytes      = 512 << 10             // asked for in one request
	rangeWindow     = 16                    // most requests in flight to one peer: see rangePeer.window
	farPeer         = 50 * time.Millisecond // from request to reply
	maxRanges       = 64                    // to all peers: bounds memory
	maxLookupCalls  = 6                     // calls of StateSource in flight
	rangeDeadline   = 15 * time.Second      // after which a request is given up
	rangeBackoff    = 500 * time.Millisecond
	maxRangeBackoff = 16 * time.Second
	rangeRetry      = 30 * time.Second // for which ranges are not asked for when no peer serves them
	backfillTick    = time.Second
	backfillPoll    = 20 * time.Millisecond // how soon it is looked again whether a block still waits
	backfillReport  = 8 * time.Second
	maxYield        = 5 * time.Second // after which the backfill has a turn although something more important goes on
	backfillTurn    = time.Second
)

// RangePeer is one connection that serves leaves of tries over snap/1. A call is one wire
// request; keys increase, nothing else is verified. The p2p package implements it. One that is a
// [peer.DataPeer] may be asked for nodes by hash instead, if it serves no ranges.
type RangePeer interface {
	ID() string
	ServesState() bool
	// AccountLeaves returns accounts from origin to the first at or above limit, and the proof of both
	// ends. Nothing at all means that the peer does not have the root.
	AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error)
	// StorageLeaves returns the storage of accounts, whole unless a proof follows for the
	// last one. Origin and limit are for the first.
	StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error)
}

// StateSource brings single nodes and codes into the local store. [fetch.Session] implements it.
type StateSource interface {
	FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error
}

// Target is a state to complete.
type Target struct {
	Root   common.Hash
	Number uint64      // of its block
	Seed   common.Hash // hash of the latest block with number % SeedInterval == 0
}

// BackfillConfig is what a [Backfill] works with. Busy, Blamer, Log and Registerer may be left out.
type Config struct {
	Complete trie.CompleteStore
	Writer   func() trie.CompleteWriter // returns a new one; the last one is not used any more then
	Local    trie.Local                 // where nodes may be found and Source puts them: Hot
	Source   StateSource

	Recent func() (Target, bool) // the head's state; false: there is none yet
	// Stands says whether a target is of use still: its block is canonical. nil: always.
	Stands func(Target) bool
	Busy   func() bool // something more important needs network and processors
	Rate   uint64      // bytes per second of ranges; 0: no limit

	Self     string                          // our ID, as fellows see it
	Announce func()                          // Have has changed; may be left out
	StateOf  func(number uint64) common.Hash // root of a canonical block's state; zero if that is not known, or the blocks since are not held; may be left out

	Blamer     peer.Blamer
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Backfill collects the state that no block touched, until one state is complete in CompleteStore. It is
// the shell around [trie.Walker]: it carries the walker's needs to peers, verifies what they answer and gives
// it to the walker, which alone writes.
//
// When the head moves on, the walk begins anew with a newer root, as the specification wants: what
// is complete is not looked at again. What was not, and was not written, is lost then, as it is
// by a kill; it keeps no other state.
type Backfill struct {
	cfg     Config
	log     *slog.Logger
	metrics *backfillMetrics
	peers   *rangePeers
	data    *rangePeers // those that serve nodes by hash and no ranges
	swarm   *swarm
	running atomic.Bool
	done    chan struct{} // closed when a state is complete
	once    sync.Once     // closes done

	mu struct {
		sync.Mutex
		progress Progress
		complete Target // zero: none yet
	}
}

// NewBackfill returns a backfill without peers.
func New(cfg Config) *Backfill {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Stands == nil {
		cfg.Stands = func(Target) bool { return true }
	}
	if cfg.Busy == nil {
		cfg.Busy = func() bool { return false }
	}
	return &Backfill{
		cfg: cfg, log: cfg.Log, metrics: newBackfillMetrics(cfg.Registerer),
		peers: newRangePeers(), data: newRangePeers(), swarm: newSwarm(cfg.Self, cfg.Log), done: make(chan struct{}),
	}
}

// Join adds a connected peer. It does not block. A node of our own kind (a [FellowPeer]) is asked for ranges only
// when it tells that it has a whole state.
func (b *Backfill) Join(p RangePeer) {
	f, ok := p.(FellowPeer)
	switch {
	case ok && f.ServesSubtrees():
		b.swarm.join(f)
		b.Told(p)
	case p.ServesState():
		b.peers.join(p)
	case peer.AsDataPeer(p) != nil:
		b.data.join(p)
	}
}

// Told says that a connected peer's Have has changed. It does not block.
func (b *Backfill) Told(p RangePeer) {
	if complete := b.swarm.told(p.ID(), time.Now()); complete && p.ServesState() && !b.peers.has(p.ID()) {
		b.peers.join(p)
	}
}

// Have is what to tell fellows now.
func (b *Backfill) Have() Have { return b.swarm.have() }

// Leave removes a peer that is gone. It does not block.
func (b *Backfill) Leave(id string) {
	b.peers.leave(id)
	b.data.leave(id)
	b.swarm.leave(id)
}

// Done is closed when a state is complete: see Root. The backfill has nothing to do any more.
func (b *Backfill) Done() <-chan struct{} { return b.done }

// Root is the root of the complete state; false while there is none. Whoever takes over enables
// go-ethereum's pathdb on it and executes the blocks since.
func (b *Backfill) Root() (common.Hash, bool) {
	target, ok := b.Complete()
	return target.Root, ok
}

// Complete is the target whose state is complete; false while there is none.
func (b *Backfill) Complete() (Target, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.complete, b.mu.complete.Root != (common.Hash{})
}

// Run collects until a state is complete or ctx ends (both nil), or a store fails. After
// that it may run again, and completes the state of the head of that time.
func (b *Backfill) Run(ctx context.Context) error {
	if !b.running.CompareAndSwap(false, true) {
		return errors.New("the backfill runs already")
	}
	defer b.running.Store(false)
	meter := newMeter()
	for restarts := 0; ctx.Err() == nil; restarts++ {
		target, ok := b.await(ctx, meter)
		if !ok {
			return nil
		}
		if restarts > 0 {
			b.metrics.restarts.Inc()
		}
		complete, err := b.walk(ctx, target, meter)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("backfill of state %x: %w", target.Root, err)
		}
		if complete {
			b.finish(target, meter)
			return nil
		}
	}
	return nil
}

// await waits until there is a state to complete.
func (b *Backfill) await(ctx context.Context, meter *meter) (Target, bool) {
	tick := time.NewTicker(backfillTick)
	defer tick.Stop()
	for {
		if target, ok := b.cfg.Recent(); ok {
			b.swarm.begin(time.Now())
			return b.adopt(target), true
		}
		b.publish(meter.progress(Target{}, trie.WalkProgress{}, "for the first executed block"))
		select {
		case <-ctx.Done():
			return Target{}, false
		case <-tick.C:
		}
	}
}

func (b *Backfill) finish(target Target, meter *meter) {
	b.mu.Lock()
	b.mu.complete = target
	b.mu.progress.Waiting = ""
	b.mu.Unlock()
	have := haveOf(target, b.swarm.begun(), map[common.Hash]trie.Slices{{}: allSlices()})
	have.Active = false
	if b.swarm.tell(have, time.Now()) && b.cfg.Announce != nil {
		b.cfg.Announce()
	}
	p := b.Progress()
	b.log.Info("State complete", "root", target.Root, "number", target.Number, "accounts", p.Accounts,
		"slots", p.Slots, "codes", p.Codes, "bytes", p.Bytes, "from_fellows", p.FellowBytes, "took", time.Since(meter.began).Round(time.Second))
	b.once.Do(func() { close(b.done) })
}

// outdated says whether a walk should begin anew at another target.
func outdated(old, recent Target) bool {
	if old.Root == recent.Root || recent.Number <= old.Number {
		return false
	}
	// Number of scans that have begun up to a block.
	scans := func(number uint64) uint64 { return (number + SeedInterval - seedDelay) / SeedInterval }
	return scans(recent.Number) != scans(old.Number) || recent.Number-old.Number > maxRootAge
}
