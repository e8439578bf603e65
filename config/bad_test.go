// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const enodeURL = "enode://1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439@10.3.58.6:30303"

// Each bad value must be refused in one line that names the flag and shows the value,
// whether it came by flag, by environment or by file, and nothing may be created.
func TestBadValues(t *testing.T) {
	genesis := write(t, "notgenesis.json", `{"config":{"chainId":5,"clique":{}},"alloc":{},"difficulty":"0x0","gasLimit":"0x1"}`)
	text := write(t, "text", "no such thing")
	tests := []struct{ flag, value, says string }{
		{"port", "65536", "from 0 to 65535"},
		{"port", "-1", "from 0 to 65535"},
		{"port", "http", "from 0 to 65535"},
		{"port", "", "from 0 to 65535"},
		{"discovery.port", "70000", "from 0 to 65535"},
		{"maxpeers", "-1", "from 0 to 10000"},
		{"maxpeers", "many", "want a number"},
		{"verbosity", "6", "from 0 to 5"},
		{"log.format", "xml", "terminal, logfmt, json"},
		{"db.engine", "rocksdb", "leveldb, pebble"},
		{"network", "ropsten", "mainnet, sepolia, hoodi"},
		{"networkid", "-5", "want a number"},
		{"cache", "0", "from 16"},
		{"http", "maybe", "true or false"},
		{"sepolia", "perhaps", "true or false"},
		{"http.addr", "localhost:8545", "without a port"},
		{"http.addr", "1.2.3", "IP address"},
		{"authrpc.addr", "a b", "IP address"},
		{"http.api", "eth,[net]", "name of a namespace"},
		{"http.rpcprefix", "rpc", "starts with /"},
		{"rpc.evmtimeout", "5", "duration"},
		{"rpc.evmtimeout", "-5s", "duration"},
		{"bootnodes", "enode://abc@1.2.3.4:1", "invalid"},
		{"peers", "127.0.0.1:30303", "missing"},
		{"peers", strings.TrimSuffix(enodeURL, ":30303") + ":0", "TCP port"},
		{"peers", " , ", "nothing between the commas"},
		{"http.api", ",", "nothing between the commas"},
		{"discovery.dns", "https://example.org", "enrtree"},
		{"nat", "magic", "unknown mechanism"},
		{"netrestrict", "10.0.0.0/33", "invalid CIDR"},
		{"nodekey", filepath.Join(t.TempDir(), "absent"), "no such file"},
		{"nodekey", text, "key file"},
		{"authrpc.jwtsecret", text, "32 bytes in hex"},
		{"authrpc.jwtsecret", "/nowhere/at/all/jwt", "no such file"},
		{"override.genesis", "/nowhere/genesis.json", "no such file"},
		{"override.genesis", text, "not a genesis file"},
		{"override.genesis", genesis, "clique"},
		{"datadir", filepath.Join(text, "below"), "not a directory"},
		{"datadir", "", "want a directory"},
		{"beacon.api", "ftp://x", "http://"},
		{"beacon.checkpoint", "0x1234", "32 bytes"},
		{"beacon.checkpoint.file", text, "hex"},
		{"beacon.threshold", "0", "from 1 to 512"},
		{"beam.maxlag", "128", "from 1 to 127"},
		{"beam.hot.size", "1", "from 64"},
		{"history.chain", "some", "want all, postmerge, postprague, postosaka, rolling, a number of blocks, or the first block as NUMBER:HASH"},
		{"history.chain", "5:0x12", "invalid block hash"},
		{"history.chain", "-1", "want all, postmerge, postprague, postosaka, rolling, a number of blocks, or the first block as NUMBER:HASH"},
		{"override.osaka", "soon", "seconds since 1970"},
		{"blobpool.datadir", "../elsewhere", "inside of the datadir"},
		{"rpc.txsync.maxtimeout", "0s", "above zero"},
		{"log.file", "/nowhere/at/all/log", "no such file"},
		{"log.vmodule", "rpc=5,beamsync", "pattern=level"},
		{"log.vmodule", "rpc=9", "from 0 to 5"},
		{"log.maxsize", "0", "from 1"},
		{"gogc", "some", "want a number"},
		{"memorylimit", "-1", "from 0"},
		{"memorylimit", "1", "at least --cache, 512"},
		{"ipcpath", "/nowhere/at/all/x.ipc", "no such file"},
		{"ipcpath", "/tmp/" + strings.Repeat("x", 110), "characters"},
		{"identity", "a/b", "slashes"},
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "datadir")
	check := func(t *testing.T, err error, flag, value, says, origin string) {
		t.Helper()
		if err == nil {
			t.Fatal("accepted")
		}
		msg := err.Error()
		shown := value
		if i := strings.LastIndex(value, ","); i >= 0 {
			shown = value[i+1:] // the element of the list that is bad
		}
		for _, part := range []string{"--" + flag, shown, says, origin} {
			if !strings.Contains(msg, part) {
				t.Errorf("%q does not say %q", msg, part)
			}
		}
		if strings.Contains(msg, "\n") {
			t.Errorf("%q is more than one line", msg)
		}
		if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
			t.Errorf("created %v", entries)
		}
	}
	for _, test := range tests {
		t.Run(test.flag+"="+filepath.Base(test.value), func(t *testing.T) {
			args := []string{"--datadir", dir, "--" + test.flag + "=" + test.value}
			_, err := parse(t, nil, args...)
			check(t, err, test.flag, test.value, test.says, "")

			var rest []string // the datadir must not win over the one tested
			if test.flag != "datadir" {
				rest = []string{"--datadir", dir}
			}
			if test.value != "" {
				variable := (&option{flag: test.flag}).env()
				_, err = parse(t, []string{variable + "=" + test.value}, rest...)
				check(t, err, test.flag, test.value, test.says, variable)
			}
			if test.flag == "sepolia" {
				return // a flag only
			}
			file, key := tomlOf(t, test.flag, test.value)
			_, err = parse(t, nil, append(rest, "--config", file)...)
			check(t, err, test.flag, test.value, test.says, key+" in "+file)
		})
	}
}

