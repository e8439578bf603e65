// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/metrics"
	"github.com/ethereum/go-ethereum/node"
)

// What geth's dumpconfig writes of some flags is the configuration that the same flags make here.
func TestFilesOfGeth(t *testing.T) {
	dir := t.TempDir()
	key := strings.Repeat("01", 32)
	jwt := write(t, "jwt", key)
	tests := [][]string{
		nil,
		{"--sepolia"},
		{"--http", "--http.addr", "0.0.0.0", "--http.port", "1", "--http.api", "eth,debug", "--http.corsdomain", "*", "--http.vhosts", "a,b", "--http.rpcprefix", "/x", "--rpc.http-body-limit", "7"},
		{"--ws", "--ws.addr", "0.0.0.0", "--ws.port", "2", "--ws.api", "eth", "--ws.origins", "*", "--ws.rpcprefix", "/y"},
		{"--authrpc.addr", "0.0.0.0", "--authrpc.port", "3", "--authrpc.vhosts", "*", "--authrpc.jwtsecret", jwt, "--ipcdisable"},
		{"--ipcpath", "other.ipc", "--identity", "me", "--db.engine", "pebble", "--networkid", "1337"},
		{
			"--rpc.gascap", "5", "--rpc.evmtimeout", "7s", "--rpc.txfeecap", "0.5", "--rpc.rangelimit", "9", "--rpc.logquerylimit", "8", "--rpc.batch-request-limit", "7", "--rpc.batch-response-max-size", "6",
			"--rpc.allow-unprotected-txs", "--rpc.txsync.defaulttimeout", "1s", "--rpc.txsync.maxtimeout", "2s",
		},
		{"--history.chain", "postprague"},
		{"--miner.gasprice", "16000000000", "--miner.gaslimit", "30000000", "--miner.extradata", "abc", "--miner.recommit", "1s", "--miner.maxblobs", "3"},
		{
			"--txpool.pricelimit", "2", "--txpool.pricebump", "11", "--txpool.globalslots", "12", "--txpool.globalqueue", "13", "--txpool.nolocals", "--txpool.journal", "x.rlp", "--txpool.rejournal", "1m0s", "--blobpool.datacap", "100000000",
			"--txpool.accountslots", "17", "--txpool.accountqueue", "65", "--txpool.lifetime", "1h0m0s", "--blobpool.datadir", "blobs",
		},
		{"--port", "4", "--discovery.port", "5", "--maxpeers", "6", "--maxpendpeers", "7", "--nat", "extip:1.2.3.4", "--netrestrict", "10.0.0.0/8,192.168.0.0/16", "--discovery.dns", "enrtree://AKA3AM6LPBYEUDMVNU3BSVQJ5AD45Y7YPOHJLEF6W26QOE4VTUDPE@example.org"},
		{"--nodiscover", "--metrics", "--metrics.addr", "0.0.0.0", "--metrics.port", "8"},
	}
	for _, args := range tests {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			args := append(args, "--datadir", filepath.Join(dir, "d"))
			want, _, err := parseWith(t, NewFlags(true), nil, args...)
			if err != nil {
				t.Fatal(err)
			}
			file := write(t, "geth.toml", runGeth(t, append(args, "dumpconfig")...))
			got, notes, err := parseWith(t, NewFlags(true), nil, "--config", file)
			if err != nil {
				t.Fatal(err)
			}
			if len(notes) > 0 {
				t.Errorf("notes on what nobody chose: %v", notes)
			}
			got.P2P.Bootnodes = want.P2P.Bootnodes // geth writes those of the network
			if want.P2P.DNS == nil {
				got.P2P.DNS = nil
			}
			if got.NetworkID == 11155111 { // which --sepolia means
				got.NetworkID = want.NetworkID
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("from geth's file\n%+v\nfrom the flags\n%+v", got, want)
			}
		})
	}
}

// Each field of geth's configuration is a key of the table.
func TestKeysOfGeth(t *testing.T) {
	known := make(map[string]bool)
	ours := make(map[string]bool)
	for i := range options {
		ours[options[i].flag] = true
	}
	for i := range gethKeys {
		k := &gethKeys[i]
		if known[k.key] {
			t.Errorf("%s is there twice", k.key)
		}
		known[k.key] = true
		if k.flag == "" && k.instead == "" && k.becomes == nil {
			t.Errorf("%s: nothing is said about it", k.key)
		}
		if k.flag != "" && !ours[k.flag] && findGethFlag(k.flag) == nil {
			t.Errorf("%s: no flag %s", k.key, k.flag)
		}
	}
	found := 0
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			switch name, _, _ := strings.Cut(f.Tag.Get("toml"), ","); {
			case name == "-" || f.Name == "Genesis" || !f.IsExported():
			case f.Type.Kind() == reflect.Struct && f.Name != "HistoryMode":
				walk(prefix+f.Name+".", f.Type)
			default:
				found++
				if !known[prefix+f.Name] {
					t.Errorf("%s is unknown", prefix+f.Name)
				}
			}
		}
	}
	walk("Eth.", reflect.TypeFor[ethconfig.Config]())
	walk("Node.", reflect.TypeFor[node.Config]())
	walk("Metrics.", reflect.TypeFor[metrics.Config]())
	if found < 100 {
		t.Errorf("geth has %d keys only", found)
	}
}

