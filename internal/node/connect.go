// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/nat"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/beamsync/witness"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/diskspace"
	"github.com/sunbeam-eth/sunbeam/internal/health"
	"github.com/sunbeam-eth/sunbeam/internal/metrics"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/rpc"
)

// hint fetches what nodes of our own kind say that a block reads. Their word is unverified, so it
// goes behind what the block is known to want.
func (n *Node) hint(ctx context.Context, block *types.Block, parentRoot common.Hash) {
	_, _ = n.witness.Collect(ctx, block, parentRoot, n.fetcher.Session(sched.Predictive)) // a hint may fail
}

// join and leave tell those who send requests to peers which ones there are. The host has no hook
// that refuses a node before the handshake, so a banned peer is disconnected right after it.
func (n *Node) join(p *p2p.Peer) {
	if n.book.Banned(p.ID()) {
		p.Drop(errBanned)
		return
	}
	n.fetcher.Join(p)
	n.witness.Join(p)
	n.pool.Join(p)
	if n.backfill != nil {
		n.backfill.Join(swarmPeer{p})
	}
}

func (n *Node) leave(p *p2p.Peer) {
	if detail, ok := p.Oversized(); ok {
		n.book.Blame(p.ID(), peer.BlameInvalid, detail)
	}
	n.fetcher.Leave(p.ID())
	n.witness.Leave(p.ID())
	n.pool.Leave(p.ID())
	if n.backfill != nil {
		n.backfill.Leave(p.ID())
	}
}

