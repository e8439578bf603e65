// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common/fdlimit"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params/forks"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/history"
	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/warmup"
	"github.com/sunbeam-eth/sunbeam/beamsync/witness"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/diskspace"
	"github.com/sunbeam-eth/sunbeam/internal/metrics"
	"github.com/sunbeam-eth/sunbeam/internal/page"
	"github.com/sunbeam-eth/sunbeam/logindex"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
	"github.com/sunbeam-eth/sunbeam/pool"
	"github.com/sunbeam-eth/sunbeam/rpc"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxHandles is how many files the databases keep open; go-ethereum uses half of what
	// the system allows, which is more than stores of this size have.
	maxHandles = 2048

	// idleInterval is how often an idle node logs that it waits: every five slots.
	idleInterval = time.Minute
	// idleLimit is the longest time between two such lines: the times between double up to it.
	idleLimit = time.Hour

	// stateWindow is how many newest blocks' states peers serve (devp2p, snap.md).
	stateWindow = 128
)

// Node is a complete client.
type Node struct {
	cfg     config.Config
	log     *slog.Logger
	network *network
	stores

	book     *peer.Book // bans and back-offs of peers
	fetcher  *fetch.Fetcher
	importer *importer.Importer
	backfill *backfill.Backfill // nil if it is not wanted
	history  *history.History
	warmup   *warmup.Warmup // nil if it is not wanted
	logs     *logindex.Index
	witness  *witness.Exchange
	pool     *pool.Pool
	payloads *payloadbuilder.Builder
	host     *p2p.Host
	rpc      *rpc.Server
	metrics  *metrics.Server // nil if not enabled
	page     *page.Server    // likewise
	light    *lightClient    // nil if a consensus client drives the node
	disk     *diskspace.Watch
	learned  *speculationCache
	began    uint64  // number of the head at the start
	share    float64 // of the state that an earlier process had collected

	repairTimeout time.Duration // see there
	closed        atomic.Bool
}

// stores is what a node has on disk, and what is in front of it in memory.
type stores struct {
	store   *db.DB
	chain   *chain.Chain
	cache   *trie.Cache
	local   trie.Local      // the cache, then Hot, then Complete
	places  *trie.PathIndex // of nodes that peers may ask for by hash
	loaded  loadedStates
	lost    bool                    // the database was opened without some of its tables
	genesis atomic.Pointer[db.Full] // the states of a node at genesis that is still beaming, see leaveGenesis
}

// New makes a node from a checked configuration. It opens the datadir, and makes it if it
// is not there, but starts nothing. Whoever does not call [Node.Run] must call
// [Node.Close].
func New(cfg *config.Config, log *slog.Logger) (*Node, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return newNode(cfg, log, registry, registry)
}

