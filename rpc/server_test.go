package rpc

import (
	"context"
	"encoding/json"
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
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/node"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// everywhere enables all endpoints on free ports.
func everywhere(t *testing.T) func(*Config, *Backend) {
	dir := t.TempDir()
	return func(c *Config, _ *Backend) {
		c.HTTP = HTTP{Enabled: true, Host: "127.0.0.1", Modules: []string{"eth", "net", "web3", "beam"}, VHosts: []string{"localhost"}}
		c.WS = WS{Enabled: true, Host: "127.0.0.1", Modules: []string{"eth"}, Origins: []string{"*"}}
		c.Auth = Auth{Enabled: true, Host: "127.0.0.1", VHosts: []string{"localhost"}, JWTFile: filepath.Join(dir, "jwt")}
		c.IPC = filepath.Join(dir, "node.ipc")
	}
}

// start runs a server until the test ends or stop is called; stop waits for it.
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

// TestEndpoints asks every endpoint, and checks what each of them serves.
func TestEndpoints(t *testing.T) {
	n := newFakeNode(t, everywhere(t))
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
		{addrs.IPC, nil, "admin beam debug engine eth net rpc txpool web3"},
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
		if got := answer(client, rpcCall{"eth_getBalance", []any{common.HexToAddress("0x10005"), "latest"}}); got != `"0x6"` {
			t.Errorf("%s: balance %s", test.url, got)
		}
	}
	info, err := os.Stat(addrs.IPC)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("IPC: %v, %v", info.Mode(), err)
	}
}

// TestAttach makes the calls of geth's console when it attaches (console/console.go).
func TestAttach(t *testing.T) {
	n := newFakeNode(t, everywhere(t), func(_ *Config, b *Backend) { b.Network, b.Beam = fakeNetwork{}, fakeBeam{} })
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
		"eth_syncing":        `{"currentBlock":"0x2","highestBlock":"0x3","startingBlock":"0x1"}`,
	} {
		if got := answer(client, rpcCall{method, nil}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", method, got)
		}
	}
	url := "enode://" + strings.Repeat("0", 127) + "1@127.0.0.1:1"
	if got := answer(client, rpcCall{"admin_addPeer", []any{url}}); !strings.Contains(got, "invalid enode") {
		t.Errorf("admin_addPeer: %s", got)
	}
}

type fakeNetwork struct{}

func (fakeNetwork) PeersInfo() []*gethp2p.PeerInfo { return nil }
func (fakeNetwork) NodeInfo() *gethp2p.NodeInfo    { return &gethp2p.NodeInfo{ID: "me"} }
func (fakeNetwork) AddPeer(*enode.Node)            {}
func (fakeNetwork) RemovePeer(*enode.Node)         {}

type fakeBeam struct{}

func (fakeBeam) Progress() Progress { return Progress{Syncing: true, Start: 1, Current: 2, Highest: 3} }
func (fakeBeam) Status() any        { return map[string]string{"phase": "beaming"} }

