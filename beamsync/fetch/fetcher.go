package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// FetcherConfig is what a [Fetcher] works with.
type Config struct {
	Local      trie.Local            // where verified nodes and codes go; required
	Blamer     peer.Blamer           // is told of peers' faults; nil: nobody is. Must not block
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: nobody sees the metrics
}

// Fetcher gets state, headers and bodies from peers and believes only hashes. It is the
// shell around [sched.Scheduler]: one goroutine feeds that with what happens and carries
// its actions out; every wire request has a goroutine of its own.
//
// A want that several callers share is fetched once. Delivered nodes and codes are in
// the local store before their callers wake. Nothing is given up while a caller waits.
type Fetcher struct {
	cfg     Config
	log     *slog.Logger
	metrics *fetcherMetrics
	inbox   *inbox
	roster  *roster
	urgent  urgency
	started atomic.Bool
	done    chan struct{} // closed when Run has returned
}

// NewFetcher returns a fetcher without peers. Calls wait until Run runs.
func New(cfg Config) *Fetcher {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Fetcher{
		cfg:     cfg,
		log:     log,
		metrics: newFetcherMetrics(cfg.Registerer),
		inbox:   newInbox(),
		roster:  newRoster(),
		done:    make(chan struct{}),
	}
}

// Run fetches until ctx ends (nil) or the local store fails. It may run once.
func (f *Fetcher) Run(ctx context.Context) error {
	if !f.started.CompareAndSwap(false, true) {
		return errors.New("the fetcher has been run already")
	}
	defer close(f.done)
	ctx, cancel := context.WithCancel(ctx)
	l := newFetchLoop(f)
	err := l.run(ctx)
	cancel()
	l.wires.Wait()
	if err != nil {
		return fmt.Errorf("keep what was fetched: %w", err)
	}
	return nil
}

// Join adds a connected peer. It does not block.
func (f *Fetcher) Join(p peer.Peer) {
	if !f.roster.join(p) {
		return
	}
	if p.ServesState() || peer.AsDataPeer(p) != nil {
		f.inbox.post(joined{p})
	}
}

// Leave removes a peer that is gone. It does not block.
func (f *Fetcher) Leave(id string) {
	f.roster.leave(id)
	f.inbox.post(left{id})
}

// blame counts and passes on what a peer did; a liar is not asked again for anything.
func (f *Fetcher) blame(id string, reason peer.Blame, detail string) {
	f.metrics.blames.WithLabelValues(reason.String()).Inc()
	if reason == peer.BlameLie {
		f.roster.expel(id)
		f.inbox.post(left{id})
		f.log.Warn("Peer lied", "peer", id, "detail", detail)
	} else {
		f.log.Debug("Peer blamed", "peer", id, "reason", reason.String(), "detail", detail)
	}
	if f.cfg.Blamer != nil {
		f.cfg.Blamer.Blame(id, reason, detail)
	}
}

// What callers and wire goroutines tell the loop; a *call tells it of new wants.
type (
	abandoned struct{ call *call } // nobody waits for it any longer
	joined    struct{ peer peer.Peer }
	left      struct{ id string }
)

// inbox carries messages to the loop. Posting never blocks, so nobody can be stuck on a
// loop that is busy, has not started or has ended.
type inbox struct {
	ready chan struct{} // holds a token when there may be messages

	mu       sync.Mutex
	messages []any
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

func (b *inbox) post(message any) {
	b.mu.Lock()
	b.messages = append(b.messages, message)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// drain returns all messages in the order in which they were posted.
func (b *inbox) drain() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages := b.messages
	b.messages = nil
	return messages
}
