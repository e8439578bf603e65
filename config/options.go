// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"math"
	"strings"
)

// option is one setting.
type option struct {
	flag     string             // command line name; the environment's name follows from it
	alias    string             // second name, empty for none
	key      string             // field of Config, which is also the key in the TOML file
	usage    string             // help text
	check    func(string) error // of the text, or of each element of a list; nil: the type says it all
	category string
	secret   bool // the value is never shown
}

// env is the name of the option's environment variable.
func (o *option) env() string { return variable(ownPrefix, o.flag) }

// Prefixes of environment variables.
const (
	ownPrefix  = "SUNBEAM_"
	gethPrefix = "GETH_"
)

// variable is the name of a flag's environment variable.
func variable(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flag))
}

// networks are the chains with a flag of their own: --sepolia is --network sepolia.
var networks = []string{"mainnet", "sepolia", "hoodi"} //nolint:gochecknoglobals // never written

// Categories of the help text.
const (
	catNode    = "NODE"
	catNet     = "NETWORKING"
	catAPI     = "API"
	catBeacon  = "BEACON LIGHT CLIENT"
	catBeam    = "BEAM SYNC"
	catPool    = "TRANSACTION POOL"
	catMiner   = "BLOCK BUILDING"
	catMetrics = "METRICS AND LOGGING"
)

