package db

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// spoiled is a disk of which, from some moment on, the k-th read of a trie node or a code goes wrong.
type spoiled struct {
	*memorydb.Database
	k     int // counts down; 0: nothing happens
	loses bool
	bad   []byte // the key that cannot be read
	hit   bool
}

func (s *spoiled) reads(key []byte) error {
	for _, prefix := range [][]byte{rawdb.TrieNodeAccountPrefix, rawdb.TrieNodeStoragePrefix, rawdb.CodePrefix} {
		if s.k == 0 || !bytes.HasPrefix(key, prefix) {
			continue
		}
		if s.k--; s.k > 0 {
			continue
		}
		s.hit = true
		if s.loses {
			return s.Delete(key)
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

// hashes is a state in go-ethereum's hash scheme.
type hashes struct{ kv *memorydb.Database }

func (h hashes) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return rawdb.ReadLegacyTrieNode(h.kv, hash), nil
}
func (h hashes) Code(hash common.Hash) ([]byte, error) { return rawdb.ReadCode(h.kv, hash), nil }

// fullFixture is a chain of one block that reads, changes and deletes, and a disk with its parent's state.
func fullFixture(t *testing.T) (disk *memorydb.Database, parent *types.Header, block *types.Block) {
	t.Helper()
	key, _ := crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
	sender, contract := crypto.PubkeyToAddress(key.PublicKey), common.Address{0xc0}
	slots := make(map[common.Hash]common.Hash)
	for i := range int64(40) {
		slots[common.BigToHash(big.NewInt(i))] = common.Hash{31: 1}
	}
	alloc := core.SystemContractAllocs()
	alloc[sender] = types.Account{Balance: new(big.Int).Lsh(common.Big1, 80)}
	// It stores the second word of its calldata at the first, and looks how long the code of the sender is.
	alloc[contract] = types.Account{Code: []byte{0x33, 0x3b, 0x50, 0x60, 0x20, 0x35, 0x5f, 0x35, 0x55, 0x00}, Storage: slots, Balance: common.Big0}
	for i := range int64(60) {
		alloc[common.BigToAddress(big.NewInt(0x10000+i))] = types.Account{Balance: common.Big1}
	}
	config := *params.MergedTestChainConfig
	config.OsakaTime, config.BPO1Time, config.BPO2Time, config.AmsterdamTime = nil, nil, nil, nil
	genesis := &core.Genesis{Config: &config, Alloc: alloc, GasLimit: 30_000_000, Difficulty: common.Big0, BaseFee: big.NewInt(params.InitialBaseFee)}
	signer := types.LatestSigner(&config)
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, beacon.New(ethash.NewFaker()), 1, func(_ int, gen *core.BlockGen) {
		gen.SetParentBeaconRoot(common.Hash{1})
		for i := range int64(6) {
			tx := &types.DynamicFeeTx{ChainID: config.ChainID, Nonce: uint64(i), GasFeeCap: big.NewInt(5e9), GasTipCap: common.Big1, Gas: 100_000, To: &contract}
			tx.Data = append(common.BigToHash(big.NewInt(7*i)).Bytes(), common.BigToHash(big.NewInt(i%2)).Bytes()...)
			if i == 5 {
				to := common.BigToAddress(big.NewInt(0x10007))
				tx.To, tx.Data, tx.Value = &to, nil, common.Big1
			}
			gen.AddTx(types.MustSignNewTx(key, signer, tx))
		}
	})
	source := memorydb.New()
	nodes := triedb.NewDatabase(rawdb.NewDatabase(source), triedb.HashDefaults)
	made, err := genesis.Commit(rawdb.NewDatabase(source), nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	parent = made.Header()
	disk = memorydb.New()
	d := openOn(t, disk)
	for _, account := range alloc {
		if err := d.Chain().PutCode(crypto.Keccak256Hash(account.Code), account.Code); err != nil {
			t.Fatal(err)
		}
	}
	walker := trie.NewWalker(trie.WalkerConfig{Root: parent.Root, Complete: d.Complete(), Writer: d.Complete().Writer(), Local: hashes{source}})
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

// TestFullNeverWrong lets each read of a block on full state fail, or find nothing: the block is Incomplete
// then, never Invalid.
func TestFullNeverWrong(t *testing.T) {
	image, parent, block := fullFixture(t)
	config := *params.MergedTestChainConfig
	config.OsakaTime, config.BPO1Time, config.BPO2Time, config.AmsterdamTime = nil, nil, nil, nil
	executor := evm.NewExecutor(&config)
	for _, loses := range []bool{false, true} {
		reads := 0
		for k := 1; ; k++ {
			kv := &spoiled{Database: memorydb.New(), loses: loses}
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
		t.Logf("%d reads went wrong (lost: %v), one at a time", reads, loses)
		if reads < 20 {
			t.Errorf("only %d reads", reads)
		}
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
