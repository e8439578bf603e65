// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// spoiled is a disk of which, from some moment on, the k-th read of a trie node or a code goes wrong.
type spoiled struct {
	*memorydb.Database
	k   int // counts down; 0: nothing happens
	how string
	bad []byte // the key that cannot be read
	hit bool
}

// The ways in which a read goes wrong.
const (
	fails = "fails"
	lost  = "finds nothing"
	flips = "finds another value"
)

func (s *spoiled) reads(key []byte) error {
	for _, prefix := range [][]byte{rawdb.TrieNodeAccountPrefix, rawdb.TrieNodeStoragePrefix, rawdb.CodePrefix} {
		if s.k == 0 || !bytes.HasPrefix(key, prefix) {
			continue
		}
		if s.k--; s.k > 0 {
			continue
		}
		s.hit = true
		switch s.how {
		case lost:
			return s.Delete(key)
		case flips:
			value, err := s.Database.Get(key)
			if err != nil {
				return err
			}
			value[len(value)*2/3] ^= 4
			return s.Put(key, value)
		}
		s.bad = bytes.Clone(key)
	}
	if s.bad != nil && bytes.Equal(s.bad, key) {
		return errors.New("checksum mismatch")
	}
	return nil
}

func (s *spoiled) Get(key []byte) ([]byte, error) {
	if err := s.reads(key); err != nil {
		return nil, err
	}
	return s.Database.Get(key)
}

func (s *spoiled) Has(key []byte) (bool, error) {
	if s.bad != nil && bytes.Equal(s.bad, key) {
		return false, errors.New("checksum mismatch")
	}
	return s.Database.Has(key)
}

// stored is the states of a chain as a trie.Store.
type stored struct{ *testchain.Chain }

func (s stored) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return s.Chain.Node(hash), nil
}
func (s stored) Code(hash common.Hash) ([]byte, error) { return s.Chain.Code(hash), nil }

// fullConfig has the forks up to Prague.
func fullConfig() *params.ChainConfig {
	config := testchain.Config()
	config.OsakaTime = nil
	return config
}

// fullFixture is a chain of one block that reads, changes and deletes, and a disk with its parent's state.
func fullFixture(t *testing.T) (disk *memorydb.Database, parent *types.Header, block *types.Block) {
	t.Helper()
	return fullFixtureOf(t, fullConfig())
}

// fullFixtureOf makes it for a configuration. Before Cancun the block destroys a contract with storage.
func fullFixtureOf(t *testing.T, config *params.ChainConfig) (disk *memorydb.Database, parent *types.Header, block *types.Block) {
	t.Helper()
	contract, destroyed := common.Address{0xc0}, common.Address{0xde}
	slots := make(map[common.Hash]common.Hash)
	for i := range int64(40) {
		slots[common.BigToHash(big.NewInt(i))] = common.Hash{31: 1}
	}
	genesis := testchain.Genesis(config, testchain.Funded(1), testchain.Filler(60), types.GenesisAlloc{
		// It stores the second word of its calldata at the first, and reads the size of its caller's code.
		contract:  {Code: []byte{0x33, 0x3b, 0x50, 0x60, 0x20, 0x35, 0x5f, 0x35, 0x55, 0x00}, Storage: slots},
		destroyed: {Code: []byte{0x5f, 0xff}, Storage: slots},
	})
	source := testchain.New(genesis)
	blocks, _ := source.Extend(source.Root(), 1, func(_ int, b *testchain.Block) {
		if config.CancunTime != nil {
			b.SetParentBeaconRoot(common.Hash{1})
		} else {
			b.Call(destroyed, 0, nil)
		}
		for i := range int64(5) {
			b.Call(contract, 0, append(common.BigToHash(big.NewInt(7*i)).Bytes(), common.BigToHash(big.NewInt(i%2)).Bytes()...))
		}
		b.Call(testchain.FillerAddress(7), 1, nil)
	})
	parent = source.Root().Header()
	disk = memorydb.New()
	d := openOn(t, disk)
	for _, account := range genesis.Alloc {
		if err := d.Chain().PutCode(crypto.Keccak256Hash(account.Code), account.Code); err != nil {
			t.Fatal(err)
		}
	}
	walker := trie.NewWalker(trie.WalkerConfig{Root: parent.Root, Complete: d.Complete(), Writer: d.Complete().Writer(), Local: stored{source}})
	walker.ByNodes(true)
	for !walker.Done() {
		if need, more, err := walker.Next(false, false); err != nil || need != nil || !more && !walker.Done() {
			t.Fatalf("walk: %v, needs %v", err, need)
		}
	}
	full, err := d.EnableFull(parent.Root, trie.NewCache(1<<20, nil))
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if _, done := full.FlatProgress(); done {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("no flat state")
		}
	}
	d.closeFull(false)
	return disk, parent, blocks[0]
}

// noHeaders is not asked: the block has no BLOCKHASH.
type noHeaders struct{}

func (noHeaders) Header(context.Context, common.Hash, uint64) (*types.Header, error) {
	return nil, errors.New("not expected")
}

