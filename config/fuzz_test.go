// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/crypto"
)

// maxFuzzed limits inputs, so that one does not take long.
const maxFuzzed = 16 << 10

// file writes an input to a file.
func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// FuzzTOML: a file is refused in one line that names it or one of its settings, or what dumpconfig makes of the
// configuration is the same configuration.
func FuzzTOML(f *testing.F) {
	f.Add(Default().TOML())
	f.Add([]byte("Network = \"sepolia\"\n[HTTP]\nEnabled = true\nPort = 8545\nAPI = [\"eth\", \"net\"]\n"))
	f.Add([]byte("[P2P]\nMaxPeers = -1\n"))
	f.Add([]byte("DataDir = \"\\u0000\"\n[TxPool]\nPriceLimit = 18446744073709551615\n[Beam]\nHotSizeMB = 1e3\n"))
	f.Add([]byte("[[HTTP]]\nPort = 1\n[HTTP]\nPort = 2\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > maxFuzzed || bytes.Contains(content, []byte("/dev")) {
			return
		}
		cfg, err := parse(t, nil, "--config", file(t, content))
		if err != nil {
			if text := err.Error(); text == "" || strings.ContainsAny(text, "\n\r") {
				t.Fatalf("error %q", text)
			}
			return
		}
		dumped := cfg.TOML()
		again, err := parse(t, nil, "--config", file(t, dumped))
		if err != nil {
			t.Fatalf("%v in what dumpconfig wrote:\n%s", err, dumped)
		}
		if !reflect.DeepEqual(again, cfg) {
			t.Fatalf("%+v, then %+v", cfg, again)
		}
	})
}

// FuzzGenesis: a file is refused, or the copy that the datadir keeps of it is the same genesis block.
func FuzzGenesis(f *testing.F) {
	for _, genesis := range []*core.Genesis{core.DeveloperGenesisBlock(30_000_000, nil), core.DefaultHoodiGenesisBlock()} {
		for addr := range genesis.Alloc {
			if len(genesis.Alloc) < 8 {
				break
			}
			delete(genesis.Alloc, addr)
		}
		text, err := json.Marshal(genesis)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"config":{"chainId":1,"londonBlock":5,"berlinBlock":6},"difficulty":"0x1","gasLimit":"0x1","alloc":{}}`))
	f.Add([]byte(`{"config":{"clique":{}},"difficulty":"0x1","gasLimit":"0x1","alloc":{}}`))
	f.Add([]byte(`{"config":{"chainId":1,"terminalTotalDifficulty":0,"shanghaiTime":0,"cancunTime":0},"difficulty":"0x0","gasLimit":"0x1","alloc":{"0x01":{"balance":"0x1","storage":{"0x1":"0x2"}}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > maxFuzzed {
			return
		}
		genesis, err := ReadGenesis(file(t, content))
		if err != nil {
			return
		}
		text, err := json.Marshal(genesis)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ReadGenesis(file(t, text))
		if err != nil {
			t.Fatalf("%v in the copy:\n%s", err, text)
		}
		if a, b := genesis.ToBlock().Hash(), again.ToBlock().Hash(); a != b {
			t.Fatalf("genesis block %x, after a restart %x:\n%s", a, b, text)
		}
	})
}

// FuzzSecret: a file of a JWT secret or a node key is read as what is in it, or it is refused. A file that can be read is
// never taken for one that a power cut left incomplete: that one would be replaced.
func FuzzSecret(f *testing.F) {
	digits := strings.Repeat("1f", 32)
	for _, text := range []string{digits, "0x" + digits + "\n", " \t0X" + digits, digits[:63], digits + "00", "", strings.Repeat("\x00", 64), strings.ToUpper(digits)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > maxFuzzed {
			return
		}
		path := file(t, content)
		torn := TornSecret(path)
		secret, err := ReadJWTSecret(path)
		if err == nil {
			text := strings.TrimPrefix(strings.TrimSpace(string(content)), "0x")
			if len(secret) != 32 || !strings.EqualFold(hex.EncodeToString(secret), text) {
				t.Fatalf("%q was read as %x", content, secret)
			}
		} else if !strings.Contains(err.Error(), "JWT secret") {
			t.Fatalf("error %v", err)
		}
		key, keyErr := crypto.LoadECDSA(path)
		if keyErr == nil && !strings.Contains(strings.ToLower(string(content)), hex.EncodeToString(crypto.FromECDSA(key))) {
			t.Fatalf("%q was read as another key", content)
		}
		if torn && (err == nil || keyErr == nil) {
			t.Fatalf("%q counts as incomplete, but can be read", content)
		}
	})
}