func TestNotesOnFilesOfGeth(t *testing.T) {
	file := write(t, "geth.toml", "[Eth]\nSyncMode = \"full\"\nLightServ = 5\n[Node]\nDataDir = \""+t.TempDir()+"\"\nHTTPHost = \"127.0.0.1\"\nHTTPModules = [\"eth\", \"personal\"]\n[Node.P2P]\nDialRatio = 3\n")
	cfg, notes, err := parseNotes(t, nil, "--config", file, "--http.port", "7")
	if err != nil {
		t.Fatal(err)
	}
	var about []string
	for _, note := range notes {
		about = append(about, note.Flag)
	}
	for _, want := range []string{"syncmode", "Eth.LightServ", "Node.P2P.DialRatio", "http.api"} {
		if !strings.Contains(strings.Join(about, " "), want) {
			t.Errorf("no note on %s: %v", want, about)
		}
	}
	if !cfg.HTTP.Enabled || cfg.HTTP.Addr != "127.0.0.1" || cfg.HTTP.Port != 7 {
		t.Errorf("HTTP %+v", cfg.HTTP)
	}
	for content, says := range map[string]string{
		"[Eth]\nNoPruning = true\n":                  "--gcmode archive",
		"[Eth]\nSyncMod = \"full\"\n[Node]\nX = 1\n": "Eth.SyncMod, Node.X",
		"[Eth.Genesis]\nNonce = 1\n":                 "--override.genesis",
		"[Node]\nHTTPPort = 99999\n":                 "from 0 to 65535",
		"[Eth]\nRPCEVMTimeout = \"5s\"\n":            "nanoseconds",
		"[Node.P2P]\nListenAddr = \"30303\"\n":       "such as :30303",
		"[Eth]\nNetworkId = [1]\n":                   "want",
	} {
		if _, err := parse(t, nil, "--datadir", t.TempDir(), "--config", write(t, "bad.toml", content)); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", content, err, says)
		}
	}
}

// A program that is called geth reads geth's environment too, and has its paths.
func TestCalledAsGeth(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	env := []string{"GETH_HTTP=true", "GETH_HTTP_PORT=7", "SUNBEAM_HTTP_PORT=8", "GETH_MINER_PENDING_FEERECIPIENT=0x1", "GETH_WS=true", "SUNBEAM_MAXPEERS=3"}
	cfg, notes, err := parseWith(t, NewFlags(true), env, "--ws=false", "--sepolia")
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.HTTP.Enabled || cfg.HTTP.Port != 8 || cfg.WS.Enabled || cfg.P2P.MaxPeers != 3 || len(notes) != 1 {
		t.Errorf("%+v, %+v, notes %v", cfg.HTTP, cfg.WS, notes)
	}
	if want := filepath.Join(home, ".ethereum", "sepolia"); cfg.DataDir != want || cfg.IPCEndpoint() != filepath.Join(want, "geth.ipc") {
		t.Errorf("datadir %s, socket %s", cfg.DataDir, cfg.IPCEndpoint())
	}
	if cfg, err = parse(t, env); err != nil || cfg.HTTP.Enabled || cfg.DataDir != filepath.Join(home, ".sunbeam") {
		t.Errorf("under our own name: %v %+v", err, cfg)
	}
	environ := append(env, "GETH_HTPP=1", "SUNBEAM_CACHE=5", "SUNBEAM_CASH=6", "SUNBEAM_CONFIG=x", "HOME=/")
	if got := strings.Join(NewFlags(true).UnknownVariables(environ), " "); got != "GETH_HTPP SUNBEAM_CASH" {
		t.Errorf("unknown variables: %s", got)
	}
	if got := strings.Join(NewFlags(false).UnknownVariables(environ), " "); got != "SUNBEAM_CASH" {
		t.Errorf("unknown variables under our own name: %s", got)
	}
	file := write(t, "geth.toml", "[Node]\nHTTPPort = 9\n")
	if cfg, _, err = parseWith(t, NewFlags(true), []string{"GETH_CONFIG=" + file}); err != nil || cfg.HTTP.Port != 9 {
		t.Errorf("GETH_CONFIG: %v, port %d", err, cfg.HTTP.Port)
	}
}
