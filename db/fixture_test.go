package db

import (
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var testGenesis = &core.Genesis{Config: params.MergedTestChainConfig, Difficulty: new(big.Int), GasLimit: 30_000_000}

// branch makes blocks that hang together and mean nothing: the store does not execute.
func branch(parent *types.Block, length int, salt byte) (blocks []*types.Block) {
	for range length {
		var (
			number = new(big.Int).Add(parent.Number(), common.Big1)
			txs    types.Transactions
			list   types.Receipts
		)
		for i := range 3 {
			txs = append(txs, types.NewTx(&types.LegacyTx{Nonce: uint64(i), Data: append(number.Bytes(), salt), To: &common.Address{}, V: big.NewInt(27), R: common.Big1, S: common.Big1}))
			list = append(list, receipt(i))
		}
		header := &types.Header{
			ParentHash: parent.Hash(), Number: number, Time: parent.Time() + 12, Difficulty: new(big.Int), Extra: []byte{salt},
			BaseFee: common.Big1, BlobGasUsed: new(uint64), ExcessBlobGas: new(uint64), ParentBeaconRoot: &common.Hash{}, RequestsHash: &types.EmptyRequestsHash,
		}
		parent = types.NewBlock(header, &types.Body{Transactions: txs, Withdrawals: types.Withdrawals{}}, list, gethtrie.NewStackTrie(nil))
		blocks = append(blocks, parent)
	}
	return blocks
}

func receipt(i int) *types.Receipt {
	r := &types.Receipt{Status: 1, CumulativeGasUsed: uint64(i+1) * 21000, Logs: []*types.Log{{Address: common.Address{1}, Topics: []common.Hash{{2}}}}}
	r.Bloom = types.CreateBloom(r)
	return r
}

func receiptsOf(block *types.Block) (list types.Receipts) {
	for i := range block.Transactions() {
		list = append(list, receipt(i))
	}
	return list
}

// node makes a trie node of some size; the store looks at its hash only.
func node(seed uint64, size int) trie.Node {
	blob := make([]byte, size)
	copy(blob, new(big.Int).SetUint64(seed+1).Bytes())
	return trie.Node{Hash: crypto.Keccak256Hash(blob), Blob: blob}
}

var errDisk = errors.New("no space left on device")

// flaky is a disk whose k-th write, or every read, fails. Its batches are atomic, as those of
// the real ones.
type flaky struct {
	*memorydb.Database
	writes   int
	failAt   int // 0: never
	panics   bool
	failRead bool
}

func (f *flaky) Get(key []byte) ([]byte, error) {
	if f.failRead {
		return nil, errors.New("checksum mismatch")
	}
	return f.Database.Get(key)
}

func (f *flaky) Has(key []byte) (bool, error) {
	if f.failRead {
		return false, errors.New("checksum mismatch")
	}
	return f.Database.Has(key)
}

func (f *flaky) Close() error {
	if f.panics && f.writes >= f.failAt {
		select {} // as Pebble does: its lock is held
	}
	return f.Database.Close()
}

func (f *flaky) NewBatch() ethdb.Batch { return &flakyBatch{Batch: f.Database.NewBatch(), flaky: f} }

func (f *flaky) NewBatchWithSize(int) ethdb.Batch { return f.NewBatch() }

type flakyBatch struct {
	ethdb.Batch
	flaky *flaky
}

func (b *flakyBatch) Write() error {
	b.flaky.writes++
	if b.flaky.writes == b.flaky.failAt {
		if b.flaky.panics {
			panic(errDisk)
		}
		return errDisk
	}
	return b.Batch.Write()
}

// openOn opens a database over a given disk.
func openOn(t *testing.T, kv ethdb.KeyValueStore) *DB {
	t.Helper()
	health := newFailure()
	c, err := openChain(&disk{KeyValueStore: kv, path: "chaindata", health: health}, "", false)
	if err != nil {
		t.Fatal(err)
	}
	hot, err := openHot(memoryGenerations{}, c, health, false, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &DB{chain: c, hot: hot, health: health}
}

// kept is a disk that outlives the database over it.
type keptOpen struct{ ethdb.KeyValueStore }

func (keptOpen) Close() error { return nil }

// snapshot copies a directory as it is, open or not: what kill -9 leaves.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(to, "geth", "LOCK"))
	return to
}

func mustChain(t *testing.T, d *DB) *chain.Chain {
	t.Helper()
	c, err := chain.New(d.Chain(), testGenesis)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatalf("inconsistent: %v", err)
	}
	return c
}
