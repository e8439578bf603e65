// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	gethnode "github.com/ethereum/go-ethereum/node"
)

// launcher is what one of the programs that people start geth with runs.
type launcher struct {
	name     string
	commands []string // run one after the other, in a shell's words; the last one is the node
	env      []string
	host     string            // name by which a consensus client in another container reaches it
	files    map[string]string // of the launcher: paths as in the commands
	genesis  bool              // of a network of one's own
	long     bool              // for tests that are not short: what it has in particular is the configuration
	chain    string            // what eth_chainId says
}

// Paths of launchers are in a directory of the test. %genesis is a genesis file, %jwt the launcher's secret.
const (
	ownChain     = "0x1092"
	mainnetChain = "0x1"
	hoodiChain   = "0x88bb0"
)

const kurtosisRun = `geth --networkid=4242 --verbosity=3 --datadir=/data/geth/execution-data --http --http.addr=0.0.0.0 --http.port=8545 --http.vhosts=* --http.corsdomain=*
	--http.api=admin,engine,net,eth,web3,debug,txpool --ws --ws.addr=0.0.0.0 --ws.port=8546 --ws.api=admin,engine,net,eth,web3,debug,txpool --ws.origins=* --allow-insecure-unlock
	--nat=extip:172.16.0.11 --authrpc.port=8551 --authrpc.addr=0.0.0.0 --authrpc.vhosts=* --authrpc.jwtsecret=%jwt --syncmode=full --rpc.allow-unprotected-txs
	--metrics --metrics.addr=0.0.0.0 --metrics.port=9001 --discovery.port=30303 --port=30303 --miner.gaslimit=60000000`

const hiveFlags = `geth --pcscdpath="" --verbosity=3 --bootnodes= --networkid 1337 --syncmode full `