// TestFullNeverWrong lets each read of a block on full state fail, find nothing, or find something else: the block is Incomplete
// then, never Invalid.
func TestFullNeverWrong(t *testing.T) {
	image, parent, block := fullFixture(t)
	executor := evm.NewExecutor(fullConfig())
	for _, how := range []string{fails, lost, flips} {
		reads := 0
		for k := 1; ; k++ {
			kv := &spoiled{Database: memorydb.New(), how: how}
			it := image.NewIterator(nil, nil)
			for it.Next() {
				if err := kv.Put(it.Key(), it.Value()); err != nil {
					t.Fatal(err)
				}
			}
			it.Release()
			d := openOn(t, kv)
			full, err := d.OpenFull(trie.NewCache(1<<20, nil))
			if err != nil {
				t.Fatal(err)
			}
			if !full.Has(parent.Root) {
				t.Fatal("the state is not there")
			}
			kv.k = k
			result := executor.Execute(t.Context(), evm.Job{Block: block, Parent: parent, State: full.Open(t.Context(), parent.Root), Headers: noHeaders{}})
			switch {
			case !kv.hit && (result.Outcome != evm.Valid || !full.Has(block.Root())):
				t.Fatalf("with nothing wrong: %v: %v", result.Outcome, result.Err)
			case kv.hit && (result.Outcome != evm.Incomplete || full.Has(block.Root())):
				t.Fatalf("read %d of %x went wrong: %v: %v", k, kv.bad, result.Outcome, result.Err)
			}
			d.closeFull(false)
			if !kv.hit {
				reads = k - 1
				break
			}
		}
		t.Logf("%d reads, one at a time, %s", reads, how)
		if reads < 20 {
			t.Errorf("only %d reads", reads)
		}
	}
}

// TestFlatStateDecidesNothing changes all of the flat state: blocks are executed and committed as if it were good.
func TestFlatStateDecidesNothing(t *testing.T) {
	shanghai := fullConfig()
	shanghai.CancunTime, shanghai.PragueTime = nil, nil
	for _, config := range []*params.ChainConfig{fullConfig(), shanghai} {
		image, parent, block := fullFixtureOf(t, config)
		changed := 0
		for prefix, length := range map[string]int{"a": 33, "o": 65} {
			it := image.NewIterator([]byte(prefix), nil)
			for it.Next() {
				if len(it.Key()) != length {
					continue
				}
				value := bytes.Clone(it.Value())
				value[len(value)-1] ^= 1
				if err := image.Put(bytes.Clone(it.Key()), value); err != nil {
					t.Fatal(err)
				}
				changed++
			}
			it.Release()
		}
		if changed < 100 {
			t.Fatalf("%d flat values", changed)
		}
		d := openOn(t, image)
		full, err := d.OpenFull(trie.NewCache(1<<20, nil))
		if err != nil {
			t.Fatal(err)
		}
		result := evm.NewExecutor(config).Execute(t.Context(), evm.Job{Block: block, Parent: parent, State: full.Open(t.Context(), parent.Root), Headers: noHeaders{}})
		if result.Outcome != evm.Valid || !full.Has(block.Root()) || d.FirstDamage() != "" {
			t.Errorf("%v: %v; damage %q", result.Outcome, result.Err, d.FirstDamage())
		}
		d.closeFull(false)
	}
}

// TestFullKeepsPhase is about what a node is after a restart, and about Hot.
func TestFullKeepsPhase(t *testing.T) {
	dir := t.TempDir()
	open := func() *DB {
		d, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	is := func(d *DB, want bool) {
		t.Helper()
		if got, err := d.IsFull(); err != nil || got != want {
			t.Errorf("full is %v (%v), want %v", got, err, want)
		}
	}
	d, kept := open(), node(1, 100)
	is(d, false)
	if err := d.Hot().PutNodes([]trie.Node{kept}); err != nil {
		t.Fatal(err)
	}
	if err := d.MarkFull(); err != nil {
		t.Fatal(err)
	}
	if blob, err := d.Hot().Node(common.Hash{}, nil, kept.Hash); err != nil || blob == nil { // a block in work may need it
		t.Errorf("hot store after the phase was written: %x, %v", blob, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open()
	is(d, true)
	if err := d.Hot().PutNodes([]trie.Node{kept}); err != nil {
		t.Error(err)
	}
	if blob, err := d.Hot().Node(common.Hash{}, nil, kept.Hash); err != nil || blob != nil || d.Hot().Bytes() != 0 {
		t.Errorf("hot store of a full node: %x, %v", blob, err)
	}
	if err := errors.Join(d.Hot().Retire(), d.UnmarkFull()); err != nil {
		t.Fatal(err)
	}
	if err := d.Hot().PutNodes([]trie.Node{kept}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open()
	is(d, false)
	if blob, err := d.Hot().Node(common.Hash{}, nil, kept.Hash); err != nil || blob == nil {
		t.Errorf("hot store of a node that beams again: %x, %v", blob, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
