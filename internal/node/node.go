package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common/fdlimit"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/nat"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/metrics"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/rpc"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxHandles is how many files the databases keep open; go-ethereum uses half of what
	// the system allows, which is more than stores of this size have.
	maxHandles = 2048

	// idleInterval is how long nothing may happen without a word: five slots.
	idleInterval = time.Minute

	// stateWindow is how many newest blocks' states peers serve (devp2p, snap.md).
	stateWindow = 128
)

// Node is a whole client.
type Node struct {
	cfg     config.Config
	log     *slog.Logger
	network *network

	store    *db.DB
	chain    *chain.Chain
	local    trie.Local
	fetcher  *beamsync.Fetcher
	importer *beamsync.Importer
	host     *p2p.Host
	rpc      *rpc.Server
	metrics  *metrics.Server // nil if not enabled
	light    *lightClient    // nil if a consensus client drives the node
	began    uint64          // number of the head at the start
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
	n := &Node{cfg: *cfg, log: log}
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
	if err := n.openChain(given); err != nil {
		return errors.Join(err, n.Close())
	}
	n.local = trie.NewCache(n.cfg.Store.CacheMB/2<<20, n.store.Hot())
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

func (n *Node) openChain(given *network) (err error) {
	n.network = given
	if given == nil {
		if n.network, err = chooseNetwork(&n.cfg, n.store.Chain().CanonicalHash(0)); err != nil {
			return err
		}
	}
	if n.chain, err = chain.New(n.store.Chain(), n.network.genesis); err != nil {
		return fmt.Errorf("%s: %w", n.cfg.DataDir, err)
	}
	if knownNetwork(n.network.name) == nil {
		return keepGenesis(&n.cfg, n.network.genesis)
	}
	n.cfg.Network = n.network.name
	return nil
}

// connect makes what works on the open stores.
func (n *Node) connect(registerer prometheus.Registerer, gatherer prometheus.Gatherer) error {
	n.fetcher = beamsync.NewFetcher(beamsync.FetcherConfig{
		Local: n.local, Blamer: blamer{n}, Log: n.log, Registerer: without{registerer, "beam_snap_peers"},
	})
	n.importer = beamsync.NewImporter(beamsync.ImporterConfig{
		Chain:      n.chain,
		Executor:   evm.NewExecutor(n.chain.Config()),
		Local:      n.local,
		Blocks:     n.fetcher,
		Session:    func() beamsync.StateSession { return n.fetcher.Session(sched.Urgent) },
		MaxLag:     uint64(n.cfg.Beam.MaxLag),
		Log:        n.log,
		Registerer: registerer,
	})
	if err := n.newHost(registerer); err != nil {
		return err
	}
	if err := n.newRPC(registerer); err != nil {
		return err
	}
	common := metrics.Common{
		Height:    func() uint64 { return n.chain.CurrentHeader().Number.Uint64() },
		BestKnown: func() uint64 { return n.importer.Status().Newest },
		Peers:     func() int { return len(n.host.Peers()) },
		PeerLimit: n.cfg.P2P.MaxPeers,
	}
	if err := common.Register(registerer); err != nil {
		return err
	}
	if n.cfg.Metrics.Enabled {
		n.metrics = metrics.NewServer(hostPort(n.cfg.Metrics.Addr, n.cfg.Metrics.Port), gatherer, n.log)
	}
	light, err := n.cfg.LightClient()
	if err != nil {
		return err
	}
	if light != nil {
		n.light = &lightClient{config: *light, engine: n.rpc.EngineClient(), log: n.log}
		if fork := n.chain.Config().AmsterdamTime; fork != nil { // the same fork's execution side
			n.light.gloas = time.Unix(int64(*fork), 0)
		}
	}
	return nil
}

func (n *Node) newHost(registerer prometheus.Registerer) error {
	cfg := &n.cfg.P2P
	key, err := n.nodeKey()
	if err != nil {
		return err
	}
	bootnodes, err := n.network.nodes(cfg.Bootnodes)
	if err != nil {
		return err
	}
	static, err := parseNodes(cfg.StaticNodes)
	if err != nil {
		return err
	}
	mapping, err := nat.Parse(cfg.NAT)
	if err != nil {
		return err
	}
	var restrict *netutil.Netlist
	for _, mask := range cfg.NetRestrict {
		if restrict == nil {
			restrict = new(netutil.Netlist)
		}
		restrict.Add(mask)
	}
	dns := cfg.DNS
	if dns == nil {
		dns = n.network.dns
	}
	discovery := ""
	if cfg.DiscoveryPort != 0 {
		discovery = hostPort("", cfg.DiscoveryPort)
	}
	n.host, err = p2p.New(p2p.Config{
		PrivateKey:    key,
		Name:          clientName(cfg.Identity),
		ListenAddr:    hostPort("", cfg.Port),
		DiscoveryAddr: discovery,
		MaxPeers:      cfg.MaxPeers,
		NAT:           mapping,
		NetRestrict:   restrict,
		NoDiscovery:   cfg.NoDiscovery,
		Bootnodes:     bootnodes,
		StaticNodes:   static,
		DNS:           dns,
		NodeDatabase:  filepath.Join(n.cfg.InstanceDir(), "nodes"),
		NetworkID:     n.networkID(),
		Chain:         n.chain,
		State:         served{n.local},
		OnJoin:        func(p *p2p.Peer) { n.fetcher.Join(p) },
		OnLeave:       func(p *p2p.Peer) { n.fetcher.Leave(p.ID()) },
		Log:           n.log,
		Registerer:    registerer,
	})
	return err
}

// nodeKey reads the key that makes our node ID, or makes it once.
func (n *Node) nodeKey() (*ecdsa.PrivateKey, error) {
	if n.cfg.P2P.NodeKeyHex != "" {
		return crypto.HexToECDSA(n.cfg.P2P.NodeKeyHex)
	}
	path := n.cfg.NodeKeyFile()
	key, err := crypto.LoadECDSA(path)
	if err == nil || !errors.Is(err, os.ErrNotExist) || n.cfg.P2P.NodeKey != "" {
		if err != nil {
			return nil, fmt.Errorf("node key %s: %w", path, err)
		}
		return key, nil
	}
	if key, err = crypto.GenerateKey(); err != nil {
		return nil, fmt.Errorf("make node key: %w", err)
	}
	if err := crypto.SaveECDSA(path, key); err != nil { // mode 0600
		return nil, fmt.Errorf("keep node key: %w", err)
	}
	return key, nil
}

func (n *Node) networkID() uint64 {
	if n.cfg.NetworkID != 0 {
		return n.cfg.NetworkID
	}
	return n.chain.Config().ChainID.Uint64()
}

func (n *Node) newRPC(registerer prometheus.Registerer) (err error) {
	c := &n.cfg
	n.rpc, err = rpc.NewServer(rpc.Config{
		HTTP: rpc.HTTP{
			Enabled: c.HTTP.Enabled, Host: c.HTTP.Addr, Port: int(c.HTTP.Port), Modules: c.HTTP.API,
			CORS: c.HTTP.CORSDomain, VHosts: c.HTTP.VHosts, Prefix: c.HTTP.PathPrefix,
		},
		WS: rpc.WS{
			Enabled: c.WS.Enabled, Host: c.WS.Addr, Port: int(c.WS.Port), Modules: c.WS.API,
			Origins: c.WS.Origins, Prefix: c.WS.PathPrefix,
		},
		Auth: rpc.Auth{
			Enabled: true, Host: c.Engine.Addr, Port: int(c.Engine.Port), VHosts: c.Engine.VHosts,
			JWTFile: c.JWTFile(),
		},
		IPC:        c.IPCEndpoint(),
		BatchItems: c.RPC.BatchRequestLimit,
		BatchBytes: c.RPC.BatchResponseMaxSize,
		GasCap:     c.RPC.GasCap,
		EVMTimeout: c.RPC.EVMTimeout,
		Identity: rpc.Identity{
			Name: clientName(c.P2P.Identity), Version: Version(), Commit: commit(),
			NetworkID: n.networkID(), DataDir: c.DataDir,
		},
		Log:        n.log,
		Registerer: registerer,
	}, rpc.Backend{
		Chain:     n.chain,
		Heads:     n.chain,
		States:    states{n},
		Ancestors: ancestors{n},
		Engine:    n.importer,
		Network:   n.host,
		Beam:      beam{n},
	})
	return err
}

// Run runs the node until ctx ends (nil) or a part of it fails, then closes the databases.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, n.Close()) }()
	n.log.Info("Starting Sunbeam", "version", Version(), "network", n.network.name, "chain_id", n.chain.Config().ChainID,
		"datadir", n.cfg.DataDir, "head", n.began)
	if err := n.beginAtGenesis(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		n.store.Run, n.fetcher.Run, n.importer.Run, n.host.Run, n.rpc.Run, n.announceHeads, n.announceStart, n.announceIdle,
	} {
		group.Go(func() error { return part(ctx) })
	}
	if n.metrics != nil {
		group.Go(func() error { return n.metrics.Run(ctx) })
	}
	if n.light != nil {
		group.Go(func() error { return n.light.Run(ctx) })
	}
	err = group.Wait()
	n.log.Info("Sunbeam stopped", "head", n.chain.CurrentHeader().Number)
	return err
}

