// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// parse loads a configuration as the command does. Environment entries are NAME=value.
func parse(t *testing.T, env []string, args ...string) (*Config, error) {
	t.Helper()
	cfg, _, err := parseNotes(t, env, args...)
	return cfg, err
}

// parseNotes is parse with the notes.
func parseNotes(t *testing.T, env []string, args ...string) (*Config, []Note, error) {
	t.Helper()
	return parseWith(t, NewFlags(false), env, args...)
}

func parseWith(t *testing.T, flags *Flags, env []string, args ...string) (*Config, []Note, error) {
	t.Helper()
	set := flag.NewFlagSet("sunbeam", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range flags.CLI() {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags, func(name string) (string, bool) {
		for _, entry := range env {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				return value, true
			}
		}
		return "", false
	})
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every row of the table must fill a field of its own, of a type that can be set, and
// every field must have a row: otherwise a setting exists that cannot be chosen.
func TestTableCoversConfig(t *testing.T) {
	fields := make(map[string]bool)
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() == reflect.Struct {
				walk(f.Name+".", f.Type)
				continue
			}
			fields[prefix+f.Name] = true
		}
	}
	walk("", reflect.TypeFor[Config]())
	flags := make(map[string]bool)
	for _, o := range options {
		if !fields[o.key] {
			t.Errorf("--%s: no field %s, or it has two rows", o.flag, o.key)
		}
		delete(fields, o.key)
		if flags[o.flag] || o.usage == "" || o.category == "" {
			t.Errorf("--%s: twice in the table, or without usage or category", o.flag)
		}
		flags[o.flag] = true
	}
	for key := range fields {
		t.Errorf("field %s has no row in the table", key)
	}
}

func TestDefaultsPassTheirChecks(t *testing.T) {
	c := Default()
	for i := range options {
		o := &options[i]
		field := c.field(o)
		if o.check == nil || field.IsZero() {
			continue
		}
		texts := []string{defaultText(field)}
		if list, ok := field.Interface().([]string); ok {
			texts = list
		}
		for _, text := range texts {
			if err := o.check(text); err != nil {
				t.Errorf("default %q of --%s: %v", text, o.flag, err)
			}
		}
	}
}

// A datadir that a file names for one network is not used for another one, unless it is named as well.
func TestDatadirOfAnotherNetwork(t *testing.T) {
	c, err := parse(t, nil, "--sepolia")
	if err != nil {
		t.Fatal(err)
	}
	sepolia := write(t, "sepolia.toml", string(c.TOML()))
	mainnet := write(t, "mainnet.toml", string(Default().TOML()))
	own := write(t, "own.toml", "DataDir = \"/tmp/own\"\n")
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"--config", sepolia, "--mainnet"}, "datadir of sepolia"},
		{[]string{"--config", sepolia, "--network", "hoodi"}, "datadir of sepolia"},
		{[]string{"--config", mainnet, "--hoodi"}, "datadir of mainnet"},
		{[]string{"--config", mainnet, "--mainnet"}, ""},
		{[]string{"--config", sepolia, "--sepolia"}, ""},
		{[]string{"--config", sepolia}, ""},
		{[]string{"--config", own, "--hoodi"}, ""},
		{[]string{"--config", sepolia, "--hoodi", "--datadir", "/tmp/own"}, ""},
	} {
		_, err := parse(t, nil, test.args...)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%v: %v", test.args, err)
		}
	}
	if names := NewFlags(false).UnknownVariables([]string{"SUNBEAM_ARGS=--http", "SUNBEAM_NONE=1"}); len(names) != 1 {
		t.Errorf("unknown variables: %v", names)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "s.toml", "[P2P]\nPort = 1\nMaxPeers = 1\nIdentity = \"file\"\n[HTTP]\nAPI = [\"eth\", \"beam\"]\nEnabled = true\n")
	env := []string{"SUNBEAM_PORT=2", "SUNBEAM_MAXPEERS=2", "SUNBEAM_CONFIG=" + file, "SUNBEAM_RPC_EVMTIMEOUT=7s", "SUNBEAM_HTTP_VHOSTS="}
	c, err := parse(t, env, "--datadir", t.TempDir(), "--port", "4", "--port", "3", "--http=false")
	if err != nil {
		t.Fatal(err)
	}
	if c.P2P.Port != 3 {
		t.Errorf("port %d, want the last flag's 3", c.P2P.Port)
	}
	if c.P2P.MaxPeers != 2 {
		t.Errorf("maxpeers %d, want the environment's 2", c.P2P.MaxPeers)
	}
	if c.P2P.Identity != "file" || !reflect.DeepEqual(c.HTTP.API, []string{"eth", "beam"}) {
		t.Errorf("identity %q, http.api %v: want the file's", c.P2P.Identity, c.HTTP.API)
	}
	if c.HTTP.Enabled {
		t.Error("--http=false lost against the file's true")
	}
	if c.RPC.EVMTimeout != 7*time.Second {
		t.Errorf("rpc.evmtimeout %s", c.RPC.EVMTimeout)
	}
	if !reflect.DeepEqual(c.HTTP.VHosts, []string{"localhost"}) {
		t.Errorf("an empty variable counted: http.vhosts %v", c.HTTP.VHosts)
	}
	if c.HTTP.Port != 8545 || c.Engine.Port != 8551 {
		t.Errorf("defaults: http %d, authrpc %d", c.HTTP.Port, c.Engine.Port)
	}
}

