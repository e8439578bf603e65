// SPDX-License-Identifier: LGPL-3.0-or-later

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

// StateSource fetches single nodes and codes into the local store. [fetch.Session] implements it.
type StateSource interface {
	FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error
}

// Config is what a [Backfill] works with. Canonical, Busy, Announce, StateOf, Book, Log and Registerer may be nil.
type Config struct {
	Complete trie.CompleteStore
	Writer   func() trie.CompleteWriter // returns a new one; the previous one is not used any more then
	Local    trie.Local                 // where nodes may be found and Source puts them: Hot
	Source   StateSource

	Recent    func() (Target, bool) // the head's state; false: there is none yet
	Canonical func(Target) bool     // says whether the target's block is canonical still; nil: always
	Busy      func() bool           // something more important needs network and processors
	Rate      uint64                // bytes per second of ranges; 0: no limit
	Share     float64               // that an earlier process had reached: see Progress; 0: none

	Self     string                          // our ID, as swarm peers see it
	Announce func()                          // called when Have has changed
	StateOf  func(number uint64) common.Hash // state root of a canonical block; zero if it is unknown, or if the blocks since are not held

	Book       *peer.Book // bans and back-offs, shared with all who send requests to peers
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Backfill collects the state that no block touched, until one state is complete in Config.Complete. It is
// the shell around [trie.Walker]: it sends the walker's needs to peers, verifies the responses and delivers
// them to the walker, which alone writes.
//
// When the head moves on, the walk restarts with a newer root, as the specification requires. Complete
// subtrees are skipped then. What was received but not written is lost, as it is
// by a kill: there is no other state.
type Backfill struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
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

// New returns a backfill without peers.
func New(cfg Config) *Backfill {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Canonical == nil {
		cfg.Canonical = func(Target) bool { return true }
	}
	if cfg.Busy == nil {
		cfg.Busy = func() bool { return false }
	}
	if cfg.Book == nil {
		cfg.Book = peer.NewBook(peer.BookConfig{Log: cfg.Log})
	}
	b := &Backfill{
		cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registerer),
		peers: newRangePeers(cfg.Book, peer.KindRanges), data: newRangePeers(cfg.Book, peer.KindState), swarm: newSwarm(cfg.Self, cfg.Book, cfg.Log), done: make(chan struct{}),
	}
	cfg.Book.OnBan(b.Leave)
	return b
}

// Join adds a connected peer, unless it is banned. It does not block. Another Sunbeam node (a [SwarmPeer]) is asked for ranges only
// when it announces a whole state.
func (b *Backfill) Join(p RangePeer) {
	if b.cfg.Book.Banned(p.ID()) {
		return
	}
	s, ok := p.(SwarmPeer)
	switch {
	case ok && s.ServesSubtrees():
		b.swarm.join(s)
		b.OnHave(p)
	case p.ServesState():
		b.peers.join(p)
	case peer.AsDataPeer(p) != nil:
		b.data.join(p)
	}
}

// OnHave says that a connected peer's Have has changed. It does not block.
func (b *Backfill) OnHave(p RangePeer) {
	if complete := b.swarm.onHave(p.ID(), time.Now()); complete && p.ServesState() && !b.peers.has(p.ID()) {
		b.peers.join(p)
	}
}

// Have is what to announce to swarm peers now.
func (b *Backfill) Have() Have { return b.swarm.have() }

// Leave removes a disconnected peer. It does not block.
func (b *Backfill) Leave(id string) {
	b.peers.leave(id)
	b.data.leave(id)
	b.swarm.leave(id)
}

// Done is closed when a state is complete: see Root. The backfill has nothing to do any more.
func (b *Backfill) Done() <-chan struct{} { return b.done }

// Root is the root of the complete state; false while there is none. The caller enables
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
	meter, codes := newMeter(b.cfg.Share), trie.NewCodeSet()
	for restarts := 0; ctx.Err() == nil; restarts++ {
		target, ok := b.await(ctx, meter)
		if !ok {
			return nil
		}
		if restarts > 0 {
			b.metrics.restarts.Inc()
		}
		complete, err := b.walk(ctx, target, meter, codes)
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

// finish publishes a complete state.
func (b *Backfill) finish(target Target, meter *meter) {
	b.mu.Lock()
	b.mu.complete = target
	b.mu.progress.Waiting = ""
	b.mu.Unlock()
	have := newHave(target, b.swarm.started(), map[common.Hash]trie.Slices{{}: allSlices()})
	have.Active = false
	if b.swarm.announce(have, time.Now()) && b.cfg.Announce != nil {
		b.cfg.Announce()
	}
	p := b.Progress()
	b.log.Info("State backfill complete", "root", target.Root, "number", target.Number, "accounts", p.Accounts,
		"slots", p.Slots, "codes", p.Codes, "bytes", p.Bytes, "swarm_bytes", p.SwarmBytes, "took", time.Since(meter.began).Round(time.Second))
	b.once.Do(func() { close(b.done) })
}
