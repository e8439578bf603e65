// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"
)

// Config has the endpoints and the limits of requests. Zero limits mean go-ethereum's defaults, unless
// noted otherwise.
type Config struct {
	HTTP HTTP
	WS   WS
	Auth Auth
	IPC  string // path of the socket, mode 0600; empty: none

	Timeouts   gethrpc.HTTPTimeouts // zero: geth's defaults
	BatchItems int                  // requests per batch; zero: 1000
	BatchBytes int                  // bytes of all responses to one batch; zero: 25 MB
	BodyBytes  int                  // bytes of one HTTP request; zero: 5 MB

	GasCap        uint64        // gas of one eth_call or eth_estimateGas; zero: no cap
	EVMTimeout    time.Duration // one state query, including fetches of missing state; zero: none
	StateQueries  int           // concurrent state queries; zero: 16
	ResponseBytes int           // bytes of JSON in the response of a simulation or trace; zero: 100 MB
	TxFeeCap      float64       // ether that a sent transaction may cost in fees; zero: no cap
	Unprotected   bool          // whether transactions without a chain ID (EIP-155) are taken
	ReceiptWait   ReceiptWait
	MinTip        uint64 // wei per gas: lowest tip that the pool accepts, and lowest that is suggested

	Traces        Traces
	Fetches       Fetches
	Logs          Logs
	Subscriptions Subscriptions

	Identity   Identity
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are not exported
}

// HTTP is the plain JSON-RPC endpoint.
type HTTP struct {
	Enabled bool
	Host    string
	Port    int
	Modules []string // namespaces; empty: net, web3
	CORS    []string // allowed origins; empty: no CORS headers
	VHosts  []string // allowed Host headers in addition to IP addresses; "*" allows all
	Prefix  string   // path below which requests are served; empty: only "/"
}

// WS is the WebSocket endpoint. It shares the HTTP one if host and port are equal.
type WS struct {
	Enabled bool
	Host    string
	Port    int
	Modules []string // namespaces; empty: net, web3
	Origins []string // allowed Origin headers
	Prefix  string
}

// Auth is the Engine API endpoint, HTTP and WebSocket on one port.
type Auth struct {
	Enabled bool
	Host    string
	Port    int
	VHosts  []string
	JWTFile string // 32 bytes in hex; created with mode 0600 if absent
}

// ReceiptWait is how long eth_sendRawTransactionSync waits.
type ReceiptWait struct {
	Default time.Duration // if the caller does not say; zero: 20 s
	Max     time.Duration // zero: a minute
}

// Traces are the limits of traces.
type Traces struct {
	Concurrent int           // zero: 4
	Timeout    time.Duration // of one request, including fetches of missing state; zero: none
}

// Fetches are the limits of the state that calls make the node fetch from peers. A node that has the whole state fetches none.
type Fetches struct {
	Call   FetchCap // of one call, or one request of a batch
	Caller FetchCap // of all calls from one address within a minute; over IPC there is none
}

// FetchCap is how much state may be fetched. Zero: no cap.
type FetchCap struct {
	Items uint64 // trie nodes and codes
	Bytes uint64
}

// Logs are the limits of queries for logs.
type Logs struct {
	Selectors int    // addresses, or topics in one position; zero: no cap
	Range     uint64 // distance from the first to the last block; zero: no cap
	Results   int    // logs in one response; zero: 20,000
	Bytes     int    // JSON of the logs in one response; zero: 50 MB
}

// Subscriptions are the limits of what clients keep open. A subscription or filter with more than a hundred
// addresses and topics counts as several.
type Subscriptions struct {
	PerConnection int // subscriptions of one connection; zero: 1024
	Total         int // subscriptions of all connections; zero: 10,000
	Filters       int // filters of all clients; zero: 10,000
}

// Identity is the name, the version and the network of the node.
type Identity struct {
	Name      string // client name and version, for web3_clientVersion
	Client    string // client name without version, for engine_getClientVersionV1
	Code      string // two letters, for engine_getClientVersionV1
	Version   string
	Commit    string // hex of the git commit, at least 4 bytes if known
	NetworkID uint64
	DataDir   string
}

