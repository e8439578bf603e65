// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/event"
	gethlog "github.com/ethereum/go-ethereum/log"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/dnsdisc"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/nat"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/prometheus/client_golang/prometheus"
)

// servingSlots is how many requests the node serves at once, over all peers: on a quarter of the
// processors. The rest is for the node's own blocks, however many peers send requests.
func servingSlots() int { return max(1, runtime.GOMAXPROCS(0)/4) }

// Config is what a Host needs. PrivateKey, Chain and Log are required.
type Config struct {
	PrivateKey  *ecdsa.PrivateKey
	Name        string           // client name sent to peers
	ListenAddr  string           // host:port for TCP, and UDP unless DiscoveryAddr is set; empty: do not listen
	MaxPeers    int              // connections in total; 0 refuses all peers
	MaxPending  int              // handshakes at once, in each direction; 0 is go-ethereum's default
	NAT         nat.Interface    // nil: none
	NetRestrict *netutil.Netlist // nil: all networks
	StaticNodes []*enode.Node    // always connected
	Discovery

	NetworkID    uint64
	Chain        ChainBackend
	State        StateBackend // may be nil: no state is served
	Data         DataBackend  // may be nil: no state is served by hash
	Witnesses    Witnesses    // may be nil: wit/0 is not offered, and beam/2 only with Data or Swarm
	Swarm        Swarm        // may be nil: no subtree is served, no Have is sent
	Transactions Transactions // may be nil: transactions are dropped

	// Busy reports whether the node executes a block now, so that serving waits; may be nil.
	Busy func() bool

	// OnJoin and OnLeave are called once per connection and should return soon.
	OnJoin, OnLeave func(*Peer)
	Log             *slog.Logger
	Registerer      prometheus.Registerer // may be nil
}

// Discovery says how a host finds nodes to connect to.
type Discovery struct {
	NoDiscovery   bool          // neither v4, v5 nor DNS
	NoV4, NoV5    bool          // not this protocol
	DiscoveryAddr string        // host:port for UDP; empty: as for TCP
	Bootnodes     []*enode.Node // for v4 and v5
	DNS           []string      // enrtree:// URLs of node lists
	NodeDatabase  string        // directory of the database of seen nodes; empty: in memory
}

// Host is the devp2p server of a node with all its peers.
type Host struct {
	cfg          Config
	log          *slog.Logger
	peerCfg      PeerConfig
	pendingLinks pendingLinks
	headMoved    chan struct{} // capacity 1
	started      chan struct{} // closed once the server listens

	mu      sync.Mutex
	server  *gethp2p.Server        // nil until started
	static  []*enode.Node          // added before the start
	trusted []*enode.Node          // the same
	peers   map[string]*Peer       // between join and leave
	strange map[string]strangeness // of static peers that are of another network, by connection ID
}

// New checks the configuration and makes a host. It starts nothing.
func New(cfg Config) (*Host, error) {
	switch {
	case cfg.PrivateKey == nil:
		return nil, errors.New("p2p: no node key")
	case cfg.Chain == nil:
		return nil, errors.New("p2p: no chain")
	case cfg.Log == nil:
		return nil, errors.New("p2p: no log")
	case cfg.MaxPeers < 0:
		return nil, fmt.Errorf("p2p: maximum of %d peers", cfg.MaxPeers)
	}
	lists, err := dnsdisc.NewClient(dnsdisc.Config{}).NewIterator(cfg.DNS...)
	if err != nil {
		return nil, fmt.Errorf("p2p: DNS node list: %w", err)
	}
	lists.Close() // only checks the URLs
	metrics, err := NewMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	h := &Host{
		cfg:       cfg,
		log:       cfg.Log,
		headMoved: make(chan struct{}, 1),
		started:   make(chan struct{}),
		peers:     make(map[string]*Peer),
		strange:   make(map[string]strangeness),
	}
	h.peerCfg = PeerConfig{
		NetworkID: cfg.NetworkID, Chain: cfg.Chain, State: cfg.State, Data: cfg.Data,
		Witnesses: cfg.Witnesses, Swarm: cfg.Swarm, Transactions: cfg.Transactions, Gate: NewGate(servingSlots(), cfg.Busy), Budget: NewBudget(maxReplyBytes), Metrics: metrics, Log: cfg.Log,
		OnJoin: h.join, OnLeave: h.leave,
	}
	return h, nil
}

// Run listens, dials and runs the peers until ctx ends. A host runs once.
func (h *Host) Run(ctx context.Context) error {
	if err := checkNodeDatabase(h.cfg.NodeDatabase); err != nil {
		return err
	}
	mix := enode.NewFairMix(mixTimeout)
	server := &gethp2p.Server{Config: gethp2p.Config{
		PrivateKey: h.cfg.PrivateKey, Name: h.cfg.Name, MaxPeers: h.cfg.MaxPeers, MaxPendingPeers: h.cfg.MaxPending, DialRatio: dialShare,
		ListenAddr: h.cfg.ListenAddr, DiscAddr: h.cfg.DiscoveryAddr, NAT: h.cfg.NAT, NetRestrict: h.cfg.NetRestrict,
		NoDiscovery: h.cfg.NoDiscovery, DiscoveryV4: !h.cfg.NoDiscovery && !h.cfg.NoV4, DiscoveryV5: !h.cfg.NoDiscovery && !h.cfg.NoV5,
		BootstrapNodes: h.cfg.Bootnodes, BootstrapNodesV5: h.cfg.Bootnodes, StaticNodes: h.cfg.StaticNodes,
		NodeDatabase: h.cfg.NodeDatabase, Protocols: h.protocols(ctx, mix),
		Logger: gethlog.NewLogger(h.log.Handler()),
	}}
	err := server.Start()
	defer server.Stop() // also releases what a failed start leaves open
	if err != nil {
		return fmt.Errorf("start p2p server: %w", err)
	}
	defer mix.Close()
	if err := h.addSources(server, mix); err != nil {
		return err
	}
	h.mu.Lock()
	h.server = server
	for _, n := range h.static {
		server.AddPeer(n)
	}
	for _, n := range h.trusted {
		server.AddTrustedPeer(n)
	}
	h.mu.Unlock()
	close(h.started)
	h.log.Info("P2P server started", "enode", server.Self().URLv4(), "discovery", !h.cfg.NoDiscovery, "max_peers", h.cfg.MaxPeers)

	h.followHead(ctx, server.LocalNode())
	return nil
}