func newNode(cfg *config.Config, log *slog.Logger, registerer prometheus.Registerer, gatherer prometheus.Gatherer) (*Node, error) {
	if err := checkEndpoints(context.Background(), cfg); err != nil {
		return nil, err
	}
	n := &Node{cfg: *cfg, log: log, repairTimeout: repairTimeout}
	if err := n.open(registerer, nil); err != nil {
		return nil, err
	}
	if err := n.connect(registerer, gatherer); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// open opens what is on disk: databases and chain. The network is the one given, or, if
// that is nil, the one that configuration and datadir agree on.
func (n *Node) open(registerer prometheus.Registerer, given *network) (err error) {
	if n.store, err = openStore(&n.cfg, registerer, false); err != nil {
		return err
	}
	return n.openOn(given)
}

// openOn is open on a store that is open.
func (n *Node) openOn(given *network) error {
	n.reportDamage()
	known := readLastKnown(&n.cfg)
	n.share = known.Share
	if err := n.openChain(given, known); err != nil {
		// What a disk that fails could not read looks as if it were not there.
		return errors.Join(cmp.Or(n.store.Err(), err), n.store.Close())
	}
	n.cache = trie.NewCache(n.cfg.Store.CacheMB/2<<20, trie.Overlay(n.store.Hot(), n.store.Complete()))
	n.local, n.places = n.cache, trie.NewPathIndex()
	if err := n.openStates(); err != nil {
		return errors.Join(err, n.Close())
	}
	n.began = n.chain.CurrentHeader().Number.Uint64()
	return nil
}

func openStore(cfg *config.Config, registerer prometheus.Registerer, readOnly bool) (*db.DB, error) {
	return db.Open(cfg.DataDir, db.Options{
		Engine:     cfg.Store.Engine,
		CacheMB:    cfg.Store.CacheMB / 2,
		Handles:    fileHandles(),
		HotBytes:   uint64(cfg.Beam.HotSizeMB) << 20,
		ReadOnly:   readOnly,
		Registerer: registerer,
	})
}

func (n *Node) openChain(given *network, known lastKnown) (err error) {
	n.network = given
	if given == nil {
		if n.network, err = chooseNetwork(&n.cfg, n.store.Chain(), known, n.log); err != nil {
			return err
		}
	}
	if n.cfg.Override != (config.Override{}) {
		if err := n.network.override(n.cfg.Override); err != nil {
			return err
		}
	}
	if err = n.checkNetwork(known); err == nil {
		err = n.openBlocks(known)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.cfg.DataDir, err)
	}
	if err := n.keepLastKnown(); err != nil {
		return err
	}
	if knownNetwork(n.network.name) == nil {
		n.cfg.Genesis = genesisCopy(&n.cfg) // what the datadir holds counts as if it had been named
		return keepGenesis(&n.cfg, n.network.genesis)
	}
	n.cfg.Network = n.network.name
	return nil
}

// Run runs the node until ctx ends (nil) or a part of it fails, then closes the databases.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, n.Close()) }()
	n.log.Info("Starting Sunbeam", "version", Version(), "network", n.network.name, "chain_id", n.chain.Config().ChainID,
		"datadir", n.cfg.DataDir, "head", n.began)
	n.logForks()
	if err := n.beginAtGenesis(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	group, running := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		n.store.Run, n.fetcher.Run, n.importer.Run, n.history.Run, n.logs.Run, n.pool.Run, n.payloads.Run, n.host.Run, n.rpc.Run, n.runPhases,
		n.disk.Run, n.notifySystemd, n.watchDamage, n.restoreBlocks, n.announceHeads, n.announceStart, n.announceIdle, n.learned.Run,
	} {
		group.Go(func() error { return part(running) })
	}
	if n.warmup != nil {
		group.Go(func() error { return n.warmup.Run(running) })
	}
	if n.metrics != nil {
		group.Go(func() error { return n.metrics.Run(running) })
	}
	if n.page != nil {
		group.Go(func() error { return n.page.Run(running) })
	}
	if n.light != nil {
		group.Go(func() error { return n.light.Run(running) })
	}
	if n.public() {
		group.Go(func() error { return loadTrustedSetup(running) })
	}
	group.Go(func() error {
		<-running.Done()
		if ctx.Err() != nil { // otherwise a part failed, which the error says
			n.log.Info("Stopping Sunbeam", "because", context.Cause(ctx))
		}
		return nil
	})
	err = nameFlags(&n.cfg, group.Wait())
	n.log.Info("Sunbeam stopped", "head", n.chain.CurrentHeader().Number)
	return unlessStopped(ctx, err)
}

// unlessStopped returns err unless it says no more than that ctx has ended: a part that was still
// starting says that it could not.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

// loadTrustedSetup makes go-ethereum load the KZG trusted setup (EIP-4844) now: that takes
// seconds, and would otherwise be part of the first block that evaluates a point. Nothing can
// interrupt it, so a node that stops does not wait for its end.
func loadTrustedSetup(ctx context.Context) error {
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		_ = kzg4844.VerifyProof(kzg4844.Commitment{}, kzg4844.Point{}, kzg4844.Claim{}, kzg4844.Proof{}) // proves nothing
	}()
	select {
	case <-loaded:
	case <-ctx.Done():
	}
	return nil
}

