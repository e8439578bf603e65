// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	gethhistory "github.com/ethereum/go-ethereum/core/history"
)

// Config is everything that a user can choose. Its field names are the keys of the
// TOML file.
type Config struct {
	DataDir   string // absolute path
	Network   string // mainnet, sepolia, hoodi; empty: that of the datadir, else mainnet
	Genesis   string // genesis JSON file of a network of one's own; empty: Network's
	NetworkID uint64 // zero: the chain ID

	Override Override

	P2P     P2P
	HTTP    HTTP
	WS      WS
	IPC     IPC
	Engine  Engine
	RPC     RPC
	Beacon  Beacon
	Beam    Beam
	History History
	Pool    Pool
	Miner   Miner
	Store   Store
	Metrics Metrics
	Page    Page
	Log     Log
}

// Override has activation times of forks, in seconds since 1970, that replace those of the network. Empty: the network's.
type Override struct {
	Osaka, BPO1, BPO2, Amsterdam, UBT string
}

// P2P is the devp2p side.
type P2P struct {
	Port            uint16 // TCP
	DiscoveryPort   uint16 // UDP; zero: the same as Port
	NoDiscovery     bool   // neither v4, v5 nor DNS lists
	DiscoveryV4     bool
	DiscoveryV5     bool
	Bootnodes       []string // enode or enr URLs; nil: the network's, empty: none
	StaticNodes     []string // enode URLs to keep a connection to
	DNS             []string // enrtree URLs; nil: the network's, empty: none
	NodeKey         string   // file; empty: NodeKeyHex, or <datadir>/geth/nodekey
	NodeKeyHex      string
	NAT             string
	NetRestrict     []string // CIDR masks; empty: everybody
	MaxPeers        int
	MaxPendingPeers int    // handshakes at once, in each direction; zero: go-ethereum's default
	Identity        string // goes into the client name
}

// HTTP is the plain JSON-RPC server.
type HTTP struct {
	Enabled    bool
	Addr       string
	Port       uint16
	API        []string // namespaces
	CORSDomain []string
	VHosts     []string
	PathPrefix string
}

// WS is the JSON-RPC server over WebSocket. It shares HTTP's port if both are the same.
type WS struct {
	Enabled    bool
	Addr       string
	Port       uint16
	API        []string // namespaces
	Origins    []string
	PathPrefix string
}

// IPC is the JSON-RPC server on a Unix socket.
type IPC struct {
	Disabled bool
	Path     string // a bare name is inside the datadir
}

// Engine is the authenticated server for the consensus client (geth's authrpc).
type Engine struct {
	Addr      string
	Port      uint16
	VHosts    []string
	JWTSecret string // file; empty: <datadir>/geth/jwtsecret
}

// RPC limits what one request may cost.
type RPC struct {
	GasCap               uint64        // zero: no cap
	EVMTimeout           time.Duration // zero: none
	TraceTimeout         time.Duration // zero: none
	MaxTraces            int           // at once, at least 1
	ResponseMaxSize      int           // bytes of a simulation or trace, at least 1
	FetchCap             uint64        // trie nodes and codes that a call may make the node fetch; zero: no cap
	FetchCapBytes        uint64        // the same in bytes
	CallerFetchCap       uint64        // the same for all calls of one address in a minute
	CallerFetchCapBytes  uint64
	TxFeeCap             float64       // ether that a sent transaction may cost in fees; zero: no cap
	UnprotectedTxs       bool          // take transactions without a chain ID
	SyncDefaultTimeout   time.Duration // that eth_sendRawTransactionSync waits
	SyncMaxTimeout       time.Duration // that it waits at most, whatever the caller wants
	BatchRequestLimit    int           // at least 1
	BatchResponseMaxSize int           // bytes, at least 1
	HTTPBodyLimit        int           // megabytes of a request, at least 1

	LogQueryLimit       int    // addresses, or topics in one position, of a query for logs; zero: no cap
	RangeLimit          uint64 // distance from the first to the last block of a query for logs; zero: no cap
	MaxLogsPerResponse  int    // at least 1
	LogsResponseMaxSize int    // bytes, at least 1

	// What clients keep open; at least 1 each.
	MaxSubscriptionsPerConnection int
	MaxSubscriptions              int
	MaxFilters                    int
}

// Beacon is the embedded light client; it runs if API is not empty.
type Beacon struct {
	API                   []string // beacon node URLs
	Headers               []string // "key:value", sent with every request
	Checkpoint            string   // block root; empty: the file's, else the one built in
	CheckpointFile        string   // read at start, written as the chain finalizes
	Threshold             int      // signers of a sync committee that make a header believed
	NoFilter              bool     // accept signatures of future slots
	ChainConfig           string   // config.yaml of a network of one's own
	GenesisValidatorsRoot string
	GenesisTime           uint64 // seconds since 1970
}

