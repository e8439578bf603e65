// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	gethtests "github.com/ethereum/go-ethereum/tests"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// notApplicable are the parts of ethereum/tests that ask for what is not ours.
var notApplicable = map[string]string{
	// The head that these expect is the one with the most total difficulty. Ours is the one
	// that the consensus client names; their blocks are imported and judged all the same.
	"bcMultiChainTest":      "fork choice by total difficulty",
	"bcForkStressTest":      "fork choice by total difficulty",
	"bcTotalDifficulty":     "fork choice by total difficulty",
	"bcArrowGlacierToParis": "terminal total difficulty: the merge block is chosen by it",
}

// needsDifficulty marks blocks that are wrong only because of the total difficulty below them.
const needsDifficulty = "IMPORT_IMPOSSIBLE_PARIS_WRONG_POW"

type blockTest struct {
	Blocks []struct {
		RLP             hexutil.Bytes
		BlockHeader     *struct{} // there only if the block is good
		ExpectException string
	}
	Genesis   testHeader            `json:"genesisBlockHeader"`
	Pre       types.GenesisAlloc    `json:"pre"`
	BestBlock common.UnprefixedHash `json:"lastblockhash"`
	Network   string                `json:"network"`
}

type testHeader struct {
	Coinbase              common.Address
	MixHash               common.Hash
	Nonce                 types.BlockNonce
	Hash                  common.Hash
	ParentHash            common.Hash
	StateRoot             common.Hash
	ExtraData             hexutil.Bytes
	Timestamp             math.HexOrDecimal64
	GasUsed               math.HexOrDecimal64
	BaseFeePerGas         *math.HexOrDecimal256
	GasLimit              math.HexOrDecimal64
	Difficulty            *math.HexOrDecimal256
	BlobGasUsed           *math.HexOrDecimal64
	ExcessBlobGas         *math.HexOrDecimal64
	ParentBeaconBlockRoot *common.Hash
}

func (b *blockTest) genesis(config *params.ChainConfig) *core.Genesis {
	return &core.Genesis{
		Config:        config,
		Nonce:         b.Genesis.Nonce.Uint64(),
		Timestamp:     uint64(b.Genesis.Timestamp),
		ParentHash:    b.Genesis.ParentHash,
		ExtraData:     b.Genesis.ExtraData,
		GasLimit:      uint64(b.Genesis.GasLimit),
		GasUsed:       uint64(b.Genesis.GasUsed),
		Difficulty:    (*big.Int)(b.Genesis.Difficulty),
		Mixhash:       b.Genesis.MixHash,
		Coinbase:      b.Genesis.Coinbase,
		Alloc:         b.Pre,
		BaseFee:       (*big.Int)(b.Genesis.BaseFeePerGas),
		BlobGasUsed:   (*uint64)(b.Genesis.BlobGasUsed),
		ExcessBlobGas: (*uint64)(b.Genesis.ExcessBlobGas),
	}
}

// hashStore is a complete state in go-ethereum's hash scheme.
type hashStore struct{ kv ethdb.KeyValueStore }

func (s hashStore) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return rawdb.ReadLegacyTrieNode(s.kv, hash), nil
}

func (s hashStore) Code(hash common.Hash) ([]byte, error) { return rawdb.ReadCode(s.kv, hash), nil }

func (s hashStore) PutNodes(nodes []trie.Node) error {
	for _, node := range nodes {
		rawdb.WriteLegacyTrieNode(s.kv, node.Hash, node.Blob)
	}
	return nil
}

func (s hashStore) PutCode(hash common.Hash, code []byte) error {
	rawdb.WriteCode(s.kv, hash, code)
	return nil
}

// noPeers is a network without peers: every request fails.
type noPeers struct{}

func (noPeers) Hint(context.Context, []trie.Fault, []common.Hash, func()) error {
	return trie.ErrUnavailable
}

func (noPeers) FetchNode(context.Context, trie.Fault) ([]byte, error) {
	return nil, trie.ErrUnavailable
}

func (noPeers) FetchCode(context.Context, common.Hash) ([]byte, error) {
	return nil, trie.ErrUnavailable
}

func (noPeers) Stats() trie.FetchStats { return trie.FetchStats{} }

func (noPeers) Bodies(context.Context, []*types.Header) ([]*types.Block, error) {
	return nil, trie.ErrUnavailable
}

func (noPeers) Headers(context.Context, common.Hash, int) ([]*types.Header, error) {
	return nil, trie.ErrUnavailable
}

func (noPeers) AccessLists(context.Context, []*types.Header) ([]rlp.RawValue, error) {
	return nil, trie.ErrUnavailable
}

// databaseStates adapts db.Full to [States].
type databaseStates struct{ *db.Full }

func (f databaseStates) Open(ctx context.Context, root common.Hash) evm.State {
	return f.Full.Open(ctx, root)
}