// checkNodeDatabase opens the database of seen nodes, because the server's error does not name
// its path.
func checkNodeDatabase(path string) error {
	if path == "" {
		return nil
	}
	seen, err := enode.OpenDB(path)
	if err != nil {
		return fmt.Errorf("open database of seen nodes %s: %w (remove it: discovery finds the nodes again)", path, err)
	}
	seen.Close()
	return nil
}

// Started is closed once the host listens and Self is complete.
func (h *Host) Started() <-chan struct{} { return h.started }

// Self is the local node record; before the start it has no address.
func (h *Host) Self() *enode.Node {
	if server := h.running(); server != nil {
		return server.Self()
	}
	return enode.NewV4(&h.cfg.PrivateKey.PublicKey, net.IPv4zero, 0, 0)
}

// Peers returns the connected peers.
func (h *Host) Peers() []*Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.peers))
}

// AddPeer connects to a node and keeps reconnecting.
func (h *Host) AddPeer(node *enode.Node) {
	h.mu.Lock()
	if h.server == nil {
		h.static = append(h.static, node)
	}
	server := h.server
	h.mu.Unlock()
	if server != nil {
		server.AddPeer(node)
	}
}

// RemovePeer undoes AddPeer and disconnects from the node. It waits for the disconnect.
func (h *Host) RemovePeer(node *enode.Node) {
	h.mu.Lock()
	server := h.server
	h.static = slices.DeleteFunc(h.static, func(n *enode.Node) bool { return n.ID() == node.ID() })
	h.mu.Unlock()
	if server != nil {
		server.RemovePeer(node)
	}
}

// AddTrustedPeer lets a node connect when all slots are taken.
func (h *Host) AddTrustedPeer(node *enode.Node) {
	h.mu.Lock()
	if h.server == nil {
		h.trusted = append(h.trusted, node)
	}
	server := h.server
	h.mu.Unlock()
	if server != nil {
		server.AddTrustedPeer(node)
	}
}

// RemoveTrustedPeer undoes AddTrustedPeer. It does not disconnect.
func (h *Host) RemoveTrustedPeer(node *enode.Node) {
	h.mu.Lock()
	server := h.server
	h.trusted = slices.DeleteFunc(h.trusted, func(n *enode.Node) bool { return n.ID() == node.ID() })
	h.mu.Unlock()
	if server != nil {
		server.RemoveTrustedPeer(node)
	}
}

// SubscribeEvents sends what happens to connections, once the host has started.
func (h *Host) SubscribeEvents(ch chan<- *gethp2p.PeerEvent) event.Subscription {
	return event.NewSubscription(func(quit <-chan struct{}) error {
		select {
		case <-h.started:
		case <-quit:
			return nil
		}
		events := make(chan *gethp2p.PeerEvent)
		sub := h.running().SubscribeEvents(events)
		defer sub.Unsubscribe()
		for {
			select {
			case ev := <-events:
				select {
				case ch <- ev:
				case <-quit:
					return nil
				}
			case err := <-sub.Err():
				return err
			case <-quit:
				return nil
			}
		}
	})
}

// Drop disconnects the peer with an id, if there is one, because of the data that it sent.
func (h *Host) Drop(id string, reason error) {
	if p := h.peer(id); p != nil {
		p.Drop(reason)
	}
}

// HeadChanged signals that the chain's head moved: the host updates the fork id in the node
// record and announces the block range. It does not block.
func (h *Host) HeadChanged() {
	select {
	case h.headMoved <- struct{}{}:
	default: // already signalled
	}
}

// SwarmChanged sends the local Have to all other Sunbeam nodes. It does not block.
func (h *Host) SwarmChanged() {
	for _, p := range h.Peers() {
		p.SwarmChanged()
	}
}

func (h *Host) followHead(ctx context.Context, node *enode.LocalNode) {
	for {
		select {
		case <-h.headMoved:
			node.Set(forkEntry(h.cfg.Chain)) // no effect if it is the same
			for _, p := range h.Peers() {
				p.HeadChanged()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (h *Host) running() *gethp2p.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.server
}

func (h *Host) peer(id string) *Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peers[id]
}

func (h *Host) join(p *Peer) {
	h.mu.Lock()
	h.peers[p.ID()] = p
	h.mu.Unlock()
	if h.cfg.OnJoin != nil {
		h.cfg.OnJoin(p)
	}
}

func (h *Host) leave(p *Peer) {
	h.mu.Lock()
	delete(h.peers, p.ID())
	h.mu.Unlock()
	if h.cfg.OnLeave != nil {
		h.cfg.OnLeave(p)
	}
}