// launchers are the programs' command lines, as their repositories make them, of 2025 and 2026.
var launchers = []launcher{
	{
		name: "kurtosis ethereum-package", host: "el-1-geth-lighthouse", genesis: true, chain: ownChain,
		commands: []string{"geth init --datadir=/data/geth/execution-data %genesis", kurtosisRun},
	},
	{
		name: "hive", host: "172.17.0.3", genesis: true, chain: ownChain,
		commands: []string{
			hiveFlags + "init %genesis",
			hiveFlags + "--gcmode=archive import /chain.rlp",
			hiveFlags + "--gcmode=archive --verbosity=3 --nocompaction import /blocks/0001.rlp /blocks/0002.rlp",
			hiveFlags + `--miner.gasprice 16000000000 --http --http.addr=0.0.0.0 --http.port=8545 --http.api=admin,debug,eth,miner,net,personal,txpool,web3
				--ws --ws.addr=0.0.0.0 --ws.origins "*" --ws.api=admin,debug,eth,miner,net,personal,txpool,web3
				--authrpc.addr=0.0.0.0 --authrpc.port=8551 --authrpc.jwtsecret %jwt --nat=none`,
		},
		files: map[string]string{"/chain.rlp": "", "/blocks/0001.rlp": "", "/blocks/0002.rlp": ""},
	},
	{
		name: "eth-docker", long: true, host: "execution", chain: hoodiChain,
		commands: []string{`geth --http --http.addr 0.0.0.0 --http.vhosts=* --http.corsdomain=* --datadir /var/lib/goethereum --port 30303 --http.port 8545
			--ws --ws.addr 0.0.0.0 --ws.port 8546 --ws.origins=* --metrics --metrics.expensive --pprof --pprof.addr 0.0.0.0 --authrpc.jwtsecret %jwt
			--authrpc.addr 0.0.0.0 --authrpc.port 8551 --authrpc.vhosts=* --maxpeers 50 --state.scheme path --hoodi --verbosity 3`},
	},
	{
		name: "eth-docker, rolling expiry and traces", long: true, host: "execution", chain: mainnetChain,
		commands: []string{`geth --http --http.addr 0.0.0.0 --http.vhosts=* --http.corsdomain=* --port 30303 --http.port 8545 --ws --ws.addr 0.0.0.0 --ws.port 8546 --ws.origins=*
			--metrics --pprof --pprof.addr 0.0.0.0 --authrpc.jwtsecret %jwt --authrpc.addr 0.0.0.0 --authrpc.port 8551 --authrpc.vhosts=* --maxpeers 50
			--datadir /var/lib/geth --mainnet --history.chain recent --history.blocks 1056768
			--rpc.telemetry=true --rpc.telemetry.endpoint http://tempo:4318 --rpc.telemetry.instance-id geth --rpc.telemetry.sample-ratio 0.1 --verbosity 3`},
	},
	{
		name: "rocketpool smartnode", long: true, host: "eth1", chain: hoodiChain,
		commands: []string{`geth --hoodi --datadir /ethclient/geth --http --http.addr 0.0.0.0 --http.port 8545 --http.api eth,net,web3 --http.corsdomain=*
			--ws --ws.addr 0.0.0.0 --ws.port 8546 --ws.api eth,net,web3 --authrpc.addr 0.0.0.0 --authrpc.port 8551 --authrpc.jwtsecret %jwt --authrpc.vhosts=* --pprof
			--miner.gaslimit 60000000 --rpc.evmtimeout 5s --ethstats name:secret@example.org --maxpeers 50 --metrics --metrics.addr 0.0.0.0 --metrics.port 9105 --port 30303 --http.vhosts *`},
	},
	{
		name: "dappnode geth-generic", long: true, host: "geth.hoodi-geth.dnp.dappnode.eth", chain: hoodiChain,
		commands: []string{`geth --datadir /root/.ethereum --syncmode snap --port 31403 --authrpc.jwtsecret %jwt --hoodi`},
		env: []string{
			"GETH_AUTHRPC_ADDR=0.0.0.0", "GETH_AUTHRPC_PORT=8551", "GETH_AUTHRPC_VHOSTS=*", "GETH_HTTP_API=eth,engine,net,web3,txpool", "GETH_HTTP=true", "GETH_HTTP_ADDR=0.0.0.0",
			"GETH_WS=true", "GETH_WS_ADDR=0.0.0.0", "GETH_METRICS=true", "GETH_METRICS_ADDR=0.0.0.0",
		},
	},
	{
		name: "dappnode, by the environment alone", host: "geth.dappnode", chain: hoodiChain,
		commands: []string{"geth"},
		env: []string{
			"GETH_DATADIR=/root/.ethereum", "GETH_HOODI=true", "GETH_SYNCMODE=snap", "GETH_AUTHRPC_JWTSECRET=%jwt", "GETH_AUTHRPC_ADDR=0.0.0.0", "GETH_AUTHRPC_VHOSTS=*", "GETH_HTTP=true", "GETH_HTTP_ADDR=0.0.0.0",
		},
	},
	{
		name: "sedge", long: true, host: "execution", chain: hoodiChain,
		commands: []string{`geth --bootnodes= --syncmode=snap --http --http.addr=0.0.0.0 --http.vhosts=* --http.corsdomain=* --http.api web3,eth,net --datadir=/var/lib/goethereum --port=30303 --http.port=8545
			--hoodi --verbosity 3 --ws --ws.addr=0.0.0.0 --ws.port=8546 --ws.api=engine,eth,web3,net,debug --authrpc.jwtsecret=%jwt --authrpc.addr=0.0.0.0 --authrpc.port=8551 --authrpc.vhosts=* --metrics --metrics.port=6060`},
	},
	{
		name: "ethpandaops helm chart", host: "geth.default.svc", chain: mainnetChain,
		commands: []string{`geth --datadir=/data --config=/config/geth.toml --nat=extip:10.1.2.3 --port=30303 --http --http.addr=0.0.0.0 --http.port=8545 --http.vhosts=* --http.corsdomain=*
			--ws --ws.addr=0.0.0.0 --ws.port=8545 --ws.origins=* --authrpc.jwtsecret=%jwt --authrpc.addr=0.0.0.0 --authrpc.port=8551 --authrpc.vhosts=* --metrics --metrics.addr=0.0.0.0 --metrics.port=6060`},
		files: map[string]string{"/config/geth.toml": "[Node.P2P]\nDialRatio = 3\n"},
	},
	{
		name: "systemd unit of CoinCashew's guide", long: true, host: "localhost", chain: hoodiChain,
		commands: []string{"geth --hoodi --metrics --http --datadir=/var/lib/geth --pprof --state.scheme=path --authrpc.jwtsecret=%jwt"},
	},
	{
		name: "systemd unit of Somer Esat's guide", long: true, host: "localhost", chain: mainnetChain,
		commands: []string{"geth --mainnet --datadir /var/lib/geth --authrpc.jwtsecret %jwt --db.engine pebble --http"},
	},
}

// ports are flags whose values a test replaces by 0.
var ports = regexp.MustCompile(`^--(port|discovery\.port|http\.port|ws\.port|authrpc\.port|metrics\.port|pprof\.port)$`)

