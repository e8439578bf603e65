// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func nodeKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// hostConfig is a host on loopback; peers that join and leave go to the channels.
func hostConfig(t testing.TB, chain testChain) (cfg Config, joined, left chan *Peer) {
	joined, left = make(chan *Peer, 8), make(chan *Peer, 8)
	return Config{
		PrivateKey: nodeKey(t), Name: "sunbeam/test", ListenAddr: "127.0.0.1:0", MaxPeers: 8, Discovery: Discovery{NoDiscovery: true},
		NetworkID: 7, Chain: chain, State: chain, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		OnJoin:  func(p *Peer) { joined <- p },
		OnLeave: func(p *Peer) { left <- p },
	}, joined, left
}

// startHost runs a host until the returned function stops it and waits for its end.
func startHost(t testing.TB, cfg Config) (*Host, func()) {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- h.Run(ctx) }()
	select {
	case <-h.Started():
	case err := <-over:
		t.Fatalf("host did not start: %v", err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-over; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return h, stop
}

func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// TestBadNodeDatabase: the error has the path of the database.
func TestBadNodeDatabase(t *testing.T) {
	cfg, _, _ := hostConfig(t, newTestChain(t))
	cfg.NodeDatabase = filepath.Join(t.TempDir(), "nodes")
	_, stop := startHost(t, cfg)
	stop()
	if err := os.WriteFile(filepath.Join(cfg.NodeDatabase, "CURRENT"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Registerer = nil
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.NodeDatabase) {
		t.Errorf("an empty CURRENT: %v", err)
	}
}

func TestHosts(t *testing.T) {
	chain := newTestChain(t)
	serverCfg, serverJoined, serverLeft := hostConfig(t, chain)
	server, stopServer := startHost(t, serverCfg)
	clientCfg, clientJoined, clientLeft := hostConfig(t, chain)
	clientCfg.ListenAddr = ""
	clientCfg.StaticNodes = []*enode.Node{server.Self()}
	client, _ := startHost(t, clientCfg)

	p := receive(t, "join at the client", clientJoined)
	atServer := receive(t, "join at the server", serverJoined)
	equal(t, "peer id", p.ID(), server.Self().ID().String())
	equal(t, "peer id", atServer.ID(), client.Self().ID().String())
	equal(t, "version", p.Version(), uint(72))
	if !p.ServesState() {
		t.Fatal("joined without snap")
	}
	checkChainRequests(t, p, chain)
	checkStateRequests(t, p, chain)
	checkAccessLists(t, p, chain)
	checkStateRequests(t, atServer, chain)
	checkInfo(t, client, server, chain)
	expected := strings.NewReader("# HELP beam_snap_peers Connected peers that serve state (snap/1).\n# TYPE beam_snap_peers gauge\nbeam_snap_peers 1\n")
	if err := testutil.GatherAndCompare(clientCfg.Registerer.(*prometheus.Registry), expected, "beam_snap_peers"); err != nil {
		t.Error(err)
	}

	// Both hosts report the disconnect, and requests in flight fail.
	stopServer()
	equal(t, "peer that left", receive(t, "leave", clientLeft).ID(), p.ID())
	equal(t, "peer that left", receive(t, "leave", serverLeft).ID(), atServer.ID())
	if _, err := p.Headers(testContext(t), chain.hash(1), 1, true); !errors.Is(err, ErrPeerGone) {
		t.Errorf("after the server stopped: %v", err)
	}
	equal(t, "peers", len(client.Peers()), 0)
}

func checkInfo(t *testing.T, client, server *Host, chain testChain) {
	t.Helper()
	infos := client.PeersInfo()
	if len(infos) != 1 || infos[0].ID != server.Self().ID().String() || infos[0].Name != "sunbeam/test" {
		t.Fatalf("peers: %+v", infos)
	}
	enc, err := json.Marshal(infos[0].Protocols)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"latestBlock":140`, `"version":72`, `"snap":{"version":1}`, `"latency":"`} {
		if !bytes.Contains(enc, []byte(part)) {
			t.Errorf("peer info %s lacks %s", enc, part)
		}
	}
	node := server.NodeInfo()
	if node.Enode != server.Self().URLv4() || node.Protocols["eth"] == nil || node.Protocols["snap"] == nil || len(client.NodeInfo().Protocols) == 0 {
		t.Errorf("node info: %+v", node)
	}
	var entry ethENR
	if err := server.Self().Load(&entry); err != nil || entry.ForkID != forkid.NewIDWithChain(chain) {
		t.Errorf("eth entry of the record: %+v, %v", entry, err)
	}
	if err := server.Self().Load(&snapENR{}); err != nil {
		t.Errorf("snap entry of the record: %v", err)
	}
}

func TestAddDropRemove(t *testing.T) {
	chain := newTestChain(t)
	serverCfg, _, serverLeft := hostConfig(t, chain)
	server, _ := startHost(t, serverCfg)
	clientCfg, joined, left := hostConfig(t, chain)
	client, err := New(clientCfg)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "peers before the start", len(client.PeersInfo()), 0)
	client.AddPeer(server.Self()) // before the start
	client.AddTrustedPeer(server.Self())
	events := make(chan *gethp2p.PeerEvent, 8)
	sub := client.SubscribeEvents(events)
	defer sub.Unsubscribe()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- client.Run(ctx) }()

	joinedPeer := receive(t, "join", joined)
	equal(t, "trusted", joinedPeer.link.Pinned, true)
	equal(t, "event", receive(t, "event", events).Type, gethp2p.PeerEventTypeAdd)
	client.RemoveTrustedPeer(server.Self())
	client.RemovePeer(server.Self())
	equal(t, "event", receive(t, "event", events).Type, gethp2p.PeerEventTypeDrop)
	receive(t, "leave after RemovePeer", left)
	receive(t, "leave at the server", serverLeft)

	server.Drop("unknown", errors.New("no such peer"))
	cancel()
	if err := receive(t, "end", over); err != nil {
		t.Fatal(err)
	}
}

