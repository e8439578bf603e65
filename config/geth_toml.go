// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gethKey is a key of geth's configuration file, which its dumpconfig writes. Such a file has nearly all keys, most of
// them with geth's defaults, so a key with its usual value asks for nothing.
type gethKey struct {
	key     string
	flag    string // flag of geth with the same meaning; empty: none
	usual   string // geth's default
	instead string // what happens if a key without a flag has another value
	becomes func(src source, g setting) error
}

// Settings of geth's file that it has no flags for.
const (
	ownTimeouts = "the endpoints have geth's default timeouts"
	ownDialing  = "go-ethereum's default share of the peers is dialed"
)

var gethKeys = []gethKey{ //nolint:gochecknoglobals // never written
	{key: "Eth.NetworkId", usual: "0", becomes: networkOfID},
	{key: "Eth.SyncMode", flag: "syncmode", usual: "snap"},
	{key: "Eth.HistoryMode", flag: "history.chain", usual: "all"},
	{key: "Eth.EthDiscoveryURLs", flag: "discovery.dns"},
	{key: "Eth.SnapDiscoveryURLs", becomes: ignoreKey},
	{key: "Eth.NoPruning", usual: "false", becomes: switchTo("gcmode", "archive")},
	{key: "Eth.NoPrefetch", flag: "cache.noprefetch", usual: "false"},
	{key: "Eth.NoPrecompileCache", flag: "cache.noprecompile", usual: "false"},
	{key: "Eth.TxLookupLimit", becomes: ignoreKey},
	{key: "Eth.TransactionHistory", flag: "history.transactions", usual: "2350000"},
	{key: "Eth.LogHistory", flag: "history.logs", usual: "2350000"},
	{key: "Eth.LogNoHistory", flag: "history.logs.disable", usual: "false"},
	{key: "Eth.LogExportCheckpoints", flag: "history.logs.export"},
	{key: "Eth.StateHistory", flag: "history.state", usual: "90000"},
	{key: "Eth.TrienodeHistory", flag: "history.trienode", usual: "-1"},
	{key: "Eth.NodeFullValueCheckpoint", flag: "history.trienode.full-value-checkpoint", usual: "8"},
	{key: "Eth.StateScheme", flag: "state.scheme"},
	{key: "Eth.BinTrieGroupDepth", flag: "bintrie.groupdepth", usual: "5"},
	{key: "Eth.SlowBlockThreshold", flag: "debug.logslowblock", usual: "-1", becomes: nanoseconds("debug.logslowblock")},
	{key: "Eth.DatabaseCache", usual: "2048", instead: oneCache},
	{key: "Eth.DatabaseFreezer", flag: "datadir.ancient"},
	{key: "Eth.DatabaseEra", flag: "datadir.era"},
	{key: "Eth.TrieCleanCache", usual: "614", instead: oneCache},
	{key: "Eth.TrieDirtyCache", usual: "1024", instead: oneCache},
	{key: "Eth.TrieTimeout", usual: "3600000000000", instead: "state is written with each block"},
	{key: "Eth.SnapshotCache", usual: "409", instead: oneCache},
	{key: "Eth.Preimages", flag: "cache.preimages", usual: "false"},
	{key: "Eth.FilterLogCacheSize", flag: "cache.blocklogs", usual: "32"},
	{key: "Eth.LogQueryLimit", flag: "rpc.logquerylimit", usual: "1000"},
	{key: "Eth.EnablePreimageRecording", flag: "vmdebug", usual: "false"},
	{key: "Eth.EnableWitnessStats", flag: "vmwitnessstats", usual: "false"},
	{key: "Eth.StatelessSelfValidation", flag: "stateless-self-validation", usual: "false"},
	{key: "Eth.SnapV2", flag: "snap.v2", usual: "false"},
	{key: "Eth.VMTrace", flag: "vmtrace"},
	{key: "Eth.VMTraceJsonConfig", flag: "vmtrace.jsonconfig"},
	{key: "Eth.RPCGasCap", flag: "rpc.gascap", usual: "50000000"},
	{key: "Eth.RPCEVMTimeout", usual: "5000000000", becomes: nanoseconds("rpc.evmtimeout")},
	{key: "Eth.RPCTxFeeCap", flag: "rpc.txfeecap", usual: "1"},
	{key: "Eth.EngineMaxReorgDepth", flag: "engine.maxreorgdepth", usual: "32"},
	{key: "Eth.OverrideOsaka", flag: "override.osaka"},
	{key: "Eth.OverrideAmsterdam", flag: "override.amsterdam"},
	{key: "Eth.OverrideBPO1", flag: "override.bpo1"},
	{key: "Eth.OverrideBPO2", flag: "override.bpo2"},
	{key: "Eth.OverrideUBT", flag: "override.ubt"},
	{key: "Eth.TxSyncDefaultTimeout", usual: "20000000000", becomes: nanoseconds("rpc.txsync.defaulttimeout")},
	{key: "Eth.TxSyncMaxTimeout", usual: "60000000000", becomes: nanoseconds("rpc.txsync.maxtimeout")},
	{key: "Eth.RangeLimit", flag: "rpc.rangelimit", usual: "0"},

	{key: "Eth.Miner.ExtraData", becomes: extraDataInHex},
	{key: "Eth.Miner.GasCeil", flag: "miner.gaslimit", usual: "60000000"},
	{key: "Eth.Miner.GasPrice", flag: "miner.gasprice", usual: "1000000"},
	{key: "Eth.Miner.Recommit", usual: "2000000000", becomes: nanoseconds("miner.recommit")},
	{key: "Eth.Miner.MaxBlobsPerBlock", flag: "miner.maxblobs", usual: "0"},

	{key: "Eth.TxPool.Locals", flag: "txpool.locals"},
	{key: "Eth.TxPool.NoLocals", flag: "txpool.nolocals", usual: "false"},
	{key: "Eth.TxPool.Journal", flag: "txpool.journal", usual: "transactions.rlp"},
	{key: "Eth.TxPool.Rejournal", usual: "3600000000000", becomes: nanoseconds("txpool.rejournal")},
	{key: "Eth.TxPool.PriceLimit", flag: "txpool.pricelimit", usual: "1"},
	{key: "Eth.TxPool.PriceBump", flag: "txpool.pricebump", usual: "10"},
	{key: "Eth.TxPool.AccountSlots", flag: "txpool.accountslots", usual: "16"},
	{key: "Eth.TxPool.GlobalSlots", flag: "txpool.globalslots", usual: "5120"},
	{key: "Eth.TxPool.AccountQueue", flag: "txpool.accountqueue", usual: "64"},
	{key: "Eth.TxPool.GlobalQueue", flag: "txpool.globalqueue", usual: "1024"},
	{key: "Eth.TxPool.Lifetime", usual: "10800000000000", becomes: nanoseconds("txpool.lifetime")},

	{key: "Eth.BlobPool.Datadir", flag: "blobpool.datadir", usual: "blobpool"},
	{key: "Eth.BlobPool.Datacap", flag: "blobpool.datacap", usual: "2684354560"},
	{key: "Eth.BlobPool.PriceBump", flag: "blobpool.pricebump", usual: "100"},
	{key: "Eth.BlobPool.FetchProbability", flag: "blobpool.fetchprobability", usual: "0"},
	{key: "Eth.BlobPool.BlockedRatio", usual: "0.5", instead: "the share of blob transactions that wait for others is go-ethereum's default"},

	{key: "Eth.GPO.Blocks", flag: "gpo.blocks", usual: "20"},
	{key: "Eth.GPO.Percentile", flag: "gpo.percentile", usual: "60"},
	{key: "Eth.GPO.MaxHeaderHistory", usual: "1024", instead: noOracle},
	{key: "Eth.GPO.MaxBlockHistory", usual: "1024", instead: noOracle},
	{key: "Eth.GPO.MaxPrice", flag: "gpo.maxprice", usual: "500000000000"},
	{key: "Eth.GPO.IgnorePrice", flag: "gpo.ignoreprice", usual: "2"},

	{key: "Node.UserIdent", flag: "identity"},
	{key: "Node.DataDir", flag: "datadir"},
	{key: "Node.KeyStoreDir", flag: "keystore"},
	{key: "Node.ExternalSigner", flag: "signer"},
	{key: "Node.UseLightweightKDF", flag: "lightkdf", usual: "false"},
	{key: "Node.InsecureUnlockAllowed", flag: "allow-insecure-unlock", usual: "false"},
	{key: "Node.USB", flag: "usb", usual: "false"},
	{key: "Node.SmartCardDaemonPath", flag: "pcscdpath", usual: "/run/pcscd/pcscd.comm"},
	{key: "Node.IPCPath", usual: "geth.ipc", becomes: socketPath},
	{key: "Node.HTTPHost", becomes: listen("http")},
	{key: "Node.HTTPPort", flag: "http.port", usual: "8545"},
	{key: "Node.HTTPCors", flag: "http.corsdomain"},
	{key: "Node.HTTPVirtualHosts", flag: "http.vhosts", usual: "localhost"},
	{key: "Node.HTTPModules", flag: "http.api", usual: "net,web3,eth"},
	{key: "Node.HTTPPathPrefix", flag: "http.rpcprefix"},
	{key: "Node.HTTPTimeouts.ReadTimeout", usual: "30000000000", instead: ownTimeouts},
	{key: "Node.HTTPTimeouts.ReadHeaderTimeout", usual: "30000000000", instead: ownTimeouts},
	{key: "Node.HTTPTimeouts.WriteTimeout", usual: "30000000000", instead: ownTimeouts},
	{key: "Node.HTTPTimeouts.IdleTimeout", usual: "120000000000", instead: ownTimeouts},
	{key: "Node.AuthAddr", flag: "authrpc.addr", usual: "localhost"},
	{key: "Node.AuthPort", flag: "authrpc.port", usual: "8551"},
	{key: "Node.AuthVirtualHosts", flag: "authrpc.vhosts", usual: "localhost"},
	{key: "Node.WSHost", becomes: listen("ws")},
	{key: "Node.WSPort", flag: "ws.port", usual: "8546"},
	{key: "Node.WSPathPrefix", flag: "ws.rpcprefix"},
	{key: "Node.WSOrigins", flag: "ws.origins"},
	{key: "Node.WSModules", flag: "ws.api", usual: "net,web3,eth"},
	{key: "Node.WSExposeAll", usual: "false", instead: "WebSocket serves the namespaces of --ws.api"},
	{key: "Node.GraphQLCors", flag: "graphql.corsdomain"},
	{key: "Node.GraphQLVirtualHosts", flag: "graphql.vhosts", usual: "localhost"},
	{key: "Node.AllowUnprotectedTxs", flag: "rpc.allow-unprotected-txs", usual: "false"},
	{key: "Node.BatchRequestLimit", flag: "rpc.batch-request-limit", usual: "1000"},
	{key: "Node.BatchResponseMaxSize", flag: "rpc.batch-response-max-size", usual: "25000000"},
	{key: "Node.HTTPBodyLimit", usual: "5242880", becomes: megabytes("rpc.http-body-limit")},
	{key: "Node.JWTSecret", flag: "authrpc.jwtsecret"},
	{key: "Node.DBEngine", flag: "db.engine"},
	{key: "Node.OpenTelemetry.Enabled", flag: "rpc.telemetry", usual: "false"},
	{key: "Node.OpenTelemetry.Tags", flag: "rpc.telemetry.tags"},
	{key: "Node.OpenTelemetry.InstanceID", flag: "rpc.telemetry.instance-id"},
	{key: "Node.OpenTelemetry.Endpoint", flag: "rpc.telemetry.endpoint"},
	{key: "Node.OpenTelemetry.AuthUser", flag: "rpc.telemetry.username"},
	{key: "Node.OpenTelemetry.AuthPassword", flag: "rpc.telemetry.password"},
	{key: "Node.OpenTelemetry.SampleRatio", flag: "rpc.telemetry.sample-ratio", usual: "1"},

	{key: "Node.P2P.MaxPeers", flag: "maxpeers", usual: "50"},
	{key: "Node.P2P.MaxPendingPeers", flag: "maxpendpeers", usual: "0"},
	{key: "Node.P2P.DialRatio", usual: "0", instead: ownDialing},
	{key: "Node.P2P.NoDiscovery", flag: "nodiscover", usual: "false"},
	{key: "Node.P2P.DiscoveryV4", flag: "discovery.v4", usual: "true"},
	{key: "Node.P2P.DiscoveryV5", flag: "discovery.v5", usual: "true"},
	{key: "Node.P2P.BootstrapNodes", flag: "bootnodes"},
	{key: "Node.P2P.BootstrapNodesV5", becomes: ignoreKey},
	{key: "Node.P2P.StaticNodes", flag: "peers"},
	{key: "Node.P2P.TrustedNodes", flag: "peers"},
	{key: "Node.P2P.NetRestrict", flag: "netrestrict"},
	{key: "Node.P2P.NodeDatabase", instead: "seen nodes are kept in <datadir>/geth/nodes"},
	{key: "Node.P2P.ListenAddr", usual: ":30303", becomes: portOf("port")},
	{key: "Node.P2P.DiscAddr", becomes: portOf("discovery.port")},
	{key: "Node.P2P.NAT", flag: "nat", usual: "any"},
	{key: "Node.P2P.NoDial", usual: "false", instead: ownDialing},
	{key: "Node.P2P.EnableMsgEvents", usual: "false", instead: "messages of peers are no events: admin_peerEvents has those of connections"},

	{key: "Ethstats.URL", flag: "ethstats"},

	{key: "Metrics.Enabled", flag: "metrics", usual: "false"},
	{key: "Metrics.EnabledExpensive", flag: "metrics.expensive", usual: "false"},
	{key: "Metrics.HTTP", flag: "metrics.addr", usual: "127.0.0.1"},
	{key: "Metrics.Port", flag: "metrics.port", usual: "6060"},
	{key: "Metrics.EnableInfluxDB", flag: "metrics.influxdb", usual: "false"},
	{key: "Metrics.InfluxDBEndpoint", flag: "metrics.influxdb.endpoint", usual: "http://localhost:8086"},
	{key: "Metrics.InfluxDBDatabase", flag: "metrics.influxdb.database", usual: "geth"},
	{key: "Metrics.InfluxDBUsername", flag: "metrics.influxdb.username", usual: "test"},
	{key: "Metrics.InfluxDBPassword", flag: "metrics.influxdb.password", usual: "test"},
	{key: "Metrics.InfluxDBTags", flag: "metrics.influxdb.tags", usual: "host=localhost"},
	{key: "Metrics.InfluxDBInterval", usual: "10000000000", becomes: nanoseconds("metrics.influxdb.interval")},
	{key: "Metrics.EnableInfluxDBV2", flag: "metrics.influxdbv2", usual: "false"},
	{key: "Metrics.InfluxDBToken", flag: "metrics.influxdb.token", usual: "test"},
	{key: "Metrics.InfluxDBBucket", flag: "metrics.influxdb.bucket", usual: "geth"},
	{key: "Metrics.InfluxDBOrganization", flag: "metrics.influxdb.organization", usual: "geth"},
}