// localize puts a launcher's paths below a directory, and lets the system choose ports.
func (l *launcher) localize(words []string, root string) []string {
	words = append([]string(nil), words...)
	for i, word := range words {
		name, value, joined := strings.Cut(word, "=")
		if !joined {
			name, value = "", word
		}
		value = strings.Replace(value, "%jwt", filepath.Join(root, "jwt"), 1)
		value = strings.Replace(value, "%genesis", filepath.Join(root, "genesis.json"), 1)
		if strings.HasPrefix(value, "/") && !strings.HasPrefix(value, root) {
			value = root + value
		}
		if i > 0 && ports.MatchString(words[i-1]) || ports.MatchString(name) || strings.HasSuffix(name, "_PORT") {
			value = "0"
		}
		if words[i] = value; joined {
			words[i] = name + "=" + value
		}
	}
	return words
}

// prepare writes the launcher's files.
func (l *launcher) prepare(t *testing.T, root string) {
	files := map[string]string{"/jwt": strings.Repeat("5e", 32)}
	if l.genesis {
		files["/genesis.json"] = genesisJSON
	}
	for name, content := range l.files {
		files[name] = content
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(content), 0o600))
	}
}

// Each launcher starts the node as it starts geth, and reaches JSON-RPC and the Engine API as it reaches geth's.
func TestLaunchers(t *testing.T) {
	for i := range launchers {
		l := &launchers[i]
		t.Run(l.name, func(t *testing.T) {
			root := t.TempDir()
			l.prepare(t, root)
			last := len(l.commands) - 1
			if l.long && testing.Short() {
				l.configure(t, root, l.commands[last])
				return
			}
			for _, line := range l.commands[:last] {
				cmd := l.command(t.Context(), t, root, line)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", line, err, out)
				}
			}
			n := start(t, l.command(context.Background(), t, root, l.commands[last]))
			var id string
			ask(t, n.addr("http"), "localhost", nil, "eth_chainId", &id)
			if id != l.chain {
				t.Errorf("chain ID %s, want %s", id, l.chain)
			}
			auth := gethnode.NewJWTAuth([32]byte(bytes.Repeat([]byte{0x5e}, 32)))
			var methods []string
			ask(t, n.addr("engine"), l.host, auth, "engine_exchangeCapabilities", &methods, []string{"engine_newPayloadV4"})
			if len(methods) < 10 {
				t.Errorf("methods of the Engine API: %v", methods)
			}
			n.stop(t, syscall.SIGTERM)
			if strings.Contains(n.log.String(), "lvl=error") {
				t.Errorf("log:\n%s", &n.log)
			}
		})
	}
}