func TestDrop(t *testing.T) {
	chain := newTestChain(t)
	serverCfg, serverJoined, serverLeft := hostConfig(t, chain)
	server, _ := startHost(t, serverCfg)
	clientCfg, _, clientLeft := hostConfig(t, chain)
	clientCfg.StaticNodes = []*enode.Node{server.Self()}
	startHost(t, clientCfg)
	p := receive(t, "join", serverJoined)
	server.Drop(p.ID(), errors.New("wrong bytes"))
	equal(t, "dropped peer", receive(t, "leave", serverLeft).ID(), p.ID())
	receive(t, "leave at the client", clientLeft)
	wantProtocolError(t, p.err, KindDropped)
	equal(t, "protocol errors", testutil.ToFloat64(p.cfg.Metrics.protocolErrors.WithLabelValues("dropped")), 1)
}

// TestOtherNetwork: hosts of different networks do not connect.
func TestOtherNetwork(t *testing.T) {
	chain := newTestChain(t)
	lines := make(logLines, 1000)
	log := slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	serverCfg, serverJoined, _ := hostConfig(t, chain)
	serverCfg.Log = log
	server, _ := startHost(t, serverCfg)
	clientCfg, clientJoined, _ := hostConfig(t, chain)
	clientCfg.NetworkID = 8
	clientCfg.StaticNodes = []*enode.Node{server.Self()}
	clientCfg.Log = log
	startHost(t, clientCfg)
	// The host that reads the other's status first disconnects.
	for !strings.Contains(receive(t, "log line about the network", lines), "incompatible: network id") {
	}
	if len(serverJoined)+len(clientJoined) > 0 {
		t.Error("joined")
	}
}

// TestStrangePeer: a static peer of another genesis is named, once in a while, with both hashes.
func TestStrangePeer(t *testing.T) {
	lines := make(logLines, 10)
	h := &Host{log: slog.New(slog.NewTextHandler(lines, nil)), strange: make(map[string]strangeness)}
	incompatible := func(text string) error { return &ProtocolError{Kind: KindIncompatible, Err: errors.New(text)} }
	now := time.Now()
	static := &Link{ID: "a", Pinned: true}
	for _, test := range []struct {
		link *Link
		err  error
		at   time.Time
		said bool
	}{
		{&Link{ID: "b"}, incompatible("genesis 1, want 2"), now, false},
		{static, ErrPeerGone, now, false},
		{static, &ProtocolError{Kind: KindTimeout, Err: errors.New("late")}, now, false},
		{static, incompatible("genesis 1, want 2"), now, true},
		{static, incompatible("genesis 1, want 2"), now.Add(strangeInterval - 1), false},
		{static, incompatible("network id 8, want 7"), now.Add(strangeInterval - 1), true},
		{static, incompatible("network id 8, want 7"), now.Add(2 * strangeInterval), true},
	} {
		h.reportStrange(test.link, test.err, test.at)
		if said := len(lines) == 1; said != test.said {
			t.Errorf("%s, %v: logged %v", test.link.ID, test.err, said)
		} else if said {
			if line := <-lines; !strings.Contains(line, "level=WARN") || !strings.Contains(line, test.err.(*ProtocolError).Err.Error()) {
				t.Errorf("%s", line)
			}
		}
	}
}

