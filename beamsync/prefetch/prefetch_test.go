// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// fileAncestors finds the ancestors in a witness.
type fileAncestors struct{ *witnessfile.File }

func (a fileAncestors) LocalHeader(hash common.Hash) *types.Header {
	for _, header := range a.Headers {
		if header.Hash() == hash {
			return header
		}
	}
	return nil
}

func storeCodes(t *testing.T, r *beamtest.Rig, file *witnessfile.File) {
	t.Helper()
	for hash, code := range file.Codes {
		if err := r.Cache.PutCode(hash, code); err != nil {
			t.Fatal(err)
		}
	}
}

// prefetchAndExecute does what the importer does, and returns the round trips that it took.
func prefetchAndExecute(t *testing.T, r *beamtest.Rig, executor *evm.Executor, file *witnessfile.File, block *types.Block) (trips float64, stats trie.FetchStats) {
	t.Helper()
	ctx, cancel := context.WithTimeout(r.Ctx, 10*time.Minute) // virtual
	defer cancel()
	var (
		session = r.Session(sched.Urgent)
		began   = time.Now()
	)
	if err := New(executor, r.Cache).Prefetch(ctx, block, file.Parent, fileAncestors{file}, session); err != nil {
		t.Fatal(err)
	}
	result := executor.Execute(ctx, evm.Job{
		Block: file.Block, Parent: file.Parent, Headers: file, State: trie.Open(ctx, file.PreRoot, r.Cache, session),
	})
	if result.Outcome != evm.Valid {
		t.Fatalf("%v: %v", result.Outcome, result.Err)
	}
	if got := r.Blames.All(); len(got) != 0 {
		t.Error("blames", got)
	}
	return time.Since(began).Seconds() / beamtest.RTT.Seconds(), session.Stats()
}

// TestRoundTrips bounds the round trips of real blocks, with an empty store and with all codes in
// it. What the transactions of a block request differs a little from run to run.
func TestRoundTrips(t *testing.T) {
	for _, c := range []struct {
		name       string
		most, warm float64
	}{
		{"1-9069000", 15, 13},
		{"1-17106222", 18, 14},
		{"1-24628607", 20, 15},
	} {
		if testing.Short() && c.name != "1-9069000" {
			continue // with the race detector each takes a minute
		}
		t.Run(c.name, func(t *testing.T) {
			file := beamtest.LoadWitness(t, c.name)
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				beamtest.JoinWitness(r, file, "a")
				trips, stats := prefetchAndExecute(t, r, evm.NewExecutor(file.Config), file, file.Block)
				if trips > c.most {
					t.Errorf("%.1f trips, expected %.0f at most", trips, c.most)
				}
				if need := uint64(len(file.Nodes)); stats.Nodes > need*11/10 {
					t.Errorf("%d nodes fetched, the witness has %d", stats.Nodes, need)
				}
				t.Logf("%.1f trips, %+v", trips, stats)
			})
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				beamtest.JoinWitness(r, file, "a")
				storeCodes(t, r, file)
				if trips, _ := prefetchAndExecute(t, r, evm.NewExecutor(file.Config), file, file.Block); trips > c.warm {
					t.Errorf("%.1f trips with all codes in the store, expected %.0f at most", trips, c.warm)
				}
			})
		})
	}
}

// TestLastSeenValues prefetches a block twice with all codes in the store. The second time the
// executor knows which contract has which code, and the values of its slots after the block:
// nearly all keys are known at once.
func TestLastSeenValues(t *testing.T) {
	file := beamtest.LoadWitness(t, "1-21688509")
	executor := evm.NewExecutor(file.Config)
	var trips [2]float64
	for i := range trips {
		beamtest.InBubble(t, func(r *beamtest.Rig) {
			beamtest.JoinWitness(r, file, "a")
			storeCodes(t, r, file)
			trips[i], _ = prefetchAndExecute(t, r, executor, file, file.Block)
		})
	}
	if trips[1] > 4.5 || trips[0] < trips[1]+2 {
		t.Errorf("%.1f trips, then %.1f", trips[0], trips[1])
	}
}