// Close releases the datadir. It may be called twice.
func (n *Node) Close() error {
	var err error
	if n.chain != nil && !n.closed.Swap(true) { // later the directory may be another process's
		err = n.keepLastKnown()
	}
	return errors.Join(err, n.store.Close())
}

// beginAtGenesis makes the genesis state, if the chain stands there.
func (n *Node) beginAtGenesis(ctx context.Context) error {
	if n.began != 0 {
		return nil
	}
	return putGenesisState(ctx, n.network.genesis, n.chain.Genesis().Root(), n.local, n.log)
}

// announceStart logs the addresses of the node when all of its servers listen.
func (n *Node) announceStart(ctx context.Context) error {
	if !n.waitStarted(ctx) {
		return nil
	}
	addrs := n.rpc.Addrs()
	n.log.Info("Sunbeam is running", "version", Version(), "network", n.network.name, "datadir", n.cfg.DataDir,
		"enode", n.host.Self().URLv4(), "engine", addrs.Auth, "http", addrs.HTTP, "ws", addrs.WS, "ipc", addrs.IPC)
	return nil
}

// announceIdle logs when no new head was announced for a while, less and less often, and louder if no consensus client has ever
// called. The importer logs about pending blocks.
func (n *Node) announceIdle(ctx context.Context) error {
	ticker := time.NewTicker(idleInterval)
	defer ticker.Stop()
	quiet, next := idleInterval, time.Now().Add(idleInterval)
	for before := n.importer.Status(); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		now := n.importer.Status()
		switch idle := now.Newest == before.Newest && now.Head == before.Head && len(now.Pending) == 0; {
		case !idle:
			quiet, next = idleInterval, time.Now().Add(idleInterval)
		case time.Now().Before(next):
		default:
			n.logIdle()
			quiet = min(2*quiet, idleLimit)
			next = time.Now().Add(quiet - idleInterval/2) // a tick may come a little early
		}
		before = now
	}
}

func (n *Node) logIdle() {
	peers, able := n.countPeers()
	addrs, head := n.rpc.Addrs(), n.chain.CurrentHeader().Number
	switch called := n.importer.Vitals().Called; {
	case n.light != nil && !called:
		n.log.Warn("The beacon API has not named a head: see whether it answers, and its checkpoint", "api", withoutCredentials(n.cfg.Beacon.API),
			"head", head, "peers", peers)
		return
	case !called:
		n.log.Warn("No consensus client has called: start one that has this address and JWT secret", "engine", "http://"+addrs.Auth,
			"jwt_secret", n.cfg.JWTFile(), "head", head, "peers", peers)
		return
	}
	n.log.Info("Waiting for a new head", "from", n.driver(), "silent", n.importer.Vitals().Silence.Round(time.Second), "head", head, "peers", peers, "state_peers", able)
}

// logForks logs the forks of the network by time: the one that is active, and those that come.
func (n *Node) logForks() {
	chainConfig, now := n.chain.Config(), uint64(time.Now().Unix())
	attrs := []any{"active", chainConfig.LatestFork(now).String()}
	for fork := forks.Shanghai; fork <= forks.Bogota; fork++ {
		if at := chainConfig.Timestamp(fork); at != nil && *at > now {
			attrs = append(attrs, strings.ToLower(fork.String()), time.Unix(int64(*at), 0).UTC().Format(time.RFC3339))
		}
	}
	if len(attrs) == 2 {
		attrs = append(attrs, "next", "none is scheduled")
	}
	n.log.Info("Fork schedule", attrs...)
}

// fileHandles is how many files the databases may have open.
func fileHandles() int {
	limit, err := fdlimit.Maximum()
	if err != nil {
		return maxHandles / 2
	}
	raised, err := fdlimit.Raise(uint64(limit))
	if err != nil {
		return maxHandles / 2
	}
	return min(int(raised/2), maxHandles)
}
