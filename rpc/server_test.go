// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/node"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/health"
)

// allEndpoints enables all endpoints on free ports.
func allEndpoints(t *testing.T) func(*Config, *Backend) {
	dir := t.TempDir()
	return func(c *Config, _ *Backend) {
		c.HTTP = HTTP{Enabled: true, Host: "127.0.0.1", Modules: []string{"eth", "net", "web3", "beam"}, VHosts: []string{"localhost"}}
		c.WS = WS{Enabled: true, Host: "127.0.0.1", Modules: []string{"eth"}, Origins: []string{"*"}}
		c.Auth = Auth{Enabled: true, Host: "127.0.0.1", VHosts: []string{"localhost"}, JWTFile: filepath.Join(dir, "jwt")}
		c.IPC = filepath.Join(dir, "node.ipc")
	}
}

// start runs the server until the test ends or stop is called; stop waits for Run.
func (n *fakeNode) start(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-done:
		t.Fatalf("Run: %v", err)
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

func dial(t *testing.T, url string, options ...gethrpc.ClientOption) *gethrpc.Client {
	t.Helper()
	client, err := gethrpc.DialOptions(t.Context(), url, options...)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	t.Cleanup(client.Close)
	return client
}

func (n *fakeNode) secret(t *testing.T) [32]byte {
	t.Helper()
	secret, err := readJWTSecret(n.cfg.Auth.JWTFile)
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(secret)
}

// TestEndpoints checks the namespaces of every endpoint, and calls a method on each.
func TestEndpoints(t *testing.T) {
	n := newFakeNode(t, allEndpoints(t))
	n.start(t)
	addrs := n.Addrs()
	auth := gethrpc.WithHTTPAuth(node.NewJWTAuth(n.secret(t)))
	for _, test := range []struct {
		url     string
		options []gethrpc.ClientOption
		modules string
	}{
		{"http://" + addrs.HTTP, nil, "beam eth net rpc web3"},
		{"ws://" + addrs.WS, nil, "eth rpc"},
		{"http://" + addrs.Auth, []gethrpc.ClientOption{auth}, "engine eth rpc"},
		{"ws://" + addrs.Auth, []gethrpc.ClientOption{auth}, "engine eth rpc"},
		{addrs.IPC, nil, "admin beam debug engine eth miner net rpc testing trace txpool web3"},
	} {
		client := dial(t, test.url, test.options...)
		modules, err := client.SupportedModules()
		if err != nil {
			t.Fatalf("%s: %v", test.url, err)
		}
		var names []string
		for name := range modules {
			names = append(names, name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != test.modules {
			t.Errorf("%s serves %s, want %s", test.url, got, test.modules)
		}
		if got := response(client, rpcCall{"eth_getBalance", []any{common.HexToAddress("0x10005"), "latest"}}); got != `"0x6"` {
			t.Errorf("%s: balance %s", test.url, got)
		}
	}
	info, err := os.Stat(addrs.IPC)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("IPC: %v, %v", info.Mode(), err)
	}
}

// TestAttach makes the calls of geth's console on attach (console/console.go).
func TestAttach(t *testing.T) {
	n := newFakeNode(t, allEndpoints(t), func(_ *Config, b *Backend) { b.Network, b.Beam = fakeNetwork{}, fakeBeam{} })
	n.start(t)
	client := dial(t, n.Addrs().IPC)
	for method, want := range map[string]string{
		"web3_clientVersion": `"Sunbeam/v1/test"`,
		"eth_blockNumber":    `"0xc"`,
		"admin_datadir":      `"/data"`,
		"admin_nodeInfo":     `{"id":"me"`,
		"admin_peers":        `[]`,
		"net_peerCount":      `"0x0"`,
		"beam_status":        `{"phase":"beaming"}`,
		"beam_overview":      `{"network":"mainnet"}`,
		"eth_syncing":        `{"currentBlock":"0x2","highestBlock":"0x3","startingBlock":"0x1"}`,
	} {
		if got := response(client, rpcCall{method, nil}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", method, got)
		}
	}
	url := "enode://" + strings.Repeat("0", 127) + "1@127.0.0.1:1"
	if got := response(client, rpcCall{"admin_addPeer", []any{url}}); !strings.Contains(got, "invalid enode") {
		t.Errorf("admin_addPeer: %s", got)
	}
}

type fakeNetwork struct {
	events *event.FeedOf[*gethp2p.PeerEvent]
}

func (fakeNetwork) PeersInfo() []*gethp2p.PeerInfo { return nil }

func (fakeNetwork) NodeInfo() *gethp2p.NodeInfo { return &gethp2p.NodeInfo{ID: "me"} }

func (fakeNetwork) AddPeer(*enode.Node) {}

func (fakeNetwork) RemovePeer(*enode.Node) {}

func (fakeNetwork) AddTrustedPeer(*enode.Node) {}

func (fakeNetwork) RemoveTrustedPeer(*enode.Node) {}

func (n fakeNetwork) SubscribeEvents(ch chan<- *gethp2p.PeerEvent) event.Subscription {
	if n.events == nil {
		n.events = new(event.FeedOf[*gethp2p.PeerEvent])
	}
	return n.events.Subscribe(ch)
}

type fakeBeam struct{}

func (fakeBeam) Progress() Progress { return Progress{Syncing: true, Start: 1, Current: 2, Highest: 3} }

func (fakeBeam) Health() health.Report { return health.Report{} }

func (fakeBeam) Status() any { return map[string]string{"phase": "beaming"} }

func (fakeBeam) Overview() any { return map[string]string{"network": "mainnet"} }

// TestAuth: the Engine API refuses requests without a fresh token of the right secret.
func TestAuth(t *testing.T) {
	n := newFakeNode(t, allEndpoints(t))
	n.start(t)
	other := [32]byte{1}
	for name, token := range map[string]gethrpc.HTTPAuth{
		"none":      func(http.Header) error { return nil },
		"wrong":     node.NewJWTAuth(other),
		"malformed": func(h http.Header) error { h.Set("Authorization", "Bearer x.y.z"); return nil },
	} {
		client := dial(t, "http://"+n.Addrs().Auth, gethrpc.WithHTTPAuth(token))
		var result any
		err := client.Call(&result, "eth_chainId")
		var status gethrpc.HTTPError
		if !errors.As(err, &status) || status.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v", name, err)
		}
		if client, err := gethrpc.DialOptions(t.Context(), "ws://"+n.Addrs().Auth, gethrpc.WithHTTPAuth(token)); err == nil {
			client.Close()
			t.Errorf("%s: WebSocket let in", name)
		}
	}
}

// TestConfigErrors: errors name the flag and the value.
func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`--http.api: unknown module "eht" (have eth, net, web3, admin, txpool, debug, miner, trace, beam, testing)`: func(c *Config) { c.HTTP.Modules = []string{"eth", "eht"} },
		`--ws.api: unknown module "personal"`:                                      func(c *Config) { c.WS.Modules = []string{"personal"} },
		`--http.api: module "engine" is served on the authenticated endpoint only`: func(c *Config) { c.HTTP.Modules = []string{"engine"} },
		`--http.rpcprefix: "x" does not begin with "/"`:                            func(c *Config) { c.HTTP.Prefix = "x" },
		`--ws.rpcprefix: "/x?" contains one of "?#"`:                               func(c *Config) { c.WS.Prefix = "/x?" },
		`--ws.addr "0.0.0.0" differs from --http.addr "127.0.0.1"`: func(c *Config) {
			c.HTTP.Host, c.WS.Host, c.HTTP.Port, c.WS.Port = "127.0.0.1", "0.0.0.0", 5, 5
		},
	} {
		cfg := Config{HTTP: HTTP{Enabled: true}, WS: WS{Enabled: true}}
		change(&cfg)
		if _, err := NewServer(cfg, Backend{Chain: newFakeChain()}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestEndpointInUse: Run returns which endpoint cannot be opened, and closes the others.
func TestEndpointInUse(t *testing.T) {
	first := newFakeNode(t, allEndpoints(t))
	first.start(t)
	port := func(addr string) int {
		_, text, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(text)
		return n
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	addrs := first.Addrs()
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	for want, change := range map[string]func(*Config){
		"HTTP endpoint: listen tcp " + addrs.HTTP:                             func(c *Config) { c.HTTP.Port = port(addrs.HTTP) },
		"WebSocket endpoint: listen tcp " + addrs.WS:                          func(c *Config) { c.WS.Port = port(addrs.WS) },
		"Engine API endpoint: listen tcp " + addrs.Auth:                       func(c *Config) { c.Auth.Port = port(addrs.Auth) },
		"IPC endpoint " + addrs.IPC + ": another process listens":             func(c *Config) { c.IPC = addrs.IPC },
		"IPC endpoint " + long + ": path of ":                                 func(c *Config) { c.IPC = long },
		"IPC endpoint " + file + ": the path exists and is not a socket":      func(c *Config) { c.IPC = file },
		"IPC endpoint " + filepath.Join(file, "x") + ": mkdir " + file + ": ": func(c *Config) { c.IPC = filepath.Join(file, "x") },
	} {
		n := newFakeNode(t, allEndpoints(t), func(c *Config, _ *Backend) { change(c) })
		if err := n.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file was removed: %v", err)
	}
}

// TestSharedPort: HTTP and WebSocket share a port, each with its path prefix.
func TestSharedPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	n := newFakeNode(t, func(c *Config, _ *Backend) {
		c.HTTP = HTTP{Enabled: true, Host: "127.0.0.1", Port: port, Prefix: "/rpc", VHosts: []string{"localhost"}, CORS: []string{"http://good"}}
		c.WS = WS{Enabled: true, Host: "127.0.0.1", Port: port, Prefix: "/ws"}
	})
	n.start(t)
	base := fmt.Sprintf("127.0.0.1:%d", port)
	for url, ok := range map[string]bool{"http://" + base + "/rpc": true, "http://" + base: false, "ws://" + base + "/ws": true} {
		if _, err := dial(t, url).SupportedModules(); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
	if client, err := gethrpc.Dial("ws://" + base + "/other"); err == nil {
		client.Close()
		t.Error("WebSocket outside its prefix")
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+base+"/rpc", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"web3_clientVersion"}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", "http://good")
	request.Host = "evil"
	for host, want := range map[string]int{"evil": http.StatusForbidden, "localhost": http.StatusOK} {
		request.Host = host
		request.Body, _ = request.GetBody()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want || want == http.StatusOK && response.Header.Get("Access-Control-Allow-Origin") != "http://good" {
			t.Errorf("%s: %v %v", host, response.Status, response.Header)
		}
	}
}

// TestShutdown: requests whose fetches hang end at once, on every endpoint.
func TestShutdown(t *testing.T) {
	n := newFakeNode(t, allEndpoints(t), func(c *Config, _ *Backend) { c.EVMTimeout = time.Hour })
	n.states.hang, n.engine.hang = true, true
	stop := n.start(t)
	addrs := n.Addrs()
	auth := gethrpc.WithHTTPAuth(node.NewJWTAuth(n.secret(t)))
	results := make(chan error, 4)
	for _, client := range []*gethrpc.Client{dial(t, "http://"+addrs.HTTP), dial(t, "ws://"+addrs.WS), dial(t, addrs.IPC), dial(t, "ws://"+addrs.Auth, auth)} {
		go func() {
			var result any
			results <- client.CallContext(t.Context(), &result, "eth_getBalance", userAddr, "latest")
		}()
	}
	for n.b.stateQueries.slots.TryAcquire(defaultStateQueries - 3) { // until four queries run
		n.b.stateQueries.slots.Release(defaultStateQueries - 3)
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	for range 4 {
		if err := <-results; err == nil {
			t.Error("got a balance from a fetch that hangs")
		}
	}
	if _, err := os.Stat(addrs.IPC); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket was not removed: %v", err)
	}
	n2 := newFakeNode(t, func(c *Config, _ *Backend) { c.IPC = addrs.IPC })
	n2.start(t) // the path can be used again
}
