// SPDX-License-Identifier: LGPL-3.0-or-later

package evm_test

import (
	"context"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	_ trie.Store             = (*storedBlock)(nil)
	_ core.ChainContext      = (*storedBlock)(nil)
	_ stateless.HeaderReader = (*storedBlock)(nil)
)

func (a *storedBlock) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	blob, _ := a.db.Get(hash[:]) // not found is the only error
	return blob, nil
}

func (a *storedBlock) Code(hash common.Hash) ([]byte, error) { return rawdb.ReadCode(a.db, hash), nil }

func (a *storedBlock) Config() *params.ChainConfig { return a.config }

func (a *storedBlock) Engine() consensus.Engine { return beacon.New(ethash.NewFaker()) }

func (a *storedBlock) CurrentHeader() *types.Header { return a.parent }

func (a *storedBlock) GetHeader(hash common.Hash, number uint64) *types.Header {
	return rawdb.ReadHeader(a.db, hash, number)
}

func (a *storedBlock) GetHeaderByHash(common.Hash) *types.Header { return nil }

func (a *storedBlock) GetHeaderByNumber(uint64) *types.Header { return nil }

// ofFile is the block of a file with its state.
func ofFile(file *witnessfile.File) *storedBlock {
	w := &stateless.Witness{Headers: file.Headers, Codes: make(map[string]struct{}), State: make(map[string]struct{})}
	for _, code := range file.Codes {
		w.Codes[string(code)] = struct{}{}
	}
	for _, blob := range file.Nodes {
		w.State[string(blob)] = struct{}{}
	}
	return &storedBlock{file.Config, w.MakeHashDB(), file.Parent, file.Block}
}

func (a *storedBlock) reads(t testing.TB) *evm.Reads {
	t.Helper()
	reads, err := evm.NewExecutor(a.config).Reads(t.Context(), evm.Job{
		Block: a.block, Parent: a.parent, State: trie.Open(t.Context(), a.parent.Root, a, nil), Headers: a,
	})
	if err != nil {
		t.Fatal(err)
	}
	return reads
}

// gethWitness is the witness that go-ethereum makes of the block.
func (a *storedBlock) gethWitness(t testing.TB) *stateless.ExtWitness {
	t.Helper()
	db, err := state.New(a.parent.Root, state.NewDatabase(triedb.NewDatabase(a.db, triedb.HashDefaults), state.NewCodeDB(a.db)))
	if err != nil {
		t.Fatal(err)
	}
	witness, err := stateless.NewWitness(a.block.Header(), a, false)
	if err != nil {
		t.Fatal(err)
	}
	db.StartPrefetcher("test", witness)
	defer db.StopPrefetcher()
	processed, err := core.NewStateProcessor(a).Process(t.Context(), a.block, db, nil, nil, vm.Config{}, nil)
	if err == nil {
		err = core.NewBlockValidator(a.config, nil).ValidateState(a.block, db, processed, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return db.Witness().ToExtWitness()
}

// executeStateless executes the block as go-ethereum does on a witness.
func (a *storedBlock) executeStateless(ctx context.Context, ext *stateless.ExtWitness) (root, receipts common.Hash, err error) {
	witness := new(stateless.Witness)
	if err := witness.FromExtWitness(ext); err != nil {
		return root, receipts, err
	}
	header := a.block.Header()
	header.Root, header.ReceiptHash = common.Hash{}, common.Hash{}
	return core.ExecuteStateless(ctx, a.config, vm.Config{}, types.NewBlockWithHeader(header).WithBody(*a.block.Body()), witness)
}

// checkWitness compares our witness with that of go-ethereum, and has go-ethereum execute the block on ours.
func (a *storedBlock) checkWitness(t *testing.T) *stateless.ExtWitness {
	t.Helper()
	reads := a.reads(t)
	got, err := reads.Witness(t.Context(), a, a)
	if err != nil {
		t.Fatal(err)
	}
	want := a.gethWitness(t)
	// Before Byzantium go-ethereum hashes the state after each transaction, and loses what it read before.
	if same := slices.EqualFunc(got.State, want.State, sameBytes); !same && a.config.IsByzantium(a.block.Number()) {
		t.Errorf("%d trie nodes, and go-ethereum has %d", len(got.State), len(want.State))
	}
	if !slices.EqualFunc(got.Headers, want.Headers, func(x, y *types.Header) bool { return x.Hash() == y.Hash() }) {
		t.Errorf("%d headers, and go-ethereum has %d", len(got.Headers), len(want.Headers))
	}
	for _, code := range got.Codes {
		// Go-ethereum's also has the code that the block makes and calls.
		if !slices.ContainsFunc(want.Codes, func(other hexutil.Bytes) bool { return sameBytes(code, other) }) {
			t.Errorf("go-ethereum has no code of %d bytes", len(code))
		}
	}
	root, receipts, err := a.executeStateless(t.Context(), got)
	if err != nil || root != a.block.Root() || receipts != a.block.ReceiptHash() {
		t.Errorf("go-ethereum: state root %x, receipts root %x, %v", root, receipts, err)
	}
	if len(got.Keys) != len(reads.Touched.Accounts)+slotsOf(reads.Touched) {
		t.Errorf("%d keys", len(got.Keys))
	}
	return got
}

func sameBytes(x, y hexutil.Bytes) bool { return string(x) == string(y) }

func slotsOf(touched *trie.Touched) (n int) {
	for i := range touched.Accounts {
		n += len(touched.Accounts[i].Slots)
	}
	return n
}

// TestWitnessOfRealBlocks: the witness of each real block is go-ethereum's. The slowest block is left out of short tests.
func TestWitnessOfRealBlocks(t *testing.T) {
	for _, name := range names(t) {
		file := load(t, name)
		if holes[name] != "" || !file.HasParent || name == "1-23879620" && testing.Short() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			got := ofFile(file).checkWitness(t)
			t.Logf("%d nodes, %d codes, %d keys, %d headers", len(got.State), len(got.Codes), len(got.Keys), len(got.Headers))
		})
	}
}

