// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"compress/gzip"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// chainFile writes blocks as geth's export does.
func chainFile(t *testing.T, name string, blocks ...*types.Block) string {
	var out bytes.Buffer
	for _, block := range blocks {
		check(t, rlp.Encode(&out, block))
	}
	if strings.HasSuffix(name, ".gz") {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, err := w.Write(out.Bytes())
		check(t, err)
		check(t, w.Close())
		out = zipped
	}
	path := filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(path, out.Bytes(), 0o600))
	return path
}

// TestImportWithoutInit: the blocks of another network do not make a datadir of mainnet.
func TestImportWithoutInit(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 2, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	for _, file := range []string{
		chainFile(t, "all.rlp", genesis.ToBlock(), blocks[0]), chainFile(t, "all.rlp.gz", blocks...), chainFile(t, "second.rlp", blocks[1]),
	} {
		for _, network := range []string{"", "sepolia"} {
			cfg := localConfig(t)
			cfg.DataDir, cfg.Network = filepath.Join(t.TempDir(), "none"), network
			err := Import(t.Context(), cfg, []string{file}, discard)
			if err == nil || !strings.Contains(err.Error(), "run init with its genesis file first") {
				t.Errorf("%s, network %q: %v", file, network, err)
			}
			if _, err := os.Stat(cfg.DataDir); err == nil {
				t.Error("a datadir was made")
			}
		}
	}
	cfg := withGenesis(t, localConfig(t), genesis)
	cfg.DataDir = filepath.Join(t.TempDir(), "none")
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "good.rlp", blocks...)}, discard))
}

func TestImport(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 5, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))

	// Two files, the second zipped and with one block that was executed before.
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks[:3]...), chainFile(t, "b.rlp.gz", blocks[2:4]...)}, discard))
	n, err := New(cfg, discard)
	check(t, err)
	if head := n.chain.CurrentHeader().Hash(); head != blocks[3].Hash() {
		t.Errorf("head after import is %s, want block 4", head)
	}
	if n.chain.Status(blocks[3].Hash()) != chain.Executed || len(n.chain.Receipts(blocks[3].Hash())) != 1 {
		t.Error("block 4 was not executed")
	}
	check(t, n.Close())

	// What cannot be imported says which block and why.
	wrong := blocks[4].Header()
	wrong.Root = common.Hash{1}
	bad := types.NewBlockWithHeader(wrong).WithBody(*blocks[4].Body())
	orphan := blocks[4].Header()
	orphan.Number, orphan.ParentHash = big.NewInt(6), blocks[4].Hash()
	tests := []struct{ file, says string }{
		{chainFile(t, "bad.rlp", bad), "block 5 is invalid"},
		{chainFile(t, "orphan.rlp", types.NewBlockWithHeader(orphan)), "block 6: its parent"},
		{filepath.Join(t.TempDir(), "absent"), "no such file"},
		{cfg.DataDir, "is a directory"},
		{func() string {
			path := chainFile(t, "cut.rlp", blocks[4])
			content, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, content[:len(content)/2], 0o600))
			return path
		}(), "block at position 0"},
	}
	for _, test := range tests {
		if err := Import(t.Context(), cfg, []string{test.file}, discard); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want %q", filepath.Base(test.file), err, test.says)
		}
	}
	// And nothing of it stuck.
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "good.rlp", blocks[4])}, discard))

	var out bytes.Buffer
	check(t, Stats(t.Context(), cfg, slog.New(slog.DiscardHandler), &out))
	if !strings.Contains(out.String(), "headers") || !strings.Contains(out.String(), "young trie nodes") {
		t.Errorf("stats:\n%s", out.String())
	}
}