// Beam is what only a beaming node has.
type Beam struct {
	MaxLag       int  // blocks behind the head from which on the importer pivots
	HotSizeMB    int  // disk space for state proved on demand
	Backfill     bool // collect the rest of the state in the background
	BackfillRate int  // kilobytes (1000 bytes) per second; zero: no limit
	WarmupMB     int  // how much state to fetch because recent blocks used it; zero: none
}

// History is how much of the past is collected.
type History struct {
	Chain        string // all, postmerge, postprague, postosaka, rolling, a number of blocks counted from the head, or the first block as number:hash
	Logs         uint64 // newest blocks in the log index; zero: all
	LogsDisabled bool   // there is no log index
}

// rollingBlocks is the window of blocks that all clients are going to keep: 33,024 epochs, which is
// MIN_EPOCHS_FOR_BLOCK_REQUESTS of the consensus specification.
const rollingBlocks = 33_024 * 32

// Wanted is History.Chain of a checked configuration: how many blocks, and the name of the fork from which on they are
// wanted, empty for none.
func (h History) Wanted() (blocks uint64, fork string) {
	switch h.Chain {
	case HistoryAll:
		return math.MaxUint64, ""
	case HistoryPostMerge, HistoryPostPrague, HistoryPostOsaka:
		return math.MaxUint64, h.Chain
	case HistoryRolling:
		return rollingBlocks, ""
	}
	if _, ok := h.FirstBlock(); ok {
		return math.MaxUint64, ""
	}
	blocks, _ = strconv.ParseUint(h.Chain, 10, 64)
	return blocks, ""
}

// FirstBlock is the block from which on blocks are wanted, if History.Chain names one.
func (h History) FirstBlock() (first gethhistory.PrunePoint, ok bool) {
	if !strings.Contains(h.Chain, ":") {
		return first, false
	}
	point, err := gethhistory.ParsePrunePoint(h.Chain)
	if err != nil {
		return first, false // checked before
	}
	return *point, true
}

// Pool configures the transaction pool.
type Pool struct {
	PriceLimit  uint64 // wei: lowest tip per gas
	PriceBump   uint64 // percent that a replacement must pay more
	GlobalSlots uint64 // executable transactions, in slots of 32 KiB
	GlobalQueue uint64 // those that wait for others
	BlobDataCap uint64 // bytes of disk for transactions with blobs

	AccountSlots uint64        // executable transactions that an account may have in any case, in slots
	AccountQueue uint64        // transactions of an account that wait for others
	Lifetime     time.Duration // of these
	BlobDir      string        // of transactions with blobs, inside InstanceDir unless it is absolute

	NoLocals  bool          // forget users' transactions that the pool drops
	Journal   string        // file of users' transactions, inside InstanceDir unless it is a path; empty: none
	Rejournal time.Duration // how often the journal is written anew
}

// Miner is for blocks that are built for a validator.
type Miner struct {
	GasPrice  uint64        // wei: lowest tip per gas of a transaction
	GasLimit  uint64        // gas limit that blocks move to, unless the consensus client names one
	ExtraData string        // of the header; empty: name and version of the node
	Recommit  time.Duration // from one version of a block to the next
	MaxBlobs  int           // blobs in a block; zero: as many as the fork allows
}

// Store is the database and the memory in front of it.
type Store struct {
	Engine  string // leveldb or pebble; empty: that of the datadir, else leveldb
	CacheMB int    // memory of all caches together

	MemoryLimitMB int // that the garbage collector keeps to; zero: it follows from CacheMB
	GOGC          int // percent, negative for off; zero: Go's default
	MinFreeDiskMB int // free disk space below which the node stops; zero: it does not
}

// Metrics is the Prometheus endpoint.
type Metrics struct {
	Enabled bool
	Addr    string
	Port    uint16
	Pprof   bool // also serve Go's profiles
}

// Page is the status page.
type Page struct {
	Enabled bool
	Addr    string
	Port    uint16
	VHosts  []string
}

// Log is what the node says about itself.
type Log struct {
	Verbosity int    // 0 silent, 1 error, 2 warn, 3 info, 4 debug, 5 trace
	Format    string // terminal, logfmt or json
	File      string // also write there

	Rotate     bool     // rename File when it is full, and begin another one
	MaxSizeMB  int      // of File
	MaxBackups int      // renamed files that are kept; zero: all
	MaxAgeDays int      // of renamed files; zero: no limit
	Compress   bool     // renamed files
	VModule    []string // pattern=level, for parts of the source
}

