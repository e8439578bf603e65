// SPDX-License-Identifier: LGPL-3.0-or-later

package config

// Reasons that several flags share.
const (
	noAccounts  = "the node has no accounts: sign with a wallet or with clef"
	noGraphQL   = "there is no GraphQL: use JSON-RPC"
	noTelemetry = "no traces are exported: the metrics and beam_status say where time goes"
	noPyroscope = "no profiles are pushed: scrape /debug/pprof/ of --pprof"
	noInflux    = "metrics are not pushed: scrape the Prometheus endpoint of --metrics"
	noDev       = "a chain needs a consensus client, or --beacon.api: use geth --dev"
	noOracle    = "tips are suggested by the rules of a geth with its default settings"
	oneCache    = "--cache is for all caches together, and the node divides it"
	noConsole   = "it is for the command attach"
	noArchive   = "states of the newest 128 blocks are kept"
	noOverride  = "forks are those of the network: put other times into a genesis file, see --override.genesis"
	ownMiner    = "the consensus client decides when a block is built, and for whom"
	ownLogIndex = "the log index is built here, and checked by nobody else"
	gone        = "geth does not have it any more either"
)

// gethFlags are the flags of geth v1.17.10 that are no options here, in the order of its help, and some of earlier versions
// and of later versions that launchers use. A test compares the names with those of geth.
var gethFlags = []gethFlag{ //nolint:gochecknoglobals // never written
	{name: "keystore", instead: noAccounts},
	{name: "lightkdf", toggle: true, instead: noAccounts},
	{name: "password", instead: noAccounts},
	{name: "pcscdpath", usual: "/run/pcscd/pcscd.comm", instead: noAccounts},
	{name: "signer", instead: noAccounts},
	{name: "usb", toggle: true, instead: noAccounts},

	{name: "engine.maxreorgdepth", usual: "32", check: wholeNumber, instead: "the head that the consensus client chooses is followed to any depth, as far as its state can be had"},
	{name: "exec", refused: noConsole},
	{name: "graphql", toggle: true, refused: noGraphQL},
	{name: "graphql.corsdomain", instead: noGraphQL},
	{name: "graphql.vhosts", usual: "localhost", instead: noGraphQL},
	{name: "header", alias: "H", refused: noConsole},
	{name: "jspath", usual: ".", refused: noConsole},
	{name: "preload", refused: noConsole},
	{name: "rpc.telemetry", toggle: true, instead: noTelemetry},
	{name: "rpc.telemetry.endpoint", instead: noTelemetry},
	{name: "rpc.telemetry.instance-id", instead: noTelemetry},
	{name: "rpc.telemetry.password", secret: true, instead: noTelemetry},
	{name: "rpc.telemetry.sample-ratio", usual: "1", check: anyNumber, instead: noTelemetry},
	{name: "rpc.telemetry.tags", instead: noTelemetry},
	{name: "rpc.telemetry.username", instead: noTelemetry},

	{name: "dev", toggle: true, refused: noDev},
	{name: "dev.gaslimit", usual: "11500000", check: wholeNumber, refused: noDev},
	{name: "dev.period", usual: "0", check: wholeNumber, refused: noDev},

	{name: "datadir.ancient", instead: "old blocks are kept in <datadir>/geth/chaindata with all others: give the datadir the room"},
	{name: "datadir.era", instead: "no archives are read while the node runs: old blocks come from peers (--history.chain) or import-history"},
	{name: "eth.requiredblocks", instead: "peers are not asked for these blocks: the consensus client decides the chain"},
	{name: "exitwhensynced", toggle: true, refused: "the node follows the chain until it is stopped: wait for beam_status to say full, then stop it"},
	{name: "snapshot", toggle: true, usual: "true", instead: "the state is stored in one form, which serves as the snapshot too"},

	{name: "gpo.blocks", usual: "20", check: wholeNumber, instead: noOracle},
	{name: "gpo.ignoreprice", usual: "2", check: wholeNumber, instead: noOracle},
	{name: "gpo.maxprice", usual: "500000000000", check: wholeNumber, instead: noOracle},
	{name: "gpo.percentile", usual: "60", check: wholeNumber, instead: noOracle},

	{name: "debug.logslowblock", usual: "-1ns", check: anyDuration, instead: "the line of each block has its times"},
	{name: "go-execution-trace", instead: "no trace is written: debug_goTrace writes one"},
	{name: "pprof", toggle: true, becomes: profiles, instead: "`--metrics.pprof`: profiles are served by the metrics server, also without `--metrics`; its address is that of `--pprof.addr` and `--pprof.port` unless `--metrics.addr` and `--metrics.port` name another"},
	{name: "pprof.addr", usual: "127.0.0.1", check: host, becomes: becomesNothing, instead: "see `--pprof`"},
	{name: "pprof.blockprofilerate", usual: "0", check: wholeNumber, instead: "the rate is not set: debug_setBlockProfileRate sets it"},
	{name: "pprof.cpuprofile", instead: "no profile is written: debug_cpuProfile writes one"},
	{name: "pprof.memprofilerate", usual: "524288", check: wholeNumber, instead: "the rate is Go's"},
	{name: "pprof.port", usual: "6060", check: between(0, 65535), becomes: becomesNothing, instead: "see `--pprof`"},
	{name: "pyroscope", toggle: true, instead: noPyroscope},
	{name: "pyroscope.password", secret: true, instead: noPyroscope},
	{name: "pyroscope.server", usual: "http://localhost:4040", instead: noPyroscope},
	{name: "pyroscope.tags", instead: noPyroscope},
	{name: "pyroscope.username", instead: noPyroscope},
	{name: "remotedb", refused: "the node reads and writes its own datadir only"},

	{name: "ethstats", secret: true, instead: "nothing is reported to ethstats: use the metrics"},
	{name: "metrics.influxdb", toggle: true, instead: noInflux},
	{name: "metrics.influxdb.bucket", usual: "geth", instead: noInflux},
	{name: "metrics.influxdb.database", usual: "geth", instead: noInflux},
	{name: "metrics.influxdb.endpoint", usual: "http://localhost:8086", instead: noInflux},
	{name: "metrics.influxdb.interval", usual: "10s", check: anyDuration, instead: noInflux},
	{name: "metrics.influxdb.organization", usual: "geth", instead: noInflux},
	{name: "metrics.influxdb.password", usual: "test", secret: true, instead: noInflux},
	{name: "metrics.influxdb.tags", usual: "host=localhost", instead: noInflux},
	{name: "metrics.influxdb.token", usual: "test", secret: true, instead: noInflux},
	{name: "metrics.influxdb.username", usual: "test", instead: noInflux},
	{name: "metrics.influxdbv2", toggle: true, instead: noInflux},

	{name: "miner.pending.feeRecipient", instead: "the pending block is what a validator of the consensus client would build"},

	{name: "synctarget", refused: "for tests of geth only"},

	{name: "cache.blocklogs", usual: "32", check: wholeNumber, instead: oneCache},
	{name: "cache.database", usual: "50", check: wholeNumber, instead: oneCache},
	{name: "cache.gc", usual: "25", check: wholeNumber, instead: oneCache},
	{name: "cache.noprecompile", toggle: true, instead: "results of precompiles are cached"},
	{name: "cache.noprefetch", toggle: true, instead: "what a block will read is prefetched: that is what makes the node fast"},
	{name: "cache.preimages", toggle: true, instead: "accounts and slots are stored by the hashes of their keys only"},
	{name: "cache.snapshot", usual: "10", check: wholeNumber, instead: oneCache},
	{name: "cache.trie", usual: "15", check: wholeNumber, instead: oneCache},
	{name: "crypto.kzg", usual: "gokzg", check: oneOf("gokzg", "ckzg"), instead: "the KZG library is gokzg"},
	{name: "fdlimit", usual: "0", check: wholeNumber, instead: "the limit is raised as far as the system allows"},

	{name: "bintrie.groupdepth", usual: "5", check: wholeNumber, instead: "there is no binary trie"},
	{name: "gcmode", usual: "full", check: oneOf("full", "archive"), instead: noArchive, only: "archive", refused: "old states are not kept: run geth with --gcmode archive for them, or leave it out"},
	{name: "history.logs.export", instead: ownLogIndex},
	{name: "history.state", usual: "90000", check: wholeNumber, instead: noArchive},
	{name: "history.blocks", former: true, check: wholeNumber, becomes: newestBlocks, instead: "`--history.chain recent` with this is `--history.chain N`"},
	{name: "history.transactions", usual: "2350000", check: wholeNumber, instead: "transactions of all blocks that are stored are found by hash: see --history.chain"},
	{name: "history.trienode", usual: "-1", check: wholeNumber, instead: noArchive},
	{name: "history.trienode.full-value-checkpoint", usual: "8", check: wholeNumber, instead: noArchive},
	{name: "snap.v2", toggle: true, instead: "state comes by beam sync and its backfill"},
	{name: "state.scheme", check: oneOf("path", "hash"), instead: "the state is stored in the path scheme"},
	{name: "syncmode", usual: "snap", check: oneOf("snap", "full"), instead: "the node beams: it executes the head at once, and becomes a full node in the background"},

	{name: "blobpool.fetchprobability", usual: "15", check: wholeNumber, instead: "the share of blob transactions that is fetched whole is go-ethereum's default"},
	{name: "blobpool.pricebump", usual: "100", check: wholeNumber, instead: "a blob transaction must pay twice as much as the one that it replaces"},

	{name: "txpool.locals", instead: "transactions that are sent over JSON-RPC are the local ones"},

	{name: "stateless-self-validation", toggle: true, instead: "for tests of geth only"},
	{name: "vmdebug", toggle: true, instead: "debug_traceTransaction and its kin trace what is asked for"},
	{name: "vmtrace", refused: "blocks are not traced as they are imported: ask debug_traceBlock and its kin, or leave it out"},
	{name: "vmtrace.jsonconfig", usual: "{}", instead: "blocks are not traced as they are imported"},
	{name: "vmwitnessstats", toggle: true, instead: "the line of each block says what it read"},
	{name: "state.size-tracking", toggle: true, instead: "db stats prints the sizes"},

	{name: "nocompaction", toggle: true, command: true, instead: "the database is compacted in the background only"},

	{name: "allow-insecure-unlock", toggle: true, former: true, instead: noAccounts},
	{name: "unlock", former: true, instead: noAccounts},
	{name: "nousb", toggle: true, former: true, instead: noAccounts},
	{name: "rpc.enabledeprecatedpersonal", toggle: true, former: true, instead: noAccounts},
	{name: "mine", toggle: true, former: true, instead: ownMiner},
	{name: "miner.threads", former: true, check: wholeNumber, instead: ownMiner},
	{name: "miner.etherbase", former: true, instead: ownMiner},
	{name: "miner.newpayload-timeout", former: true, check: anyDuration, instead: "getPayload does not wait for the time of a whole slot: see --miner.recommit"},
	{name: "override.prague", former: true, check: wholeNumber, refused: noOverride},
	{name: "override.cancun", former: true, check: wholeNumber, refused: noOverride},
	{name: "override.verkle", former: true, check: wholeNumber, refused: noOverride},
	{name: "txlookuplimit", former: true, check: wholeNumber, instead: "transactions of all blocks that are stored are found by hash: see --history.chain"},
	{name: "cache.trie.journal", former: true, instead: oneCache},
	{name: "cache.trie.rejournal", former: true, check: anyDuration, instead: oneCache},
	{name: "light.serve", former: true, check: wholeNumber, instead: gone},
	{name: "light.maxpeers", former: true, check: wholeNumber, instead: gone},
	{name: "light.nosyncserve", toggle: true, former: true, instead: gone},
	{name: "fakepow", toggle: true, former: true, instead: "proof-of-work is not verified: only networks with a consensus client are supported"},
	{name: "metrics.expensive", toggle: true, former: true, instead: "all metrics are counted"},
	{name: "v5disc", toggle: true, former: true, instead: "v5 is on: see `--discovery.v5`", becomes: becomesNothing},
}

// becomesNothing is for what another flag reads.
func becomesNothing(source, string) *Note { return nil }