func TestInit(t *testing.T) {
	cfg, genesis := localConfig(t), pragueGenesis()
	check(t, Init(cfg, genesis, discard))
	check(t, Init(cfg, genesis, discard)) // again is fine

	other := pragueGenesis()
	other.ExtraData = []byte("other")
	if err := Init(cfg, other, discard); err == nil || !strings.Contains(err.Error(), "another network") ||
		!strings.Contains(err.Error(), other.ToBlock().Hash().Hex()) {
		t.Errorf("other genesis: error %v", err)
	}
	// The refused one left no trace: the datadir is still that of the first.
	n, err := New(cfg, discard)
	check(t, err)
	if n.chain.Genesis().Hash() != genesis.ToBlock().Hash() || n.networkID() != genesis.Config.ChainID.Uint64() {
		t.Errorf("datadir holds %s, network ID %d", n.chain.Genesis().Hash(), n.networkID())
	}
	check(t, n.Close())

	// Nor does it take the beacon chain of mainnet for its own.
	light := *cfg
	light.Beacon.API = []string{"http://127.0.0.1:1"}
	if n, err := New(&light, discard); err == nil || !strings.Contains(err.Error(), "--beacon.config") {
		t.Errorf("a light client without the beacon chain's configuration: %v", err)
		if err == nil {
			check(t, n.Close())
		}
	}

	cfg.Network = "mainnet"
	if err := Init(cfg, genesis, discard); err == nil || !strings.Contains(err.Error(), "--network") {
		t.Errorf("init with --network: %v", err)
	}
}

func TestStatsOfNothing(t *testing.T) {
	cfg := localConfig(t)
	if err := Stats(t.Context(), cfg, slog.New(slog.DiscardHandler), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("error %v, want one that names the directory", err)
	}
	if _, err := os.Stat(cfg.DataDir); !os.IsNotExist(err) {
		t.Error("the datadir was made")
	}
}

// The genesis state must be complete: every node of it is served from the root down.
func TestGenesisStateIsServed(t *testing.T) {
	genesis := pragueGenesis()
	contract := common.Address{0xcc}
	storage := make(map[common.Hash]common.Hash)
	for i := range 40 {
		storage[common.BigToHash(big.NewInt(int64(i)))] = common.BigToHash(big.NewInt(int64(i + 1)))
	}
	genesis.Alloc[contract] = types.Account{Code: []byte{0x60, 0x00}, Storage: storage, Balance: big.NewInt(1)}
	cfg := withGenesis(t, localConfig(t), genesis)
	n, err := New(cfg, discard)
	check(t, err)
	defer n.Close()
	check(t, n.beginAtGenesis(t.Context()))

	s := n.served()
	state := s.State(n.chain.Genesis().Root())
	if state == nil || s.State(common.Hash{1}) != nil {
		t.Fatal("the wrong states are served")
	}
	key := keccak(contract.Bytes())
	for _, owner := range []common.Hash{{}, key} {
		rootNode := state.TrieNode(owner, nil)
		if rootNode == nil {
			t.Fatalf("no root node of trie %x", owner)
		}
		held := 0
		for nibble := range byte(16) {
			if blob := state.TrieNode(owner, []byte{nibble}); blob != nil {
				held++
				if !bytes.Contains(rootNode, keccak(blob).Bytes()) {
					t.Errorf("node at %x of trie %x is not a child of its root", nibble, owner)
				}
			}
		}
		if held < 5 {
			t.Errorf("trie %x: only %d nodes below its root", owner, held)
		}
	}
	if state.TrieNode(common.Hash{9}, nil) != nil || state.TrieNode(common.Hash{}, bytes.Repeat([]byte{3}, 64)) != nil {
		t.Error("served what does not exist")
	}
	if code := s.Code(keccak([]byte{0x60, 0x00})); !bytes.Equal(code, []byte{0x60, 0x00}) {
		t.Errorf("code %x", code)
	}
}

// TestImportReport: an import of any length has a line every eight seconds, with the figures of the blocks since the one before.
func TestImportReport(t *testing.T) {
	var log bytes.Buffer
	begin := time.Unix(1000, 0)
	report := importReport{log: slog.New(slog.NewTextHandler(&log, nil)), file: "f", since: begin}
	for second := range 60 {
		for range 10 {
			report.add(types.NewBlockWithHeader(&types.Header{Number: big.NewInt(int64(second)), GasUsed: 1e6}), begin.Add(time.Duration(second)*time.Second))
		}
	}
	if lines := strings.Count(log.String(), "Importing blocks"); lines != 7 || !strings.Contains(log.String(), "number=8 ") || !strings.Contains(log.String(), "mgasps=10") {
		t.Errorf("%d lines in a minute:\n%s", lines, &log)
	}
}