// TestWrongLastSeen gives each contract the code hash of another one, as a speculation cache from before a reorg might: the block
// is valid, and takes no more trips than without.
func TestWrongLastSeen(t *testing.T) {
	file := beamtest.LoadWitness(t, "1-21688509")
	var trips [2]float64
	for i, seen := range []map[common.Address]common.Hash{nil, rotated(codeHashes(t, file))} {
		executor := evm.NewExecutor(file.Config)
		executor.SeedCodes(seen)
		beamtest.InBubble(t, func(r *beamtest.Rig) {
			beamtest.JoinWitness(r, file, "a")
			trips[i], _ = prefetchAndExecute(t, r, executor, file, file.Block)
		})
	}
	if trips[1] > trips[0]+1 {
		t.Errorf("%.1f trips, with wrong code hashes %.1f", trips[0], trips[1])
	}
}

// codeHashes returns the code hashes of the contracts that a block reads.
func codeHashes(t *testing.T, file *witnessfile.File) map[common.Address]common.Hash {
	t.Helper()
	state := trie.Open(t.Context(), file.PreRoot, nil, file)
	if result := file.Execute(t.Context(), evm.NewExecutor(file.Config), state, file); result.Outcome != evm.Valid {
		t.Fatal(result.Err)
	}
	reader, err := state.Reader(file.PreRoot)
	if err != nil {
		t.Fatal(err)
	}
	hashes := make(map[common.Address]common.Hash)
	for _, read := range state.Touched().Accounts {
		account, err := reader.Account(read.Address)
		if err != nil {
			t.Fatal(err)
		}
		if account != nil && !bytes.Equal(account.CodeHash, types.EmptyCodeHash[:]) {
			hashes[read.Address] = common.BytesToHash(account.CodeHash)
		}
	}
	return hashes
}

// rotated gives each address the value of the next one.
func rotated(hashes map[common.Address]common.Hash) map[common.Address]common.Hash {
	addrs := slices.SortedFunc(maps.Keys(hashes), common.Address.Cmp)
	wrong := make(map[common.Address]common.Hash)
	for i, addr := range addrs {
		wrong[addr] = hashes[addrs[(i+1)%len(addrs)]]
	}
	return wrong
}

// TestAccessListTrips fetches all that a block reads in three round trips if its access list is
// known. The two largest blocks need some 30 requests at once, more than the window of one peer.
func TestAccessListTrips(t *testing.T) {
	for _, name := range []string{"1-21688509", "1-17106222", "1-25229957", "560048-1219705"} {
		t.Run(name, func(t *testing.T) {
			file := beamtest.LoadWitness(t, name)
			listed := withList(t, file)
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				for _, id := range []string{"a", "b", "c", "d"} {
					beamtest.JoinWitness(r, file, id)
				}
				trips, stats := prefetchAndExecute(t, r, evm.NewExecutor(file.Config), file, listed)
				if trips > 3 {
					t.Errorf("%.1f trips", trips)
				}
				t.Logf("%.1f trips, %d nodes needed, %+v", trips, len(file.Nodes), stats)
			})
		})
	}
}