// Close releases the datadir. It may be called twice.
func (n *Node) Close() error { return n.store.Close() }

// beginAtGenesis makes the genesis state, if the chain stands there.
func (n *Node) beginAtGenesis(ctx context.Context) error {
	if n.began != 0 {
		return nil
	}
	return putGenesisState(ctx, n.network.genesis, n.chain.Genesis().Root(), n.local, n.log)
}

// announceHeads tells peers about new heads.
func (n *Node) announceHeads(ctx context.Context) error {
	heads := make(chan chain.HeadEvent, 16)
	sub := n.chain.SubscribeHead(heads)
	defer sub.Unsubscribe()
	for {
		select {
		case <-heads:
			n.host.HeadChanged()
		case <-ctx.Done():
			return nil
		}
	}
}

// announceStart says, once all is open, where the node can be reached.
func (n *Node) announceStart(ctx context.Context) error {
	for _, ready := range []<-chan struct{}{n.host.Started(), n.rpc.Ready()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
	}
	addrs := n.rpc.Addrs()
	n.log.Info("Sunbeam is running", "version", Version(), "network", n.network.name, "datadir", n.cfg.DataDir,
		"enode", n.host.Self().URLv4(), "engine", addrs.Auth, "http", addrs.HTTP, "ws", addrs.WS, "ipc", addrs.IPC)
	return nil
}

// announceIdle says so when nobody has asked for a new block for a while. Blocks in work
// are spoken of by the importer.
func (n *Node) announceIdle(ctx context.Context) error {
	ticker := time.NewTicker(idleInterval)
	defer ticker.Stop()
	for before := n.importer.Status(); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		now := n.importer.Status()
		if now.Newest == before.Newest && now.Head == before.Head && len(now.Pending) == 0 {
			status := beam{n}.status()
			n.log.Info("Waiting for a new head: none was announced to the Engine API", "head", now.Head,
				"peers", status.Peers, "state_peers", status.StatePeers, "engine", n.rpc.Addrs().Auth)
		}
		before = now
	}
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

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