// TestAuth lets nobody in without a fresh token of the right secret.
func TestAuth(t *testing.T) {
	n := newFakeNode(t, everywhere(t))
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

func TestJWTSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "jwt")
	made, err := ObtainJWTSecret(path)
	if err != nil || len(made) != 32 {
		t.Fatalf("%x, %v", made, err)
	}
	text, _ := os.ReadFile(path)
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 || string(text) != hexutil.Encode(made) {
		t.Errorf("mode %v, %s", info.Mode(), text)
	}
	if again, err := ObtainJWTSecret(path); err != nil || string(again) != string(made) {
		t.Errorf("%x, %v", again, err)
	}
	for content, ok := range map[string]bool{
		strings.Repeat("ab", 32):          true,
		strings.Repeat("AB", 32) + "\n":   true,
		"0x" + strings.Repeat("ab", 32):   true,
		strings.Repeat("ab", 31):          false,
		strings.Repeat("ab", 33):          false,
		"0x" + strings.Repeat("zz", 32):   false,
		"":                                false,
		strings.Repeat("ab", 32) + " zzz": false,
	} {
		bad := filepath.Join(dir, "other")
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ObtainJWTSecret(bad)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", content, err)
		}
		if !ok { // a server is not even made
			_, err := NewServer(Config{Auth: Auth{Enabled: true, JWTFile: bad}}, Backend{Chain: newFakeChain()})
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%q: NewServer: %v", content, err)
			}
		}
	}
	if _, err := ObtainJWTSecret(filepath.Join(dir, "no", "such")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestConfigErrors name the flag and the value.
func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`--http.api: unknown module "eht" (have eth, net, web3, admin, txpool, debug, beam)`: func(c *Config) { c.HTTP.Modules = []string{"eth", "eht"} },
		`--ws.api: unknown module "personal"`:                                                func(c *Config) { c.WS.Modules = []string{"personal"} },
		`--http.api: module "engine" is served on the authenticated endpoint only`:           func(c *Config) { c.HTTP.Modules = []string{"engine"} },
		`--http.rpcprefix: "x" does not begin with "/"`:                                      func(c *Config) { c.HTTP.Prefix = "x" },
		`--ws.rpcprefix: "/x?" contains one of "?#"`:                                         func(c *Config) { c.WS.Prefix = "/x?" },
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

// TestTakenEndpoints: Run says which endpoint cannot be opened, and leaves nothing open.
func TestTakenEndpoints(t *testing.T) {
	first := newFakeNode(t, everywhere(t))
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
		"IPC endpoint " + addrs.IPC + ": another process":                     func(c *Config) { c.IPC = addrs.IPC },
		"IPC endpoint " + long + ": path of ":                                 func(c *Config) { c.IPC = long },
		"IPC endpoint " + file + ": there is a file that is no socket":        func(c *Config) { c.IPC = file },
		"IPC endpoint " + filepath.Join(file, "x") + ": mkdir " + file + ": ": func(c *Config) { c.IPC = filepath.Join(file, "x") },
	} {
		n := newFakeNode(t, everywhere(t), func(c *Config, _ *Backend) { change(c) })
		if err := n.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file was removed: %v", err)
	}
}

// TestSharedPort serves HTTP and WebSocket on one port, below prefixes.
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

// TestShutdown ends requests whose fetches hang, on every endpoint, at once.
func TestShutdown(t *testing.T) {
	n := newFakeNode(t, everywhere(t), func(c *Config, _ *Backend) { c.EVMTimeout = time.Hour })
	n.states.block, n.engine.wait = true, true
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
	for n.b.states.slots.TryAcquire(defaultStateQueries - 3) { // until four queries run
		n.b.states.slots.Release(defaultStateQueries - 3)
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
			t.Error("a balance that nobody had")
		}
	}
	if _, err := os.Stat(addrs.IPC); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	n2 := newFakeNode(t, func(c *Config, _ *Backend) { c.IPC = addrs.IPC })
	n2.start(t) // the path can be used again
}

// TestEnginePatience: an importer that does not come to an end is SYNCING, in time.
func TestEnginePatience(t *testing.T) {
	theWorld()
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			fork  string
			limit time.Duration
			want  time.Duration
		}{{"osaka", 0, patience}, {"amsterdam", 0, patienceAmsterdam}, {"osaka", patienceInProc, patienceInProc}} {
			n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log = nil })
			n.chain.w, n.chain.head, n.engine.wait = forkWorld(test.fork), 0, true
			api := &engineAPI{b: n.b, gate: n.calls, limit: test.limit}
			start := time.Now()
			status, err := newPayload(t, api, test.fork)
			if err != nil || status.Status != engine.SYNCING || time.Since(start) != test.want {
				t.Errorf("%s: %v, %v after %v", test.fork, status, err, time.Since(start))
			}
			start = time.Now()
			update := engine.ForkchoiceStateV1{HeadBlockHash: common.Hash{1}}
			choice, err := api.ForkchoiceUpdatedV4(t.Context(), update, nil, nil)
			if err != nil || choice.PayloadStatus.Status != engine.SYNCING || time.Since(start) != patienceAmsterdam {
				t.Errorf("%s: %v, %v after %v", test.fork, choice, err, time.Since(start))
			}
		}
	})
}

// newPayload sends an empty block on genesis with the version of its fork.
func newPayload(t *testing.T, api *engineAPI, fork string) (engine.PayloadStatusV1, error) {
	t.Helper()
	block := emptyBlock(api.b.Chain.Genesis(), fork == "amsterdam")
	data := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload
	if fork == "amsterdam" {
		data.BlockAccessList = []byte{0xc0}
		return api.NewPayloadV5(t.Context(), *data, []common.Hash{}, &common.Hash{}, []hexutil.Bytes{})
	}
	return api.NewPayloadV4(t.Context(), *data, []common.Hash{}, &common.Hash{}, []hexutil.Bytes{})
}