// Contracts of the chains whose witnesses are compared.
var (
	setter  = common.HexToAddress("0xc001") // slot[word 0 of the input] = word 1
	hasher  = common.HexToAddress("0xc002") // slot[0] = blockhash(number - word 0)
	factory = common.HexToAddress("0xc003") // creates a contract of the input, and calls it
	looker  = common.HexToAddress("0xc004") // reads size of code, balance and slot with the name word 0
	killers = int64(0xd000)                 // and more: read slot 1, and destroy themselves
)

func witnessAlloc() types.GenesisAlloc {
	alloc := types.GenesisAlloc{
		setter:  {Code: common.FromHex("60203560003555")},
		hasher:  {Code: common.FromHex("6000354303406000" + "55")},
		factory: {Code: common.FromHex("3660006000373660006000f0600060006000600060008" + "55af15000")},
		looker:  {Code: common.FromHex("6000353b506000353150600035545000")},
	}
	storage := func(n int64) map[common.Hash]common.Hash {
		slots := make(map[common.Hash]common.Hash)
		for i := range n {
			slots[common.BigToHash(big.NewInt(i))] = common.BigToHash(big.NewInt(i + 1))
		}
		return slots
	}
	for i := range int64(12) {
		alloc[common.BigToAddress(big.NewInt(killers+i))] = types.Account{Code: common.FromHex("6001545033ff"), Storage: storage(i), Balance: big.NewInt(i)}
	}
	account := alloc[setter]
	account.Storage = storage(200)
	alloc[setter] = account
	return alloc
}

// fillAtRandom adds calls that read, write, delete, create and destroy.
func fillAtRandom(random *rand.Rand, b *testchain.Block, withdrawals bool) {
	word := func(n int64) []byte { return common.BigToHash(big.NewInt(n)).Bytes() }
	for range 14 {
		switch random.IntN(7) {
		case 0:
			b.Call(common.BigToAddress(big.NewInt(killers+random.Int64N(14))), 1, nil)
		case 1:
			b.Call(hasher, 0, word(random.Int64N(2))) // the generator has no older headers
		case 2:
			// The code stores something, and returns a contract that destroys itself.
			b.Call(factory, 0, common.FromHex("60ff60005333ff"+hexutil.Encode([]byte{byte(random.IntN(256))})[2:]))
		case 3:
			b.Call(factory, 0, common.FromHex("6001600155600160005360016000f3"))
		case 4:
			b.Call(looker, 0, word(killers+random.Int64N(20)))
		case 5:
			b.Call(testchain.FillerAddress(random.IntN(320)), 5, nil)
		default:
			for range 5 {
				b.Call(setter, 0, append(word(random.Int64N(220)), word(random.Int64N(2))...))
			}
		}
	}
	if withdrawals {
		b.AddWithdrawal(&types.Withdrawal{Address: testchain.FillerAddress(random.IntN(400)), Amount: 7})
	}
}

// TestWitnessOfEachFork compares witnesses on random chains. From Amsterdam on, blocks are executed in parallel here.
func TestWitnessOfEachFork(t *testing.T) {
	zero := new(uint64)
	for _, fork := range []struct {
		name                                       string
		shanghai, cancun, prague, osaka, amsterdam *uint64
	}{
		{"paris", nil, nil, nil, nil, nil},
		{"shanghai", zero, nil, nil, nil, nil},
		{"cancun", zero, zero, nil, nil, nil},
		{"prague", zero, zero, zero, nil, nil},
		{"osaka", zero, zero, zero, zero, nil},
		{"amsterdam", zero, zero, zero, zero, zero},
	} {
		t.Run(fork.name, func(t *testing.T) {
			config := testchain.Config()
			config.ShanghaiTime, config.CancunTime, config.PragueTime, config.OsakaTime, config.AmsterdamTime = fork.shanghai, fork.cancun, fork.prague, fork.osaka, fork.amsterdam
			chain := testchain.New(testchain.Genesis(config, testchain.Funded(1), testchain.Filler(300), witnessAlloc()))
			random := rand.New(rand.NewPCG(uint64(len(fork.name)), 3))
			blocks, _ := chain.Extend(chain.Root(), 12, func(_ int, b *testchain.Block) { fillAtRandom(random, b, fork.shanghai != nil) })
			parent := chain.Root()
			for _, block := range blocks {
				rawdb.WriteHeader(chain.DB, parent.Header())
				(&storedBlock{config, chain.DB, parent.Header(), block}).checkWitness(t)
				parent = block
			}
		})
	}
}

// BenchmarkWitness makes the witness of a block from what it read, with the nodes in the memory cache.
func BenchmarkWitness(b *testing.B) {
	for _, name := range benchBlocks {
		b.Run(name, func(b *testing.B) {
			file := load(b, name)
			reads, cache := ofFile(file).reads(b), cacheOf(file)
			for b.Loop() {
				if _, err := reads.Witness(b.Context(), cache, file); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