// formerGethKeys are those that geth takes with a warning.
var formerGethKeys = []string{ //nolint:gochecknoglobals // never written
	"Eth.EVMInterpreter", "Eth.EWASMInterpreter", "Eth.TrieCleanCacheJournal", "Eth.TrieCleanCacheRejournal", "Eth.LightServ", "Eth.LightIngress",
	"Eth.LightEgress", "Eth.LightPeers", "Eth.LightNoPrune", "Eth.LightNoSyncServe", "Eth.EnableStateSizeTracking",
}

// isGethFile says whether a file's keys are geth's. The section Metrics is in both forms, with other keys.
func isGethFile(flat map[string]any) bool {
	for key := range flat {
		section, rest, _ := strings.Cut(key, ".")
		if section == "Eth" || section == "Node" || section == "Ethstats" || section == "Metrics" && (rest == "HTTP" || strings.Contains(rest, "Influx")) {
			return true
		}
	}
	return false
}

// fromGethFile is the settings of geth's file as flags, and notes on those that have no flag.
func fromGethFile(flat map[string]any, path string) (source, []Note, error) {
	src := make(source)
	var notes []Note
	for i := range gethKeys {
		k := &gethKeys[i]
		value, given := flat[k.key]
		if !given {
			continue
		}
		delete(flat, k.key)
		g := setting{origin: fmt.Sprintf("%s in %s", k.key, path), dumped: true}
		_, isList := value.([]any)
		var err error
		if g.texts, err = tomlTexts(value, isList); err == nil {
			if strings.Join(g.texts, ",") == k.usual {
				continue
			}
			switch {
			case k.becomes != nil:
				err = k.becomes(src, g)
			case k.flag != "":
				g.texts = append(src[k.flag].texts, g.texts...)
				src[k.flag] = g
			default:
				notes = append(notes, Note{Flag: k.key, Value: strings.Join(g.texts, ","), Instead: k.instead})
			}
		}
		if err != nil {
			return nil, nil, &ValueError{Flag: "config", Value: fmt.Sprint(value), Origin: g.origin, Err: err}
		}
	}
	var unknown []string
	for key := range flat {
		switch {
		case strings.HasPrefix(key, "Eth.Genesis."):
			return nil, nil, fmt.Errorf("bad file %q for --config: it has a genesis block: name that as a JSON file, with init or --override.genesis, and remove Eth.Genesis", path)
		case slices.Contains(formerGethKeys, key):
			notes = append(notes, Note{Flag: key, Instead: gone})
		default:
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, nil, fmt.Errorf("bad file %q for --config: unknown field %s (the file is of geth's form)", path, strings.Join(unknown, ", "))
	}
	return src, notes, nil
}

// ignoreKey is for what another key says as well.
func ignoreKey(source, setting) error { return nil }

// switchTo sets a flag if the key is true.
func switchTo(flag, value string) func(source, setting) error {
	return func(src source, g setting) error {
		src[flag] = setting{texts: []string{value}, origin: g.origin}
		return nil
	}
}

// nanoseconds is for times: geth writes them as numbers.
func nanoseconds(flag string) func(source, setting) error {
	return func(src source, g setting) error {
		n, err := strconv.ParseInt(g.last(), 10, 64)
		if err != nil {
			return errors.New("want a number of nanoseconds")
		}
		src[flag] = setting{texts: []string{time.Duration(n).String()}, origin: g.origin, dumped: true}
		return nil
	}
}

// megabytes is for a number of bytes.
func megabytes(flag string) func(source, setting) error {
	return func(src source, g setting) error {
		n, err := strconv.ParseInt(g.last(), 10, 64)
		if err != nil || n < 0 {
			return errors.New("want a number of bytes")
		}
		src[flag] = setting{texts: []string{strconv.FormatInt((n+1<<20-1)>>20, 10)}, origin: g.origin, dumped: true}
		return nil
	}
}

// listen turns an endpoint on at an address.
func listen(name string) func(source, setting) error {
	return func(src source, g setting) error {
		src[name] = setting{texts: []string{"true"}, origin: g.origin}
		src[name+".addr"] = g
		return nil
	}
}

// socketPath is for the IPC socket: without a path there is none.
func socketPath(src source, g setting) error {
	if g.last() == "" {
		src["ipcdisable"] = setting{texts: []string{"true"}, origin: g.origin}
		return nil
	}
	src["ipcpath"] = g
	return nil
}

// portOf is for addresses of devp2p, which listens on all interfaces.
func portOf(flag string) func(source, setting) error {
	return func(src source, g setting) error {
		_, port, ok := strings.Cut(g.last(), ":")
		if !ok {
			return errors.New("want an address such as :30303")
		}
		src[flag] = setting{texts: []string{port}, origin: g.origin}
		return nil
	}
}

// extraDataInHex is for bytes.
func extraDataInHex(src source, g setting) error {
	text, err := hex.DecodeString(strings.TrimPrefix(g.last(), "0x"))
	if err != nil {
		return errors.New("want bytes in hex")
	}
	src["miner.extradata"] = setting{texts: []string{string(text)}, origin: g.origin}
	return nil
}

// networkOfID chooses a network that has a flag, too: geth's file does not say which one it was.
func networkOfID(src source, g setting) error {
	src["networkid"] = g
	if name, known := map[string]string{"1": "mainnet", "11155111": "sepolia", "560048": "hoodi"}[g.last()]; known {
		src["network"] = setting{texts: []string{name}, origin: g.origin, dumped: true}
	}
	return nil
}
