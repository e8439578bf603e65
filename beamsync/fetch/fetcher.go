// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Config is what a [Fetcher] works with.
type Config struct {
	Local      trie.Local            // where verified nodes and codes go; required
	Book       *peer.Book            // bans and back-offs, shared with all who send requests to peers; nil: one of its own
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not registered
}

// Fetcher gets state, headers and bodies from peers and verifies them by hash. It is the
// shell around [sched.Scheduler]: one goroutine reports events to it and carries its actions
// out; every wire request has a goroutine of its own. The package documentation tells the life
// of a request.
type Fetcher struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	inbox   *inbox
	peers   *peerSet
	urgent  urgency
	waiting atomic.Int32  // waits of blocks and queries, see Waiting
	served  atomic.Uint64 // see Served
	serving atomic.Int32  // see Serving
	pulse   atomic.Int64  // see Pulse; Unix nanoseconds
	waits   *waits
	started atomic.Bool
	done    chan struct{} // closed when Run has returned
}

// New returns a fetcher without peers. Calls wait until Run runs.
func New(cfg Config) *Fetcher {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Book == nil {
		cfg.Book = peer.NewBook(peer.BookConfig{Log: log})
	}
	f := &Fetcher{
		cfg:   cfg,
		log:   log,
		inbox: newInbox(),
		peers: newPeerSet(cfg.Book),
		waits: newWaits(),
		done:  make(chan struct{}),
	}
	f.metrics = newMetrics(cfg.Registerer, f.Serving)
	f.pulse.Store(time.Now().UnixNano())
	cfg.Book.OnBan(f.Leave)
	return f
}

// Run fetches until ctx ends (nil) or the local store fails. It may run once.
func (f *Fetcher) Run(ctx context.Context) error {
	if !f.started.CompareAndSwap(false, true) {
		return errors.New("the fetcher has been run already")
	}
	defer close(f.done)
	ctx, cancel := context.WithCancel(ctx)
	l := newLoop(f)
	err := l.run(ctx)
	cancel()
	l.wires.Wait()
	if err != nil {
		return fmt.Errorf("keep what was fetched: %w", err)
	}
	return nil
}

// Join adds a connected peer, unless it is banned. It does not block.
func (f *Fetcher) Join(p peer.Peer) {
	if f.cfg.Book.Banned(p.ID()) {
		return
	}
	f.peers.join(p)
	if p.ServesState() || peer.AsDataPeer(p) != nil {
		f.inbox.post(joined{p})
	}
}

// Leave removes a peer that is gone. It does not block.
func (f *Fetcher) Leave(id string) {
	f.peers.leave(id)
	f.inbox.post(left{id})
}

// Alone returns for how long there has been no peer, zero if there is one.
func (f *Fetcher) Alone() time.Duration { return f.peers.alone() }

// The messages of callers and wire goroutines to the loop; a *call brings new wants.
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