// withList makes the access list of a block by executing it.
func withList(t *testing.T, file *witnessfile.File) *types.Block {
	t.Helper()
	var (
		db   = trie.Open(t.Context(), file.PreRoot, nil, file)
		list = bal.NewConstructionBlockAccessList()
	)
	statedb, err := state.New(file.PreRoot, db)
	if err != nil {
		t.Fatal(err)
	}
	hooks := &tracing.Hooks{
		OnStorageChange: func(addr common.Address, slot, _, value common.Hash) { list.StorageWrite(0, addr, slot, value) },
		OnBalanceChange: func(addr common.Address, _, value *big.Int, _ tracing.BalanceChangeReason) {
			list.BalanceChange(0, addr, uint256.MustFromBig(value))
		},
		OnNonceChange: func(addr common.Address, _, nonce uint64) { list.NonceChange(addr, 0, nonce) },
	}
	chain := witnessChain{file}
	if _, err := core.NewStateProcessor(chain).Process(t.Context(), file.Block, statedb, nil, nil, vm.Config{Tracer: hooks}, nil); err != nil {
		t.Fatal(err)
	}
	for _, account := range db.Touched().Accounts {
		list.AccountRead(account.Address)
		for _, slot := range account.Slots {
			list.StorageRead(account.Address, slot)
		}
	}
	encoded := list.ToEncodingObj()
	header, hash := types.CopyHeader(file.Block.Header()), encoded.Hash()
	header.BlockAccessListHash = &hash
	return types.NewBlockWithHeader(header).WithBody(*file.Block.Body()).WithAccessListUnsafe(encoded)
}

// witnessChain implements core.ChainContext over a witness.
type witnessChain struct{ *witnessfile.File }

func (c witnessChain) Config() *params.ChainConfig { return c.File.Config }

func (c witnessChain) Engine() consensus.Engine { return beacon.New(ethash.NewFaker()) }

func (c witnessChain) CurrentHeader() *types.Header { return c.Parent }

func (c witnessChain) GetHeader(hash common.Hash, _ uint64) *types.Header {
	return fileAncestors(c).LocalHeader(hash)
}

func (c witnessChain) GetHeaderByHash(hash common.Hash) *types.Header {
	return fileAncestors(c).LocalHeader(hash)
}

func (c witnessChain) GetHeaderByNumber(uint64) *types.Header { return nil }

// brokenHinter is a Hinter with the behaviour of a function.
type brokenHinter func(ctx context.Context, faults []trie.Fault, codes []common.Hash) error

func (h brokenHinter) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, arrived func()) error {
	defer arrived()
	return h(ctx, faults, codes)
}

// TestOutcomeIsIndependent fails hints, answers them with nothing, and with half of what they
// request: the outcome is that of the execution alone.
func TestOutcomeIsIndependent(t *testing.T) {
	for _, name := range []string{"1-21688509", "560048-974567"} {
		file := beamtest.LoadWitness(t, name)
		bad := types.CopyHeader(file.Block.Header())
		bad.Root[0] ^= 1
		for kind, hint := range map[string]func(*trie.Cache) brokenHinter{
			"fails": func(*trie.Cache) brokenHinter {
				return func(context.Context, []trie.Fault, []common.Hash) error { return errors.New("lost") }
			},
			"nothing": func(*trie.Cache) brokenHinter {
				return func(context.Context, []trie.Fault, []common.Hash) error { return nil }
			},
			"half": func(cache *trie.Cache) brokenHinter {
				return func(_ context.Context, faults []trie.Fault, codes []common.Hash) error {
					for _, fault := range faults {
						if rand.N(2) == 0 {
							_ = cache.PutNodes(trie.Follow(fault.Owner, fault.Path, fault.Hash, fault.Key, file.Nodes))
						}
					}
					for _, hash := range codes {
						if code := file.Codes[hash]; code != nil && rand.N(2) == 0 {
							_ = cache.PutCode(hash, code)
						}
					}
					return nil
				}
			},
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				cache := trie.NewCache(64<<20, nil)
				executor := evm.NewExecutor(file.Config)
				for _, block := range []*types.Block{file.Block, types.NewBlockWithHeader(bad).WithBody(*file.Block.Body())} {
					_ = New(executor, cache).Prefetch(t.Context(), block, file.Parent, fileAncestors{file}, hint(cache))
					result := executor.Execute(t.Context(), evm.Job{
						Block: block, Parent: file.Parent, Headers: file, State: trie.Open(t.Context(), file.PreRoot, cache, file),
					})
					want := evm.Valid
					if block != file.Block {
						want = evm.Invalid
					}
					if result.Outcome != want {
						t.Errorf("%v instead of %v: %v", result.Outcome, want, result.Err)
					}
				}
			})
		}
	}
}