// tomlOf writes a file that sets one flag's key.
func tomlOf(t *testing.T, flag, value string) (file, key string) {
	for i := range options {
		if o := &options[i]; o.flag == flag {
			section, name := splitKey(o.key)
			content := name + " = " + tomlQuote(value) + "\n"
			if new(Config).field(o).Kind().String() == "slice" {
				content = name + " = [" + tomlQuote(value) + "]\n"
			}
			if section != "" {
				content = "[" + section + "]\n" + content
			}
			return write(t, "bad.toml", content), o.key
		}
	}
	t.Fatalf("no option %s", flag)
	return "", ""
}

func TestBadFiles(t *testing.T) {
	tests := []struct{ content, says string }{
		{"[HTTP]\nPrt = 5\nPort = 1\n", "HTTP.Prt"},
		{"Datadir = \"/x\"\n[Foo]\nA = 1\n", "Datadir, Foo.A"},
		{"[HTTP\n", "line 2"},
		{"[HTTP]\nAPI = \"eth\"\n", "--http.api"},
		{"[HTTP]\nPort = [1]\n", "--http.port"},
		{"[HTTP]\nPort = 1.5\n", "--http.port"},
		{"[HTTP]\nAPI = [1]\n", "--http.api"},
		{"[P2P]\nNodeKeyHex = 5\n", "--nodekeyhex"},
	}
	for _, test := range tests {
		file := write(t, "bad.toml", test.content)
		_, err := parse(t, nil, "--datadir", t.TempDir(), "--config", file)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", test.content, err, test.says)
		}
		if err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("%v does not name the file", err)
		}
	}
	if _, err := parse(t, nil, "--config", "/nowhere.toml"); err == nil || !strings.Contains(err.Error(), `"/nowhere.toml" for --config`) {
		t.Errorf("absent file: %v", err)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	_, err := parse(t, nil, "--nodekeyhex", "deadbeef")
	if err == nil || !strings.Contains(err.Error(), "--nodekeyhex") || strings.Contains(err.Error(), "deadbeef") {
		t.Errorf("got %v", err)
	}
}