// Default returns the settings of a node without any configuration. They are geth's where
// geth has the setting, but for paths, the engine, how much history is kept, and the cache: geth reserves 1-4 GB for a state that this
// node does not have while it is beaming.
func Default() *Config {
	return &Config{
		DataDir: defaultDataDir("sunbeam"),
		P2P:     P2P{Port: 30303, DiscoveryV4: true, DiscoveryV5: true, NAT: "any", MaxPeers: 50},
		HTTP: HTTP{
			Addr: "localhost", Port: 8545, API: []string{"net", "web3", "eth"},
			VHosts: []string{"localhost"},
		},
		WS:     WS{Addr: "localhost", Port: 8546, API: []string{"net", "web3", "eth"}},
		IPC:    IPC{Path: "sunbeam.ipc"},
		Engine: Engine{Addr: "localhost", Port: 8551, VHosts: []string{"localhost"}},
		RPC: RPC{
			GasCap: 50_000_000, EVMTimeout: 5 * time.Second, TxFeeCap: 1,
			SyncDefaultTimeout: 20 * time.Second, SyncMaxTimeout: time.Minute,
			TraceTimeout: time.Minute, MaxTraces: 4, ResponseMaxSize: 100_000_000,
			FetchCap: 100_000, FetchCapBytes: 64_000_000, CallerFetchCap: 500_000, CallerFetchCapBytes: 320_000_000,
			BatchRequestLimit: 1000, BatchResponseMaxSize: 25_000_000, HTTPBodyLimit: 5,
			LogQueryLimit: 1000, MaxLogsPerResponse: 20_000, LogsResponseMaxSize: 50_000_000,
			MaxSubscriptionsPerConnection: 1024, MaxSubscriptions: 10_000, MaxFilters: 10_000,
		},
		Beacon:  Beacon{Threshold: 342}, // two thirds of 512
		Beam:    Beam{MaxLag: 30, HotSizeMB: 4096, Backfill: true, WarmupMB: 128},
		History: History{Chain: "90000", Logs: 2_350_000},
		Pool:    Pool{PriceLimit: 1, PriceBump: 10, GlobalSlots: 5120, GlobalQueue: 1024, BlobDataCap: 2560 << 20, AccountSlots: 16, AccountQueue: 64, Lifetime: 3 * time.Hour, BlobDir: "blobpool", Journal: "transactions.rlp", Rejournal: time.Hour},
		Miner:   Miner{GasPrice: 1_000_000, GasLimit: 60_000_000, Recommit: 2 * time.Second},
		Store:   Store{CacheMB: 512, MinFreeDiskMB: 512},
		Metrics: Metrics{Addr: "127.0.0.1", Port: 6060},
		Log:     Log{Verbosity: 3, Format: "terminal", MaxSizeMB: 100, MaxBackups: 10, MaxAgeDays: 30},
		Page:    Page{Addr: "localhost", Port: 8580, VHosts: []string{"localhost"}},
	}
}

// defaultDataDir follows each platform's habit, as geth does.
func defaultDataDir(name string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return "" // --datadir is then required; its check says so
	}
	title := strings.ToUpper(name[:1]) + name[1:]
	switch runtime.GOOS {
	case "darwin":
		return filepath.Join(home, "Library", title)
	case "windows":
		return filepath.Join(home, "AppData", "Local", title)
	}
	return filepath.Join(home, "."+name)
}

// InstanceDir is where keys, databases and the lock are: geth's layout.
func (c *Config) InstanceDir() string { return filepath.Join(c.DataDir, "geth") }

// NodeKeyFile is the file that the node key is read from, or kept in if none was given.
func (c *Config) NodeKeyFile() string {
	if c.P2P.NodeKey != "" {
		return c.P2P.NodeKey
	}
	return filepath.Join(c.InstanceDir(), "nodekey")
}

// PoolJournal is the file of users' transactions, empty for none.
func (c *Config) PoolJournal() string {
	if journal := c.Pool.Journal; journal == "" || filepath.Base(journal) != journal {
		return journal
	}
	return filepath.Join(c.InstanceDir(), c.Pool.Journal)
}

// BlobDir is the directory of the transactions with blobs.
func (c *Config) BlobDir() string {
	if filepath.IsAbs(c.Pool.BlobDir) {
		return c.Pool.BlobDir
	}
	return filepath.Join(c.InstanceDir(), c.Pool.BlobDir)
}

// JWTFile is the file of the secret shared with the consensus client.
func (c *Config) JWTFile() string {
	if c.Engine.JWTSecret != "" {
		return c.Engine.JWTSecret
	}
	return filepath.Join(c.InstanceDir(), "jwtsecret")
}

// IPCEndpoint is the path of the socket, empty if there is none.
func (c *Config) IPCEndpoint() string {
	if c.IPC.Disabled || c.IPC.Path == "" {
		return ""
	}
	if filepath.Base(c.IPC.Path) == c.IPC.Path {
		return filepath.Join(c.DataDir, c.IPC.Path)
	}
	return c.IPC.Path
}

// Sockets are the paths at which the socket of a node on this datadir may be, whatever its program is called.
func (c *Config) Sockets() []string {
	var paths []string
	for _, path := range []string{c.IPCEndpoint(), filepath.Join(c.DataDir, "sunbeam.ipc"), filepath.Join(c.DataDir, "geth.ipc")} {
		if path != "" && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}
