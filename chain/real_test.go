// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

// TestRealBlocks applies the rules to blocks of public networks, from proof of work on.
func TestRealBlocks(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(realdata.Dir(t), "blocks", "*.json.gz"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no blocks: %v", err)
	}
	configs := map[uint64]*params.ChainConfig{
		1: params.MainnetChainConfig, 11155111: params.SepoliaChainConfig, 560048: params.HoodiChainConfig,
	}
	checked := 0
	for _, path := range paths {
		block, parent, id := readWitness(t, path)
		config := configs[id]
		if config == nil || parent == nil {
			continue
		}
		if err := chain.VerifyHeader(config, block.Header(), parent); err != nil {
			t.Errorf("%s: header: %v", filepath.Base(path), err)
		}
		if err := chain.VerifyBody(config, block); err != nil {
			t.Errorf("%s: body: %v", filepath.Base(path), err)
		}
		checked++
	}
	if checked < 20 {
		t.Errorf("only %d of %d blocks were checked", checked, len(paths))
	}
}

func readWitness(t *testing.T, path string) (*types.Block, *types.Header, uint64) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	raw, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	// The blocks and headers come before the state, which is large and not needed here.
	var witness struct {
		ChainID uint64
		Block   hexutil.Bytes
		Headers []hexutil.Bytes
	}
	fields := map[string]any{"chainId": &witness.ChainID, "block": &witness.Block, "headers": &witness.Headers}
	decoder := json.NewDecoder(raw)
	for len(fields) > 0 {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		name, _ := token.(string)
		if target, ok := fields[name]; ok {
			delete(fields, name)
			if err := decoder.Decode(target); err != nil {
				t.Fatalf("%s: %s: %v", path, name, err)
			}
		}
	}
	block := new(types.Block)
	if err := rlp.DecodeBytes(witness.Block, block); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(witness.Headers) == 0 {
		return block, nil, witness.ChainID
	}
	parent := new(types.Header)
	if err := rlp.DecodeBytes(witness.Headers[0], parent); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return block, parent, witness.ChainID
}

// TestGeneratedChains runs the rules over two chains that cross every fork, Amsterdam included.
func TestGeneratedChains(t *testing.T) {
	t.Run("amsterdam", func(t *testing.T) {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ethereum/go-ethereum").Output()
		if err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(strings.TrimSpace(string(dir)), "cmd", "devp2p", "internal", "ethtest", "testdata")
		genesis, err := os.ReadFile(filepath.Join(data, "genesis.json"))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := os.Open(filepath.Join(data, "chain.rlp"))
		if err != nil {
			t.Fatal(err)
		}
		defer blocks.Close()
		importChain(t, genesis, blocks, 600)
	})
	t.Run("osaka", func(t *testing.T) {
		files := realdata.Files(t, "osaka3000.tar.gz", "genesis.json", "chain.rlp")
		importChain(t, files["genesis.json"], bytes.NewReader(files["chain.rlp"]), 3000)
	})
}

// importChain checks every block against its parent and keeps it, then lets the headers
// alone be checked as a run.
func importChain(t *testing.T, genesisJSON []byte, blocks io.Reader, want int) {
	t.Helper()
	genesis := new(core.Genesis)
	if err := json.Unmarshal(genesisJSON, genesis); err != nil {
		t.Fatal(err)
	}
	c, _ := open(t, genesis)
	parent := c.Genesis().Header()
	var headers []*types.Header
	for stream := rlp.NewStream(blocks, 0); ; {
		block := new(types.Block)
		if err := stream.Decode(block); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if block.NumberU64() == 0 {
			continue
		}
		if err := chain.VerifyHeader(genesis.Config, block.Header(), parent); err != nil {
			t.Fatalf("header %d: %v", block.Number(), err)
		}
		if err := chain.VerifyBody(genesis.Config, block); err != nil {
			t.Fatalf("body %d: %v", block.Number(), err)
		}
		if err := c.AddBlock(block); err != nil {
			t.Fatal(err)
		}
		parent = block.Header()
		headers = append(headers, parent)
	}
	if len(headers) != want {
		t.Fatalf("%d blocks, want %d", len(headers), want)
	}
	if c.Status(parent.Hash()) != chain.Known || c.Block(parent.Hash()) == nil {
		t.Fatal("the last block was not kept")
	}
	fresh, _ := open(t, genesis)
	if err := fresh.AddHeaders(headers); err != nil {
		t.Fatal(err)
	}
}

// TestPublicNetworks opens the networks that a user can name.
func TestPublicNetworks(t *testing.T) {
	for hash, genesis := range map[string]*core.Genesis{
		params.MainnetGenesisHash.Hex(): core.DefaultGenesisBlock(),
		params.SepoliaGenesisHash.Hex(): core.DefaultSepoliaGenesisBlock(),
		params.HoodiGenesisHash.Hex():   core.DefaultHoodiGenesisBlock(),
	} {
		c, d := open(t, genesis)
		if c.Genesis().Hash().Hex() != hash {
			t.Errorf("genesis %s, want %s", c.Genesis().Hash().Hex(), hash)
		}
		check(t, load(t, d, genesis))
	}
}