func emptyBlock(parent *types.Block, amsterdam bool) *types.Block {
	zero, empty := uint64(0), types.EmptyWithdrawalsHash
	header := &types.Header{
		ParentHash: parent.Hash(), UncleHash: types.EmptyUncleHash, TxHash: types.EmptyTxsHash, ReceiptHash: types.EmptyReceiptsHash, Difficulty: common.Big0,
		Number: common.Big1, Time: parent.Time() + 12, BaseFee: common.Big1, WithdrawalsHash: &empty, BlobGasUsed: &zero, ExcessBlobGas: &zero,
		ParentBeaconRoot: &common.Hash{}, RequestsHash: &types.EmptyRequestsHash,
	}
	if amsterdam {
		hash := common.HexToHash("0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347") // keccak256 of the empty list
		header.SlotNumber, header.BlockAccessListHash = &zero, &hash
	}
	return types.NewBlockWithHeader(header).WithBody(types.Body{Withdrawals: []*types.Withdrawal{}})
}

// TestEngine passes good blocks on, over the in-process client, and what the importer says back.
func TestEngine(t *testing.T) {
	n := newFakeNode(t)
	n.chain.w, n.chain.head = forkWorld("osaka"), 0
	block := emptyBlock(n.chain.Genesis(), false)
	hash, why := block.Hash(), "because"
	n.engine.status = engine.PayloadStatusV1{Status: engine.INVALID, LatestValidHash: &hash, ValidationError: &why}
	client := n.EngineClient()
	defer client.Close()

	data := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload
	var status engine.PayloadStatusV1
	if err := client.Call(&status, "engine_newPayloadV4", data, []common.Hash{}, common.Hash{}, []hexutil.Bytes{}); err != nil {
		t.Fatal(err)
	}
	if status.Status != engine.INVALID || *status.LatestValidHash != hash || *status.ValidationError != why {
		t.Errorf("%+v", status)
	}
	if len(n.engine.blocks) != 1 || n.engine.blocks[0].Hash() != hash {
		t.Errorf("the importer got %v", n.engine.blocks)
	}
	n.engine.status, n.engine.err = engine.PayloadStatusV1{}, engine.InvalidForkChoiceState.With(errInjected)
	var choice engine.ForkChoiceResponse
	err := client.Call(&choice, "engine_forkchoiceUpdatedV3", engine.ForkchoiceStateV1{HeadBlockHash: hash}, nil)
	var coded gethrpc.Error
	if !errors.As(err, &coded) || coded.ErrorCode() != -38002 {
		t.Errorf("%v", err)
	}
	// A head and attributes: the head is taken, nothing is built.
	genesis := n.chain.Genesis().Hash()
	n.engine.status, n.engine.err = engine.PayloadStatusV1{Status: engine.VALID, LatestValidHash: &genesis}, nil
	for timestamp, want := range map[string]int{"0x2335": 0, "0x2328": -38003} {
		attributes := object{"timestamp": timestamp, "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{}, "parentBeaconBlockRoot": common.Hash{}}
		var raw json.RawMessage
		err := client.Call(&raw, "engine_forkchoiceUpdatedV3", engine.ForkchoiceStateV1{HeadBlockHash: genesis}, attributes)
		if want != 0 {
			if !errors.As(err, &coded) || coded.ErrorCode() != want {
				t.Errorf("%s: %v", timestamp, err)
			}
		} else if err != nil || !strings.HasSuffix(string(raw), `"payloadId":null}`) || !strings.Contains(string(raw), engine.VALID) {
			t.Errorf("%s: %s, %v", timestamp, raw, err)
		}
	}
	var methods []string
	if err := client.Call(&methods, "engine_exchangeCapabilities", []string{}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"engine_newPayloadV5", "engine_forkchoiceUpdatedV4", "engine_getPayloadBodiesByRangeV2", "engine_getClientVersionV1", "engine_getPayloadV6"} {
		if !slices.Contains(methods, method) {
			t.Errorf("%s is not among %v", method, methods)
		}
	}
	var version []engine.ClientVersionV1
	if err := client.Call(&version, "engine_getClientVersionV1", engine.ClientVersionV1{}); err != nil || version[0].Code != "SB" || version[0].Commit != "0x00000000" {
		t.Errorf("%v, %v", version, err)
	}
}
