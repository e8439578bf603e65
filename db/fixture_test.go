// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// testGenesis is what the chains of all tests begin with: an account with funds, and a contract that emits a log.
var (
	testGenesis = testchain.Genesis(nil, testchain.Funded(1), types.GenesisAlloc{emitter: {Code: common.FromHex("60025f5fa100")}}) // log1(0, 0, 2)
	emitter     = common.Address{1}
)

// testBlocks builds branches and keeps their receipts.
type testBlocks struct {
	*testchain.Chain
	receipts map[common.Hash]types.Receipts
}

func newTestBlocks() *testBlocks {
	return &testBlocks{testchain.New(testGenesis), make(map[common.Hash]types.Receipts)}
}

// branch builds blocks with three transactions each; salt tells branches apart.
func (b *testBlocks) branch(parent *types.Block, length int, salt byte) []*types.Block {
	made, receipts := b.Extend(parent, length, func(_ int, block *testchain.Block) {
		block.SetCoinbase(common.Address{salt})
		for range 3 {
			block.Call(emitter, 0, []byte{salt})
		}
	})
	for i, block := range made {
		b.receipts[block.Hash()] = receipts[i]
	}
	return made
}

func (b *testBlocks) receiptsOf(block *types.Block) types.Receipts { return b.receipts[block.Hash()] }

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
	c, err := openChain(&disk{KeyValueStore: kv, path: "chaindata", health: health}, "", false, false)
	if err != nil {
		t.Fatal(err)
	}
	hot, err := openHot(memoryGenerations{}, c, health, false, Options{})
	if err != nil {
		t.Fatal(err)
	}
	damage, err := newDamageLog("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &DB{chain: c, hot: hot, health: health, damage: damage}
}

// keptOpen is a disk that outlives the database over it.
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