// options is the table. Help text and dumpconfig keep its order.
var options = []option{ //nolint:gochecknoglobals // never written
	{flag: "datadir", key: "DataDir", usage: "Data directory for the databases and keys", check: directory, category: catNode},
	{flag: "network", key: "Network", usage: "Network to join: mainnet, sepolia or hoodi (default: what the datadir holds, or mainnet)", check: oneOf(append(networks, "")...), category: catNode},
	{flag: "datadir.minfreedisk", key: "Store.MinFreeDiskMB", usage: "Megabytes of free disk space below which the node stops (0 is never)", check: between(0, 1<<40>>20), category: catNode},
	{flag: "override.genesis", key: "Genesis", usage: "Load the genesis block and chain configuration from this JSON file", check: genesisFile, category: catNode},
	{flag: "override.osaka", key: "Override.Osaka", usage: "Activation time of the Osaka fork, instead of the network's", check: unixTime, category: catNode},
	{flag: "override.bpo1", key: "Override.BPO1", usage: "Activation time of the BPO1 fork, instead of the network's", check: unixTime, category: catNode},
	{flag: "override.bpo2", key: "Override.BPO2", usage: "Activation time of the BPO2 fork, instead of the network's", check: unixTime, category: catNode},
	{flag: "override.amsterdam", key: "Override.Amsterdam", usage: "Activation time of the Amsterdam fork, instead of the network's", check: unixTime, category: catNode},
	{flag: "override.ubt", key: "Override.UBT", usage: "Activation time of the UBT fork, instead of the network's", check: unixTime, category: catNode},
	{flag: "networkid", key: "NetworkID", usage: "Network ID of the handshake (default: the chain ID)", category: catNode},
	{flag: "cache", key: "Store.CacheMB", usage: "Megabytes of memory for all caches together", check: between(16, 1<<20), category: catNode},
	{flag: "memorylimit", key: "Store.MemoryLimitMB", usage: "Megabytes that the garbage collector keeps the process below (0 is one and a half times --cache and 768)", check: between(0, 1<<30), category: catNode},
	{flag: "gogc", key: "Store.GOGC", usage: "Percent by which the heap grows before garbage is collected (0 is as GOGC says, or 100; negative is off)", category: catNode},
	{flag: "db.engine", key: "Store.Engine", usage: "Database engine of a new datadir: leveldb or pebble (default: what the datadir holds, or leveldb)", check: oneOf("leveldb", "pebble", ""), category: catNode},

	{flag: "port", key: "P2P.Port", usage: "TCP port for devp2p", category: catNet},
	{flag: "discovery.port", key: "P2P.DiscoveryPort", usage: "UDP port for discovery (default: the TCP port)", category: catNet},
	{flag: "nodiscover", key: "P2P.NoDiscovery", usage: "Look for no peers: only static and incoming ones", category: catNet},
	{flag: "discovery.v4", alias: "discv4", key: "P2P.DiscoveryV4", usage: "Look for peers by discovery v4", category: catNet},
	{flag: "discovery.v5", alias: "discv5", key: "P2P.DiscoveryV5", usage: "Look for peers by discovery v5", category: catNet},
	{flag: "discovery.dns", key: "P2P.DNS", usage: `DNS discovery lists ("" for none; default: the network's)`, check: enrtreeURL, category: catNet},
	{flag: "bootnodes", key: "P2P.Bootnodes", usage: `Enode or ENR URLs to start discovery from ("" for none; default: the network's)`, check: nodeURL, category: catNet},
	{flag: "peers", key: "P2P.StaticNodes", usage: "Enode URLs of peers to stay connected to", check: staticURL, category: catNet},
	{flag: "nodekey", key: "P2P.NodeKey", usage: "Node key file (default: <datadir>/geth/nodekey, made if absent)", check: keyFile, category: catNet},
	{flag: "nodekeyhex", key: "P2P.NodeKeyHex", usage: "Node key as hex (for testing)", check: keyHex, category: catNet, secret: true},
	{flag: "nat", key: "P2P.NAT", usage: "NAT port mapping (any|none|upnp|pmp|pmp:<IP>|extip:<IP>|stun:<IP:PORT>)", check: natSpec, category: catNet},
	{flag: "netrestrict", key: "P2P.NetRestrict", usage: "Talk only to these IP networks (CIDR masks)", check: cidr, category: catNet},
	{flag: "maxpeers", key: "P2P.MaxPeers", usage: "Maximum number of peers", check: between(0, 10_000), category: catNet},
	{flag: "maxpendpeers", key: "P2P.MaxPendingPeers", usage: "Handshakes at once, in each direction (0 is 50)", check: between(0, 10_000), category: catNet},
	{flag: "identity", key: "P2P.Identity", usage: "Custom part of the client name", check: identity, category: catNet},

	{flag: "http", key: "HTTP.Enabled", usage: "Enable the HTTP-RPC server", category: catAPI},
	{flag: "http.addr", key: "HTTP.Addr", usage: "HTTP-RPC server listening interface", check: host, category: catAPI},
	{flag: "http.port", key: "HTTP.Port", usage: "HTTP-RPC server listening port", category: catAPI},
	{flag: "http.api", key: "HTTP.API", usage: "Namespaces offered over HTTP-RPC", check: namespace, category: catAPI},
	{flag: "http.corsdomain", key: "HTTP.CORSDomain", usage: "Domains from which to accept cross-origin requests", category: catAPI},
	{flag: "http.vhosts", key: "HTTP.VHosts", usage: "Host names from which to accept requests; * is any", category: catAPI},
	{flag: "http.rpcprefix", key: "HTTP.PathPrefix", usage: "HTTP path of JSON-RPC; / is every path", check: pathPrefix, category: catAPI},
	{flag: "ws", key: "WS.Enabled", usage: "Enable the WS-RPC server", category: catAPI},
	{flag: "ws.addr", key: "WS.Addr", usage: "WS-RPC server listening interface", check: host, category: catAPI},
	{flag: "ws.port", key: "WS.Port", usage: "WS-RPC server listening port", category: catAPI},
	{flag: "ws.api", key: "WS.API", usage: "Namespaces offered over WS-RPC", check: namespace, category: catAPI},
	{flag: "ws.origins", key: "WS.Origins", usage: "Origins from which to accept WebSocket requests", category: catAPI},
	{flag: "ws.rpcprefix", key: "WS.PathPrefix", usage: "HTTP path of WebSocket JSON-RPC; / is every path", check: pathPrefix, category: catAPI},
	{flag: "ipcdisable", key: "IPC.Disabled", usage: "Disable the IPC-RPC server", category: catAPI},
	{flag: "ipcpath", key: "IPC.Path", usage: "Socket of the IPC-RPC server, inside the datadir unless it is a path", category: catAPI},
	{flag: "authrpc.addr", key: "Engine.Addr", usage: "Listening interface of the authenticated server for the consensus client", check: host, category: catAPI},
	{flag: "authrpc.port", key: "Engine.Port", usage: "Listening port of the authenticated server", category: catAPI},
	{flag: "authrpc.vhosts", key: "Engine.VHosts", usage: "Host names from which to accept authenticated requests; * is any", category: catAPI},
	{flag: "authrpc.jwtsecret", key: "Engine.JWTSecret", usage: "File of the JWT secret (default: <datadir>/geth/jwtsecret; made if absent)", check: jwtFile, category: catAPI},
	{flag: "rpc.gascap", key: "RPC.GasCap", usage: "Gas that eth_call, eth_estimateGas and all calls of eth_simulateV1 may use (0 is no cap)", category: catAPI},
	{flag: "rpc.evmtimeout", key: "RPC.EVMTimeout", usage: "Time that eth_call may take (0 is no limit)", category: catAPI},
	{flag: "rpc.tracetimeout", key: "RPC.TraceTimeout", usage: "Time that a debug_trace or trace request may take (0 is no limit)", category: catAPI},
	{flag: "rpc.max-traces", key: "RPC.MaxTraces", usage: "Traces and simulations that run at once", check: between(1, 1<<20), category: catAPI},
	{flag: "rpc.response-max-size", key: "RPC.ResponseMaxSize", usage: "Bytes that the answer to a simulation or trace may have", check: between(1, 1<<40), category: catAPI},
	{flag: "rpc.fetchcap", key: "RPC.FetchCap", usage: "Trie nodes and codes that a call may make the node fetch from peers (0 is no cap)", category: catAPI},
	{flag: "rpc.fetchcap.bytes", key: "RPC.FetchCapBytes", usage: "Bytes of state that a call may make the node fetch from peers (0 is no cap)", category: catAPI},
	{flag: "rpc.fetchcap.caller", key: "RPC.CallerFetchCap", usage: "Trie nodes and codes that all calls from one address may make the node fetch in a minute (0 is no cap)", category: catAPI},
	{flag: "rpc.fetchcap.callerbytes", key: "RPC.CallerFetchCapBytes", usage: "Bytes of state that all calls from one address may make the node fetch in a minute (0 is no cap)", category: catAPI},
	{flag: "rpc.txfeecap", key: "RPC.TxFeeCap", usage: "Ether that a transaction sent over JSON-RPC may cost in fees (0 is no cap)", check: ether, category: catAPI},
	{flag: "rpc.allow-unprotected-txs", key: "RPC.UnprotectedTxs", usage: "Take transactions without a chain ID (EIP-155) over JSON-RPC", category: catAPI},
	{flag: "rpc.txsync.defaulttimeout", key: "RPC.SyncDefaultTimeout", usage: "Time that eth_sendRawTransactionSync waits if the caller does not say", check: positiveDuration, category: catAPI},
	{flag: "rpc.txsync.maxtimeout", key: "RPC.SyncMaxTimeout", usage: "Time that eth_sendRawTransactionSync waits at most", check: positiveDuration, category: catAPI},
	{flag: "rpc.batch-request-limit", key: "RPC.BatchRequestLimit", usage: "Requests in a batch", check: between(1, 1<<30), category: catAPI},
	{flag: "rpc.batch-response-max-size", key: "RPC.BatchResponseMaxSize", usage: "Bytes that the answers to a batch may have", check: between(1, 1<<40), category: catAPI},
	{flag: "rpc.http-body-limit", key: "RPC.HTTPBodyLimit", usage: "Megabytes (1024 * 1024 bytes) of an HTTP request", check: between(1, 1<<20), category: catAPI},
	{flag: "rpc.logquerylimit", key: "RPC.LogQueryLimit", usage: "Addresses, or topics in one position, that a query for logs may have (0 is no cap)", check: between(0, 1<<30), category: catAPI},
	{flag: "rpc.rangelimit", key: "RPC.RangeLimit", usage: "Blocks between the first and the last of a query for logs (0 is no cap)", category: catAPI},
	{flag: "rpc.max-logs-per-response", key: "RPC.MaxLogsPerResponse", usage: "Logs of several blocks that one response may have", check: between(1, 1<<30), category: catAPI},
	{flag: "rpc.logs-response-max-size", key: "RPC.LogsResponseMaxSize", usage: "Bytes that the logs of several blocks in one response may have", check: between(1, 1<<40), category: catAPI},
	{flag: "rpc.max-subscriptions-per-connection", key: "RPC.MaxSubscriptionsPerConnection", usage: "Subscriptions of one connection; one with more than a hundred addresses and topics counts as several", check: between(1, 1<<30), category: catAPI},
	{flag: "rpc.max-subscriptions", key: "RPC.MaxSubscriptions", usage: "Subscriptions of all connections; one with more than a hundred addresses and topics counts as several", check: between(1, 1<<30), category: catAPI},
	{flag: "rpc.max-filters", key: "RPC.MaxFilters", usage: "Filters of all clients that poll; one with more than a hundred addresses and topics counts as several", check: between(1, 1<<30), category: catAPI},

	{flag: "beacon.api", key: "Beacon.API", usage: "Beacon node URL: follow the head without a consensus client. Can be given several times", check: httpURL, category: catBeacon},
	{flag: "beacon.api.header", key: "Beacon.Headers", usage: `HTTP header for the beacon node, as "key:value". Can be given several times`, check: httpHeader, category: catBeacon, secret: true},
	{flag: "beacon.checkpoint", key: "Beacon.Checkpoint", usage: "Weak subjectivity checkpoint: a finalized beacon block root", check: hash32, category: catBeacon},
	{flag: "beacon.checkpoint.file", key: "Beacon.CheckpointFile", usage: "File that the checkpoint is read from and kept in", check: checkpointFile, category: catBeacon},
	{flag: "beacon.threshold", key: "Beacon.Threshold", usage: "Sync committee signers that make a header believed", check: between(1, 512), category: catBeacon},
	{flag: "beacon.nofilter", key: "Beacon.NoFilter", usage: "Accept signatures of future slots", category: catBeacon},
	{flag: "beacon.config", key: "Beacon.ChainConfig", usage: "Beacon chain config.yaml of a network of one's own", check: beaconConfig, category: catBeacon},
	{flag: "beacon.genesis.gvroot", key: "Beacon.GenesisValidatorsRoot", usage: "Genesis validators root, with --beacon.config", check: hash32, category: catBeacon},
	{flag: "beacon.genesis.time", key: "Beacon.GenesisTime", usage: "Genesis time in seconds since 1970, with --beacon.config", category: catBeacon},

	{flag: "beam.maxlag", key: "Beam.MaxLag", usage: "Blocks behind the head from which on execution skips to the head", check: between(1, 127), category: catBeam},
	{flag: "beam.hot.size", key: "Beam.HotSizeMB", usage: "Megabytes of disk for state fetched on demand", check: between(64, 1<<24), category: catBeam},
	{flag: "beam.backfill", key: "Beam.Backfill", usage: "Collect the rest of the state in the background, to become a full node", category: catBeam},
	{flag: "beam.backfill.rate", key: "Beam.BackfillRate", usage: "Kilobytes per second that the backfill may receive (0 is no limit)", check: between(0, 1<<30), category: catBeam},
	{flag: "beam.warmup.size", key: "Beam.WarmupMB", usage: "Megabytes of state to fetch after the first block because the blocks before it used it (0 is none)", check: between(0, 1<<20), category: catBeam},
	{flag: "history.chain", key: "History.Chain", usage: "Blocks and receipts to collect behind the head: all, postmerge, postprague, postosaka, rolling (33,024 epochs), a number of blocks, or the first block as NUMBER:HASH", check: historySpan, category: catBeam},
	{flag: "history.logs", key: "History.Logs", usage: "Blocks behind the head that the log index covers, if they are stored (0 is all)", category: catBeam},
	{flag: "history.logs.disable", key: "History.LogsDisabled", usage: "Keep no log index: queries for logs read all headers of their range", category: catBeam},

	{flag: "txpool.nolocals", key: "Pool.NoLocals", usage: "Do not keep transactions sent over JSON-RPC when the pool drops them or the node restarts", category: catPool},
	{flag: "txpool.journal", key: "Pool.Journal", usage: "File of the transactions sent over JSON-RPC, inside <datadir>/geth unless it is a path (\"\" for none)", check: parentExists, category: catPool},
	{flag: "txpool.rejournal", key: "Pool.Rejournal", usage: "Time after which --txpool.journal is written anew without what was mined", category: catPool},
	{flag: "txpool.pricelimit", key: "Pool.PriceLimit", usage: "Lowest tip per gas in wei that a transaction must offer", check: between(1, math.MaxInt64), category: catPool},
	{flag: "txpool.pricebump", key: "Pool.PriceBump", usage: "Percent that a transaction must pay more to replace another", check: between(1, 10_000), category: catPool},
	{flag: "txpool.globalslots", key: "Pool.GlobalSlots", usage: "Executable transactions in the pool, in slots of 32 KiB", check: between(1, 1<<20), category: catPool},
	{flag: "txpool.globalqueue", key: "Pool.GlobalQueue", usage: "Transactions in the pool that wait for others, in slots of 32 KiB", check: between(1, 1<<20), category: catPool},
	{flag: "txpool.accountslots", key: "Pool.AccountSlots", usage: "Executable transactions that an account may have in any case, in slots of 32 KiB", check: between(1, 1<<20), category: catPool},
	{flag: "txpool.accountqueue", key: "Pool.AccountQueue", usage: "Transactions of an account that wait for others, in slots of 32 KiB", check: between(1, 1<<20), category: catPool},
	{flag: "txpool.lifetime", key: "Pool.Lifetime", usage: "Time that transactions are kept that wait for others", check: positiveDuration, category: catPool},
	{flag: "blobpool.datadir", key: "Pool.BlobDir", usage: "Directory of the transactions with blobs, inside <datadir>/geth unless it is absolute", check: blobDirectory, category: catPool},
	{flag: "blobpool.datacap", key: "Pool.BlobDataCap", usage: "Bytes of disk for transactions with blobs", check: between(16<<20, 1<<44), category: catPool},

	{flag: "miner.gasprice", key: "Miner.GasPrice", usage: "Lowest tip per gas in wei of the transactions in a built block", check: between(0, math.MaxInt64), category: catMiner},
	{flag: "miner.gaslimit", key: "Miner.GasLimit", usage: "Gas limit that built blocks move to, unless the consensus client names one", check: between(5000, math.MaxInt64), category: catMiner},
	{flag: "miner.extradata", key: "Miner.ExtraData", usage: "Extra data of built blocks (default: name and version)", check: extraData, category: catMiner},
	{flag: "miner.recommit", key: "Miner.Recommit", usage: "Time from one version of a built block to the next", check: positiveDuration, category: catMiner},
	{flag: "miner.maxblobs", key: "Miner.MaxBlobs", usage: "Blobs in a built block (0 is as many as the fork allows)", check: between(0, 1<<20), category: catMiner},

	{flag: "metrics", key: "Metrics.Enabled", usage: "Enable metrics and their Prometheus endpoint", category: catMetrics},
	{flag: "metrics.addr", key: "Metrics.Addr", usage: "Metrics server listening interface", check: host, category: catMetrics},
	{flag: "metrics.port", key: "Metrics.Port", usage: "Metrics server listening port", category: catMetrics},
	{flag: "metrics.pprof", key: "Metrics.Pprof", usage: "Serve Go's profiles at /debug/pprof/ of the metrics server", category: catMetrics},
	{flag: "page", key: "Page.Enabled", usage: "Serve a status page for browsers", category: catMetrics},
	{flag: "page.addr", key: "Page.Addr", usage: "Status page listening interface", check: host, category: catMetrics},
	{flag: "page.port", key: "Page.Port", usage: "Status page listening port", category: catMetrics},
	{flag: "page.vhosts", key: "Page.VHosts", usage: "Host names from which the status page may be read, besides IP addresses (\"*\" is all)", category: catMetrics},
	{flag: "verbosity", key: "Log.Verbosity", usage: "0 silent, 1 error, 2 warn, 3 info, 4 debug, 5 trace", check: between(0, 5), category: catMetrics},
	{flag: "log.format", key: "Log.Format", usage: "terminal, logfmt or json", check: oneOf("terminal", "logfmt", "json"), category: catMetrics},
	{flag: "log.file", key: "Log.File", usage: "Write the log to this file as well", check: parentExists, category: catMetrics},
	{flag: "log.rotate", key: "Log.Rotate", usage: "Rename the log file when it is full, and begin another one", category: catMetrics},
	{flag: "log.maxsize", key: "Log.MaxSizeMB", usage: "Megabytes of a log file that is rotated", check: between(1, 1<<20), category: catMetrics},
	{flag: "log.maxbackups", key: "Log.MaxBackups", usage: "Rotated log files to keep (0 is all)", check: between(0, 1<<20), category: catMetrics},
	{flag: "log.maxage", key: "Log.MaxAgeDays", usage: "Days to keep rotated log files (0 is no limit)", check: between(0, 1<<20), category: catMetrics},
	{flag: "log.compress", key: "Log.Compress", usage: "Compress rotated log files", category: catMetrics},
	{flag: "log.vmodule", key: "Log.VModule", usage: "Verbosity of parts of the source, as pattern=level (beamsync/*=5,rpc=4)", check: vmodule, category: catMetrics},
}