// fullOf makes full state of a genesis, as a node does: by a walk, and by enabling what it completed.
func fullOf(t *testing.T, disk *db.DB, state trie.Local, genesis *core.Genesis, root common.Hash) States {
	t.Helper()
	for _, account := range genesis.Alloc {
		if len(account.Code) > 0 {
			if err := disk.Chain().PutCode(crypto.Keccak256Hash(account.Code), account.Code); err != nil {
				t.Fatal(err)
			}
		}
	}
	walker := trie.NewWalker(trie.WalkerConfig{Root: root, Complete: disk.Complete(), Writer: disk.Complete().Writer(), Local: state})
	walker.ByNodes(true)
	for !walker.Done() {
		if need, more, err := walker.Next(false, false); err != nil || need != nil || !more && !walker.Done() {
			t.Fatalf("walk: %v, needs %v", err, need)
		}
	}
	full, err := disk.EnableFull(root, trie.NewCache(1<<20, nil))
	if err != nil {
		t.Fatal(err)
	}
	return databaseStates{full}
}

// newLocalImporter returns a running importer over the complete state of a genesis: beaming with all that it needs at
// hand, or that of a full node.
func newLocalImporter(t *testing.T, genesis *core.Genesis, full bool, change ...func(*Config)) (*Importer, *chain.Chain) {
	t.Helper()
	state := rawdb.NewMemoryDatabase()
	nodes := triedb.NewDatabase(state, triedb.HashDefaults)
	if _, err := genesis.Commit(state, nodes, nil); err != nil {
		t.Fatal(err)
	}
	if err := nodes.Close(); err != nil {
		t.Fatal(err)
	}
	disk, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := chain.New(disk.Chain(), genesis)
	if err != nil {
		t.Fatal(err)
	}
	var states States
	if full {
		states = fullOf(t, disk, hashStore{state}, genesis, blocks.Genesis().Root())
	}
	cfg := Config{
		States:   states,
		Chain:    blocks,
		Executor: evm.NewExecutor(genesis.Config),
		Local:    hashStore{state},
		Blocks:   noPeers{},
		Session:  func() StateSession { return noPeers{} },
		Log:      slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	importer := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- importer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("importer: %v", err)
		}
		disk.Close()
	})
	return importer, blocks
}

// TestEthereumTests imports every chain of ethereum/tests block by block, as payloads, and
// checks each verdict and the head.
func TestEthereumTests(t *testing.T) {
	file, err := os.Open(filepath.Join(realdata.Dir(t), "ethereum-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(unzipped)
	var ran, headless, unsupported int
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(entry.Name, ".json") {
			continue
		}
		tests := make(map[string]*blockTest)
		if err := json.NewDecoder(archive).Decode(&tests); err != nil {
			t.Fatalf("%s: %v", entry.Name, err)
		}
		family := path.Base(path.Dir(entry.Name))
		for name, test := range tests {
			config, known := gethtests.Forks[test.Network]
			if !known {
				unsupported++
				continue
			}
			ran++
			if notApplicable[family] != "" {
				headless++
			}
			t.Run(family+"/"+name, func(t *testing.T) {
				t.Parallel()
				runBlockTest(t, test, config, notApplicable[family] == "", false)
			})
			if testing.Short() && ran%6 > 0 {
				continue
			}
			t.Run(family+"/"+name+"/full", func(t *testing.T) {
				t.Parallel()
				runBlockTest(t, test, config, notApplicable[family] == "", true)
			})
		}
	}
	t.Logf("%d chains, of which %d without a verdict on the head; %d of unknown networks", ran, headless, unsupported)
	if ran < 500 {
		t.Errorf("only %d chains were run", ran)
	}
}

func runBlockTest(t *testing.T, test *blockTest, config *params.ChainConfig, checkHead, full bool) {
	importer, blocks := newLocalImporter(t, test.genesis(config), full)
	if got := blocks.Genesis().Hash(); got != test.Genesis.Hash {
		t.Fatalf("genesis %x, want %x", got, test.Genesis.Hash)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n, entry := range test.Blocks {
		good := entry.BlockHeader != nil
		status, err := importRLP(ctx, importer, entry.RLP)
		switch {
		case err != nil && good:
			t.Fatalf("block %d: %v", n, err)
		case err != nil: // not even a block, as expected
		case !good && strings.Contains(entry.ExpectException, needsDifficulty): // not ours to see
		case !good && status.Status == Valid:
			t.Errorf("block %d is %s, want it refused: %s", n, status.Status, entry.ExpectException)
		case good && status.Status != Valid:
			t.Fatalf("block %d is %s, want VALID: %v", n, status.Status, reasonOf(status))
		}
	}
	if !checkHead {
		return
	}
	head := common.Hash(test.BestBlock)
	status, err := importer.Forkchoice(ctx, Forkchoice{Head: head})
	if err != nil || status.Status != Valid {
		t.Fatalf("head %x is %s: %v %v", head, status.Status, reasonOf(status), err)
	}
	if got := blocks.CurrentHeader().Hash(); got != head {
		t.Errorf("head %x, want %x", got, head)
	}
}

func importRLP(ctx context.Context, importer *Importer, enc []byte) (Outcome, error) {
	var block types.Block
	if err := rlp.DecodeBytes(enc, &block); err != nil {
		return Outcome{}, fmt.Errorf("decoding: %w", err)
	}
	return importer.NewPayload(ctx, &block), nil
}

func reasonOf(outcome Outcome) string {
	if outcome.Reason == nil {
		return ""
	}
	return outcome.Reason.Error()
}