// configure has the command line read as the node does, which also looks into the files.
func (l *launcher) configure(t *testing.T, root, line string) {
	env := make(map[string]string)
	for _, entry := range l.localize(l.env, root) {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	lookup := func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
	args := append(l.localize(strings.Fields(line), root), "dumpconfig")
	var stdout, stderr bytes.Buffer
	if err := newApp(args, lookup, &stdout, &stderr).RunContext(t.Context(), args); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
}

// command is a line of the launcher as a process that is called geth.
func (l *launcher) command(ctx context.Context, t *testing.T, root, line string) *exec.Cmd {
	words := l.localize(strings.Fields(line), root)
	cmd := command(ctx, t, words[1:]...)
	cmd.Args[0] = words[0]
	cmd.Env = append(cmd.Env, l.localize(l.env, root)...)
	cmd.Env = append(cmd.Env, "HOME="+root, "SUNBEAM_NODISCOVER=true", "SUNBEAM_NAT=none", "SUNBEAM_LOG_FORMAT=logfmt", "SUNBEAM_PORT=0",
		"SUNBEAM_HTTP_PORT=0", "SUNBEAM_WS_PORT=0", "SUNBEAM_AUTHRPC_PORT=0", "SUNBEAM_METRICS_PORT=0", "SUNBEAM_PPROF_PORT=0")
	return cmd
}

// ask calls a method, with the Host header of somebody who knows the node by a name.
func ask(t *testing.T, addr, host string, auth func(http.Header) error, method string, result any, params ...any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": append([]any{}, params...)})
	check(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, bytes.NewReader(body))
	check(t, err)
	request.Host = host
	request.Header.Set("Content-Type", "application/json")
	if auth != nil {
		check(t, auth(request.Header))
	}
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	var answer struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Error != nil {
		t.Fatalf("%s at %s as %s: %s %s", method, addr, host, response.Status, text)
	}
	check(t, json.Unmarshal(answer.Result, result))
}

// hive is the part of hive's start script that makes the flags.
func hive(env map[string]string) []string {
	flags := strings.Fields(`--pcscdpath="" --verbosity=` + cmp.Or(env["HIVE_LOGLEVEL"], "3") + " --bootnodes=" + env["HIVE_BOOTNODE"])
	add := func(more string) { flags = append(flags, strings.Fields(more)...) }
	if env["HIVE_SKIP_POW"] != "" {
		add("--fakepow")
	}
	add("--networkid " + cmp.Or(env["HIVE_NETWORK_ID"], "1337"))
	switch env["HIVE_NODETYPE"] {
	case "archive":
		add("--syncmode full --gcmode archive")
	case "full", "light":
		add("--syncmode " + env["HIVE_NODETYPE"])
	default:
		add("--syncmode snap")
	}
	if env["HIVE_CLIQUE_PRIVATEKEY"] != "" {
		add("--password /geth-password-file.txt --unlock " + env["HIVE_MINER"] + " --allow-insecure-unlock")
	}
	if env["HIVE_MINER"] != "" {
		add("--mine --miner.threads 1 --miner.etherbase " + env["HIVE_MINER"])
	}
	if env["HIVE_MINER_EXTRA"] != "" {
		add("--miner.extradata " + env["HIVE_MINER_EXTRA"])
	}
	add("--miner.gasprice 16000000000")
	if env["HIVE_LES_SERVER"] == "1" {
		add("--light.serve 50 --light.nosyncserve")
	}
	add(`--http --http.addr=0.0.0.0 --http.port=8545 --http.api=admin,debug,eth,miner,net,personal,txpool,web3
		--ws --ws.addr=0.0.0.0 --ws.origins "*" --ws.api=admin,debug,eth,miner,net,personal,txpool,web3`)
	if env["HIVE_TERMINAL_TOTAL_DIFFICULTY"] != "" {
		add("--authrpc.addr=0.0.0.0 --authrpc.port=8551")
	}
	if env["HIVE_GRAPHQL_ENABLED"] != "" {
		add("--graphql")
	}
	if env["HIVE_ALLOW_UNPROTECTED_TX"] != "" {
		add("--rpc.allow-unprotected-txs")
	}
	add("--nat=none")
	return flags
}

// hive's variables lead to flags that are taken, or to an error that says why not.
func TestHiveMatrix(t *testing.T) {
	enode := "enode://1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439@10.3.58.6:30303"
	miner := "0x00000000000000000000000000000000000000aa"
	tests := []struct{ name, value, refused string }{
		{name: "HIVE_LOGLEVEL", value: "5"},
		{name: "HIVE_BOOTNODE", value: enode},
		{name: "HIVE_NETWORK_ID", value: "7"},
		{name: "HIVE_NODETYPE", value: "full"},
		{name: "HIVE_NODETYPE", value: "snap"},
		{name: "HIVE_NODETYPE", value: "archive", refused: "--gcmode archive"},
		{name: "HIVE_NODETYPE", value: "light", refused: `"light" for --syncmode`}, // by geth as well
		{name: "HIVE_SKIP_POW", value: "1"},
		{name: "HIVE_MINER", value: miner},
		{name: "HIVE_MINER_EXTRA", value: "extra"},
		{name: "HIVE_CLIQUE_PRIVATEKEY", value: "x"},
		{name: "HIVE_LES_SERVER", value: "1"},
		{name: "HIVE_TERMINAL_TOTAL_DIFFICULTY", value: "0"},
		{name: "HIVE_ALLOW_UNPROTECTED_TX", value: "1"},
		{name: "HIVE_GRAPHQL_ENABLED", value: "1", refused: "--graphql"},
	}
	for _, test := range tests {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			env := map[string]string{test.name: test.value}
			if test.name == "HIVE_CLIQUE_PRIVATEKEY" {
				env["HIVE_MINER"] = miner
			}
			args := append([]string{"geth", "--datadir", filepath.Join(t.TempDir(), "d")}, append(hive(env), "dumpconfig")...)
			var stdout, stderr bytes.Buffer
			err := newApp(args, func(string) (string, bool) { return "", false }, &stdout, &stderr).RunContext(t.Context(), args)
			switch {
			case test.refused == "" && err != nil:
				t.Errorf("%v\n%s", err, &stderr)
			case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
				t.Errorf("error %v, want %s refused", err, test.refused)
			}
		})
	}
}