// logLines passes log lines on until the channel is full.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}

func TestNewInvalidConfig(t *testing.T) {
	chain := newTestChain(t)
	for want, change := range map[string]func(*Config){
		"no node key":   func(c *Config) { c.PrivateKey = nil },
		"no chain":      func(c *Config) { c.Chain = nil },
		"no log":        func(c *Config) { c.Log = nil },
		"-1 peers":      func(c *Config) { c.MaxPeers = -1 },
		"DNS node list": func(c *Config) { c.DNS = []string{"enrtree://nonsense"} },
		"duplicate":     func(c *Config) { _, _ = NewMetrics(c.Registerer) },
	} {
		cfg, _, _ := hostConfig(t, chain)
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestPortInUse(t *testing.T) {
	chain := newTestChain(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg, _, _ := hostConfig(t, chain)
	cfg.ListenAddr = listener.Addr().String()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v", err)
	}
}

// forkingChain is a chain with a fork ahead of its head.
type forkingChain struct {
	testChain
	config  params.ChainConfig
	genesis *types.Block
	head    *types.Header
}

func (c *forkingChain) Config() *params.ChainConfig  { return &c.config }
func (c *forkingChain) Genesis() *types.Block        { return c.genesis }
func (c *forkingChain) CurrentHeader() *types.Header { return c.head }

func TestForkFilterAndRecord(t *testing.T) {
	chain := newTestChain(t)
	fork := uint64(2_000_000_000)
	c := &forkingChain{testChain: chain, config: *params.MergedTestChainConfig}
	c.config.OsakaTime, c.config.AmsterdamTime = &fork, nil
	c.config.BPO1Time, c.config.BPO2Time, c.config.BPO3Time, c.config.BPO4Time, c.config.BPO5Time = nil, nil, nil, nil, nil
	genesis := &core.Genesis{Config: &c.config, Difficulty: new(big.Int)}
	c.genesis = genesis.ToBlock()
	c.head = c.genesis.Header()

	record := func(entries ...enr.Entry) *enode.Node {
		var r enr.Record
		for _, e := range entries {
			r.Set(e)
		}
		if err := enode.SignV4(&r, nodeKey(t)); err != nil {
			t.Fatal(err)
		}
		n, err := enode.New(enode.ValidSchemes, &r)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	accepts := sameChain(c)
	ours := *forkEntry(c)
	future := &forkingChain{testChain: chain, config: c.config, genesis: c.genesis, head: &types.Header{Number: new(big.Int), Time: fork}}
	for name, test := range map[string]struct {
		node *enode.Node
		want bool
	}{
		"same":         {record(ours), true},
		"beyond fork":  {record(*forkEntry(future)), true},
		"other chain":  {record(*forkEntry(&chain)), false},
		"no eth entry": {record(), false},
		"later format": {record(ethENR{ForkID: ours.ForkID, Rest: []rlp.RawValue{{0x05}}}), true},
	} {
		if got := accepts(test.node); got != test.want {
			t.Errorf("%s: accepted %v", name, got)
		}
	}

	// The record follows the head over a fork.
	cfg, _, _ := hostConfig(t, chain)
	cfg.Chain = c
	h, _ := startHost(t, cfg)
	before := h.Self().Seq()
	moved := *future.head
	c.head = &moved
	h.HeadChanged()
	deadline := time.After(20 * time.Second)
	for h.Self().Seq() == before {
		select {
		case <-deadline:
			t.Fatal("record did not change")
		case <-time.After(time.Millisecond):
		}
	}
	var entry ethENR
	if err := h.Self().Load(&entry); err != nil || entry.ForkID != forkid.NewIDWithChain(future) {
		t.Errorf("record: %+v, %v", entry, err)
	}
}