// A bad value further down does not matter if a setting with precedence replaces it.
func TestOnlyTheWinnerIsChecked(t *testing.T) {
	file := write(t, "s.toml", "[P2P]\nPort = 99999\n")
	if _, err := parse(t, []string{"SUNBEAM_PORT=x"}, "--config", file, "--datadir", t.TempDir(), "--port", "30304"); err != nil {
		t.Fatal(err)
	}
}

func TestLists(t *testing.T) {
	c, err := parse(t, nil, "--datadir", t.TempDir(), "--beacon.api", "http://a:1", "--beacon.api", "https://b,http://c",
		"--bootnodes", "", "--netrestrict", "10.0.0.0/8, 192.168.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"http://a:1", "https://b", "http://c"}; !reflect.DeepEqual(c.Beacon.API, want) {
		t.Errorf("beacon.api %q, want %q", c.Beacon.API, want)
	}
	if c.P2P.Bootnodes == nil || len(c.P2P.Bootnodes) != 0 {
		t.Errorf("bootnodes %v, want none", c.P2P.Bootnodes)
	}
	if c.P2P.DNS != nil {
		t.Errorf("discovery.dns %v, want unset", c.P2P.DNS)
	}
	if len(c.P2P.NetRestrict) != 2 {
		t.Errorf("netrestrict %v", c.P2P.NetRestrict)
	}
}

func TestNetworks(t *testing.T) {
	c, err := parse(t, []string{"SUNBEAM_NETWORK=mainnet"}, "--sepolia")
	if err != nil {
		t.Fatal(err)
	}
	if c.Network != "sepolia" {
		t.Errorf("network %q, want the flag's sepolia", c.Network)
	}
	if filepath.Base(c.DataDir) != "sepolia" {
		t.Errorf("default datadir %s of a test network is not its own", c.DataDir)
	}
	if c, err = parse(t, nil, "--mainnet"); err != nil || filepath.Base(c.DataDir) == "mainnet" {
		t.Errorf("mainnet: %v, %v", c, err)
	}
}

func TestDumpedConfigLoadsTheSame(t *testing.T) {
	genesis := write(t, "g.json", `{"config":{"chainId":7},"alloc":{},"difficulty":"0x0","gasLimit":"0x1"}`)
	first, err := parse(t, []string{"SUNBEAM_IDENTITY=a <\"b\\ü>"}, "--datadir", filepath.Join(t.TempDir(), "d"),
		"--override.genesis", genesis, "--http", "--ws", "--ws.port", "1234", "--discovery.dns", "", "--rpc.evmtimeout", "1m30s",
		"--netrestrict", "10.0.0.0/8,fe80::/10", "--metrics", "--rpc.gascap", "18446744073709551615")
	if err != nil {
		t.Fatal(err)
	}
	dump := first.TOML()
	second, err := parse(t, nil, "--config", write(t, "dump.toml", string(dump)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, dump)
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("loaded\n%+v\nwant\n%+v", second, first)
	}
}

func TestLightClient(t *testing.T) {
	c, err := parse(t, nil, "--hoodi", "--beacon.api", "http://a:1", "--beacon.api.header", "Authorization: Basic x:y",
		"--beacon.checkpoint", "0x"+strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	light, err := c.LightClient()
	if err != nil {
		t.Fatal(err)
	}
	if light.GenesisTime != 1742213400 || light.Checkpoint[31] != 0xab || light.Threshold != 342 {
		t.Errorf("light client config %+v", light)
	}
	if light.CustomHeader["Authorization"] != "Basic x:y" {
		t.Errorf("headers %v", light.CustomHeader)
	}
}

func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	c, err := parse(t, nil, "--datadir", dir)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.NodeKeyFile(), c.JWTFile(), c.IPCEndpoint()}
	want := []string{dir + "/geth/nodekey", dir + "/geth/jwtsecret", dir + "/sunbeam.ipc"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c, err = parse(t, nil, "--datadir", dir, "--ipcpath", "/run/x.ipc"); err != nil || c.IPCEndpoint() != "/run/x.ipc" {
		t.Errorf("ipcpath: %v", err)
	}
	if c, err = parse(t, nil, "--datadir", dir, "--ipcdisable"); err != nil || c.IPCEndpoint() != "" {
		t.Errorf("ipcdisable: %v", err)
	}
}

// TestHistoryWanted: geth's words for how much history is kept, and ours for the rolling window.
func TestHistoryWanted(t *testing.T) {
	for _, test := range []struct {
		text   string
		blocks uint64
		fork   string
	}{
		{"all", math.MaxUint64, ""},
		{"postmerge", math.MaxUint64, "postmerge"},
		{"postprague", math.MaxUint64, "postprague"},
		{"postosaka", math.MaxUint64, "postosaka"},
		{"rolling", 1_056_768, ""},
		{"0", 0, ""},
		{"90000", 90_000, ""},
	} {
		if err := historySpan(test.text); err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
		if blocks, fork := (History{Chain: test.text}).Wanted(); blocks != test.blocks || fork != test.fork {
			t.Errorf("%s: %d blocks, from fork %q on; want %d, %q", test.text, blocks, fork, test.blocks, test.fork)
		}
	}
}