func TestContradictions(t *testing.T) {
	key := strings.Repeat("01", 32)
	keyFile := write(t, "key", key)
	genesis := write(t, "g.json", `{"config":{"chainId":7},"alloc":{},"difficulty":"0x0","gasLimit":"0x1"}`)
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"--mainnet", "--sepolia"}, "--mainnet and --sepolia exclude each other"},
		{[]string{"--network", "hoodi", "--sepolia"}, "--network and --sepolia exclude each other"},
		{[]string{"--nodekey", keyFile, "--nodekeyhex", key}, "--nodekey and --nodekeyhex"},
		{[]string{"--hoodi", "--override.genesis", genesis}, "--override.genesis"},
		{[]string{"--http", "--http.port", "8551"}, `bad value "8551" for --http.port: --authrpc.port has the same address`},
		{[]string{"--http", "--ws", "--ws.port", "8545", "--ws.addr", "10.0.0.1"}, `bad value "10.0.0.1" for --ws.addr`},
		{[]string{"--beacon.checkpoint", "0x" + key}, "--beacon.api"},
		{[]string{"--beacon.genesis.gvroot", "0x" + key}, "--beacon.api"},
		{[]string{"--beacon.genesis.time", "5"}, "--beacon.api"},
		{[]string{"--beacon.api.header", "a:b"}, "--beacon.api"},
		{[]string{"--beacon.nofilter"}, "--beacon.api"},
		{[]string{"--beacon.api", "http://a", "--override.genesis", genesis}, "--beacon.config"},
		{[]string{"--beacon.api", "http://a", "--beacon.genesis.time", "5"}, "--beacon.config"},
		{[]string{"--beacon.api", "http://a", "--beacon.config", write(t, "c.yaml", "GENESIS_FORK_VERSION: 0x01000000\n")}, "--beacon.genesis.gvroot"},
	}
	for _, test := range tests {
		_, err := parse(t, nil, append([]string{"--datadir", t.TempDir()}, test.args...)...)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v: error %v, want %q", test.args, err, test.says)
		}
	}
	if _, err := parse(t, nil, "--datadir", t.TempDir(), "--http", "--ws", "--ws.port", "8545"); err != nil {
		t.Errorf("HTTP and WebSocket on one port: %v", err)
	}
}

// Files in the datadir are checked as those that flags name are. Only there may one be incomplete: the node replaces it.
func TestBadFilesInDatadir(t *testing.T) {
	for name, flag := range map[string]string{"jwtsecret": "authrpc.jwtsecret", "nodekey": "nodekey"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "geth"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "geth", name)
		for content, torn := range map[string]bool{
			"": true, "\n": true, "0x12": true, strings.Repeat("a", 63): true, strings.Repeat("\x00", 64): true,
			strings.Repeat("g", 64): false, strings.Repeat("a", 66): false,
		} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			names := func(err error) bool {
				return err != nil && strings.Contains(err.Error(), "--"+flag) && strings.Contains(err.Error(), path)
			}
			if TornSecret(path) != torn {
				t.Errorf("%s with %q is incomplete: %v", name, content, !torn)
			}
			if _, err := parse(t, nil, "--datadir", dir); torn && err != nil || !torn && !names(err) {
				t.Errorf("%s with %q: %v", name, content, err)
			}
			if _, err := parse(t, nil, "--datadir", dir, "--"+flag, path); !names(err) {
				t.Errorf("%s with %q, named by its flag: %v", name, content, err)
			}
		}
	}
}