// connect makes what works on the open stores.
func (n *Node) connect(registerer prometheus.Registerer, gatherer prometheus.Gatherer) error {
	if n.cfg.NetworkID == 0 && n.chain.Config().ChainID == nil {
		return errors.New("the genesis has no chainId: set the network ID with --networkid")
	}
	n.disk = diskspace.New(n.cfg.InstanceDir(), uint64(n.cfg.Store.MinFreeDiskMB)<<20, n.cfg.Metrics.Enabled, n.log, registerer)
	named, err := parseNodes(n.cfg.P2P.StaticNodes)
	if err != nil {
		return err
	}
	n.book = peer.NewBook(peer.BookConfig{Blamer: blamer{n}, Log: n.log, Registerer: registerer, Static: func(id string) bool {
		return slices.ContainsFunc(named, func(node *enode.Node) bool { return node.ID().String() == id })
	}})
	n.fetcher = fetch.New(fetch.Config{Local: n.local, Book: n.book, Log: n.log, Registerer: registerer})
	n.witness = witness.New(witness.Config{Store: n.stateAt, Book: n.book, Log: n.log, Registerer: registerer})
	executor := evm.NewExecutor(n.chain.Config(), evm.ReportPanics(n.log, registerer))
	if n.learned, err = n.openSpeculationCache(executor); err != nil {
		return err
	}
	n.importer = importer.New(importer.Config{
		Chain:      n.chain,
		Executor:   n.witness.Executor(executor),
		Local:      n.local,
		Blocks:     n.fetcher,
		Alone:      n.fetcher.Alone,
		Session:    func() importer.StateSession { return n.fetcher.Session(sched.Urgent) },
		Ahead:      func() prefetch.Hinter { return n.fetcher.Session(sched.Predictive) },
		MaxLag:     uint64(n.cfg.Beam.MaxLag),
		Public:     n.public(),
		Driver:     n.driver(),
		States:     n.loaded.states,
		Lowest:     n.loaded.lowest,
		Hints:      n.hint,
		Log:        n.log,
		Registerer: registerer,
	})
	n.newHistory(registerer)
	n.newLogIndex(registerer)
	if err := n.newBackfill(registerer); err != nil {
		return err
	}
	n.newPool(registerer)
	prefetcher := prefetch.New(executor, n.local)
	n.newWarmup(executor, prefetcher, registerer)
	n.newPayloads(executor, prefetcher, registerer)
	if err := n.newHost(registerer); err != nil {
		return err
	}
	if err := n.newRPC(executor, prefetcher, registerer); err != nil {
		return err
	}
	if err := n.registerMetrics(registerer); err != nil {
		return err
	}
	if n.cfg.Metrics.Enabled {
		n.metrics = metrics.NewServer(hostPort(n.cfg.Metrics.Addr, n.cfg.Metrics.Port), n.cfg.Metrics.Pprof, gatherer, health.Handler(n.health), n.log)
	}
	n.newPage()
	light, err := n.cfg.LightClient()
	if err != nil {
		return err
	}
	if light != nil {
		n.light = &lightClient{config: *light, engine: n.rpc.EngineClient(), log: n.log}
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
	seen := filepath.Join(n.cfg.InstanceDir(), "nodes")
	if err := n.checkNodeDatabase(seen); err != nil {
		return err
	}
	n.host, err = p2p.New(p2p.Config{
		PrivateKey:  key,
		Name:        clientName(cfg.Identity),
		ListenAddr:  hostPort("", cfg.Port),
		MaxPeers:    cfg.MaxPeers,
		MaxPending:  cfg.MaxPendingPeers,
		NAT:         mapping,
		NetRestrict: restrict,
		StaticNodes: static,
		Discovery: p2p.Discovery{
			NoDiscovery: cfg.NoDiscovery, NoV4: !cfg.DiscoveryV4, NoV5: !cfg.DiscoveryV5, DiscoveryAddr: discovery, Bootnodes: bootnodes, DNS: dns,
			NodeDatabase: seen,
		},
		NetworkID:    n.networkID(),
		Chain:        n.chain,
		State:        n.served(),
		Data:         n.served(),
		Witnesses:    n.witness,
		Busy:         n.importer.Working,
		Swarm:        n.swarm(),
		Transactions: transactions{n.pool},
		OnJoin:       n.join,
		OnLeave:      n.leave,
		Log:          n.log,
		Registerer:   registerer,
	})
	return err
}

// checkNodeDatabase sets the database of seen nodes aside if it does not open: discovery finds the nodes again.
func (n *Node) checkNodeDatabase(path string) error {
	seen, err := enode.OpenDB(path)
	if err == nil {
		seen.Close()
		return nil
	}
	moved, failed := db.SetAside(path)
	if failed != nil {
		return fmt.Errorf("open database of seen nodes %s: %w (remove it: discovery finds the nodes again)", path, err)
	}
	n.logSetAside(moved, err)
	return nil
}

func (n *Node) networkID() uint64 {
	if n.cfg.NetworkID != 0 {
		return n.cfg.NetworkID
	}
	return n.chain.Config().ChainID.Uint64()
}

func (n *Node) newRPC(executor *evm.Executor, prefetcher *prefetch.Prefetcher, registerer prometheus.Registerer) (err error) {
	c := &n.cfg
	if err := n.removeTornJWTSecret(); err != nil {
		return err
	}
	levels, _ := n.log.Handler().(rpc.LogLevels)
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
		IPC:           c.IPCEndpoint(),
		BatchItems:    c.RPC.BatchRequestLimit,
		BatchBytes:    c.RPC.BatchResponseMaxSize,
		GasCap:        c.RPC.GasCap,
		EVMTimeout:    c.RPC.EVMTimeout,
		TxFeeCap:      c.RPC.TxFeeCap,
		Unprotected:   c.RPC.UnprotectedTxs,
		ReceiptWait:   rpc.ReceiptWait{Default: c.RPC.SyncDefaultTimeout, Max: c.RPC.SyncMaxTimeout},
		MinTip:        c.Pool.PriceLimit,
		BodyBytes:     c.RPC.HTTPBodyLimit << 20,
		Traces:        rpc.Traces{Concurrent: c.RPC.MaxTraces, Timeout: c.RPC.TraceTimeout},
		ResponseBytes: c.RPC.ResponseMaxSize,
		Fetches: rpc.Fetches{
			Call:   rpc.FetchCap{Items: c.RPC.FetchCap, Bytes: c.RPC.FetchCapBytes},
			Caller: rpc.FetchCap{Items: c.RPC.CallerFetchCap, Bytes: c.RPC.CallerFetchCapBytes},
		},
		Logs: rpc.Logs{
			Selectors: c.RPC.LogQueryLimit, Range: c.RPC.RangeLimit,
			Results: c.RPC.MaxLogsPerResponse, Bytes: c.RPC.LogsResponseMaxSize,
		},
		Subscriptions: rpc.Subscriptions{
			PerConnection: c.RPC.MaxSubscriptionsPerConnection, Total: c.RPC.MaxSubscriptions, Filters: c.RPC.MaxFilters,
		},
		Identity: rpc.Identity{
			Name: clientName(c.P2P.Identity), Version: Version(), Commit: commit(),
			NetworkID: n.networkID(), DataDir: c.DataDir,
		},
		Log:        n.log,
		Registerer: registerer,
	}, rpc.Backend{
		Chain:     n.chain,
		Heads:     n.chain,
		States:    states{node: n, class: sched.RPC, query: true},
		Ancestors: ancestors{n.chain, n.fetcher},
		Engine:    n.importer,
		Network:   n.host,
		Beam:      beam{n},
		Pool:      n.pool,
		Blobs:     n.pool,
		Payloads:  n.payloads,
		Busy:      n.importer.Working,

		Prefetcher: tracePrefetcher{predictor{ancestors{n.chain, n.fetcher}, prefetcher, sched.RPC}, n.full, n.log},
		History:    collecting{n.history},
		Witnesses:  witnesses{n, executor, ancestors{n.chain, n.fetcher}},
		LogIndex:   n.logs,
		LogLevels:  levels,
		Database:   n.store.Chain(),
	})
	return err
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