// Default ports, limits and timeouts of go-ethereum (node/defaults.go, eth/ethconfig/config.go).
const (
	DefaultHTTPPort   = 8545
	DefaultWSPort     = 8546
	DefaultAuthPort   = 8551
	DefaultGasCap     = 50_000_000
	DefaultEVMTimeout = 5 * time.Second

	defaultStateQueries = 16
	defaultTraces       = 4
	defaultBatchItems   = 1000
	defaultBatchBytes   = 25 * 1000 * 1000
	defaultBodyBytes    = 5 * 1024 * 1024

	defaultResponseBytes = 100 * 1000 * 1000

	defaultLogResults    = 20_000
	defaultLogBytes      = 50 * 1000 * 1000
	defaultPerConnection = 1024
	defaultTotal         = 10_000

	// Limits of the authenticated endpoint; not configurable, as in geth.
	authBatchItems = 2000
	authBatchBytes = 250 * 1000 * 1000
	authBodyBytes  = 128 * 1024 * 1024
)

// withDefaults replaces zero values by defaults.
func (c Config) withDefaults() Config {
	if c.Timeouts == (gethrpc.HTTPTimeouts{}) {
		c.Timeouts = gethrpc.DefaultHTTPTimeouts
	}
	c.BatchItems = cmp.Or(c.BatchItems, defaultBatchItems)
	c.BatchBytes = cmp.Or(c.BatchBytes, defaultBatchBytes)
	c.BodyBytes = cmp.Or(c.BodyBytes, defaultBodyBytes)
	c.ResponseBytes = cmp.Or(c.ResponseBytes, defaultResponseBytes)
	c.Logs.Results = cmp.Or(c.Logs.Results, defaultLogResults)
	c.Logs.Bytes = cmp.Or(c.Logs.Bytes, defaultLogBytes)
	c.Subscriptions.PerConnection = cmp.Or(c.Subscriptions.PerConnection, defaultPerConnection)
	c.Subscriptions.Total = cmp.Or(c.Subscriptions.Total, defaultTotal)
	c.Subscriptions.Filters = cmp.Or(c.Subscriptions.Filters, defaultTotal)
	if c.Traces.Concurrent <= 0 {
		c.Traces.Concurrent = defaultTraces
	}
	c.ReceiptWait.Default = cmp.Or(c.ReceiptWait.Default, defaultReceiptWait)
	c.ReceiptWait.Max = cmp.Or(c.ReceiptWait.Max, maxReceiptWait)
	if c.StateQueries <= 0 {
		c.StateQueries = defaultStateQueries
	}
	if len(c.HTTP.Modules) == 0 {
		c.HTTP.Modules = []string{"net", "web3"}
	}
	if len(c.WS.Modules) == 0 {
		c.WS.Modules = []string{"net", "web3"}
	}
	if c.Identity.Client == "" {
		c.Identity.Client = "Sunbeam"
	}
	if c.Identity.Code == "" {
		c.Identity.Code = "SB"
	}
	if c.Identity.Name == "" {
		c.Identity.Name = c.Identity.Client + "/" + c.Identity.Version
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// check returns an error that names the wrong flag, nil if there is none.
func (c Config) check(namespaces []string) error {
	if c.HTTP.Enabled {
		if err := checkModules("--http.api", c.HTTP.Modules, namespaces); err != nil {
			return err
		}
		if err := checkPrefix("--http.rpcprefix", c.HTTP.Prefix); err != nil {
			return err
		}
	}
	if c.WS.Enabled {
		if err := checkModules("--ws.api", c.WS.Modules, namespaces); err != nil {
			return err
		}
		if err := checkPrefix("--ws.rpcprefix", c.WS.Prefix); err != nil {
			return err
		}
	}
	if c.HTTP.Enabled && c.WS.Enabled && c.HTTP.Port == c.WS.Port && c.HTTP.Port != 0 && c.HTTP.Host != c.WS.Host {
		return fmt.Errorf("--ws.addr %q differs from --http.addr %q, but --ws.port and --http.port are both %d",
			c.WS.Host, c.HTTP.Host, c.WS.Port)
	}
	return nil
}

// checkModules refuses namespaces that do not exist, and the engine namespace, which is
// served on the authenticated endpoint only.
func checkModules(flag string, modules, namespaces []string) error {
	for _, module := range modules {
		switch {
		case module == gethrpc.EngineApi:
			return fmt.Errorf("%s: module %q is served on the authenticated endpoint only", flag, module)
		case module != gethrpc.MetadataApi && !slices.Contains(namespaces, module):
			return fmt.Errorf("%s: unknown module %q (have %s)", flag, module, strings.Join(namespaces, ", "))
		}
	}
	return nil
}

func checkPrefix(flag, prefix string) error {
	switch {
	case prefix == "":
		return nil
	case prefix[0] != '/':
		return fmt.Errorf("%s: %q does not begin with %q", flag, prefix, "/")
	case strings.ContainsAny(prefix, "?#"):
		return fmt.Errorf("%s: %q contains one of %q", flag, prefix, "?#")
	}
	return nil
}
