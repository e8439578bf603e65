// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const generatedContracts = 6

func contractAddress(i int) common.Address {
	return common.BigToAddress(big.NewInt(int64(0xc0de00 + i)))
}

// randomProgram is a contract that reads, follows, copies, sets and deletes slots, calls other contracts, pays, creates and
// destroys. Its slots have small numbers and hold small numbers, so that programs meet in the same slots.
func randomProgram(rng *rand.Rand) []byte {
	var a assembler
	small := func() { a.push(byte(rng.IntN(10))) }
	load := func() { small(); a.op(vm.SLOAD) }
	for range 4 + rng.IntN(8) {
		switch rng.IntN(10) {
		case 0:
			load()
			a.op(vm.SLOAD, vm.POP)
		case 1, 2:
			small()
			small()
			a.op(vm.SSTORE)
		case 3:
			load()
			small()
			a.op(vm.SSTORE)
		case 4:
			load()
			load()
			a.op(vm.SSTORE)
		case 5: // require(slot)
			load()
			a.push(byte((len(a.code)+8)>>8), byte(len(a.code)+8))
			a.op(vm.JUMPI)
			a.push(0)
			a.op(vm.DUP1, vm.REVERT, vm.JUMPDEST)
		case 6: // balance of a contract into a slot
			a.push(contractAddress(rng.IntN(generatedContracts)).Bytes()...)
			a.op(vm.BALANCE)
			small()
			a.op(vm.SSTORE)
		case 7: // a contract without code, which is paid
			a.push(0)
			a.op(vm.DUP1)
			a.push(byte(rng.IntN(2)))
			a.op(vm.CREATE, vm.POP)
		default: // a call with a payment
			for range 4 {
				a.push(0)
			}
			a.push(byte(rng.IntN(2)))
			a.push(contractAddress(rng.IntN(generatedContracts)).Bytes()...)
			a.push(0x40, 0)
			a.op(vm.GAS, vm.SUB, vm.CALL, vm.POP)
		}
	}
	if rng.IntN(5) == 0 {
		small()
		a.op(vm.SELFDESTRUCT)
	}
	return a.code
}

// generatedBlock is a block of random transactions, and the chain that has its parent's state.
func generatedBlock(rng *rand.Rand) (*testchain.Chain, *types.Block) {
	alloc := types.GenesisAlloc{}
	for i := range generatedContracts {
		storage := make(map[common.Hash]common.Hash)
		for slot := range 10 {
			if rng.IntN(3) > 0 {
				storage[common.BigToHash(big.NewInt(int64(slot)))] = common.BigToHash(big.NewInt(int64(1 + rng.IntN(9))))
			}
		}
		alloc[contractAddress(i)] = types.Account{Code: randomProgram(rng), Storage: storage, Balance: big.NewInt(int64(rng.IntN(4)))}
	}
	chain := testchain.New(testchain.Genesis(testchain.Config(), testchain.Funded(4), testchain.Filler(50), alloc))
	blocks, _ := chain.Extend(chain.Root(), 1, func(_ int, b *testchain.Block) {
		var nonces [4]uint64
		for range 3 + rng.IntN(8) {
			sender, to := rng.IntN(len(nonces)), contractAddress(rng.IntN(generatedContracts))
			b.Send(testchain.Key(sender+1), &types.DynamicFeeTx{
				ChainID: testchain.Config().ChainID, Nonce: nonces[sender], To: &to, Gas: 600_000, Value: big.NewInt(int64(rng.IntN(2))),
				GasFeeCap: big.NewInt(100 * params.GWei), GasTipCap: big.NewInt(int64(1 + rng.IntN(5))),
			})
			nonces[sender]++
		}
	})
	return chain, blocks[0]
}

// localPart is the part of a chain's state that is local so far.
type localPart struct {
	chain *testchain.Chain
	local map[common.Hash]bool
}

func (l *localPart) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	if !l.local[hash] {
		return nil, nil
	}
	return l.chain.Node(hash), nil
}

func (l *localPart) Code(hash common.Hash) ([]byte, error) {
	if !l.local[hash] {
		return nil, nil
	}
	return l.chain.Code(hash), nil
}

// noSource is a trie.Source that has nothing.
type noSource struct{}

func (noSource) FetchNode(_ context.Context, fault trie.Fault) ([]byte, error) {
	return nil, fmt.Errorf("node %x at %x of %x: %w", fault.Hash, fault.Path, fault.Owner, trie.ErrUnavailable)
}

func (noSource) FetchCode(_ context.Context, hash common.Hash) ([]byte, error) {
	return nil, fmt.Errorf("code %x: %w", hash, trie.ErrUnavailable)
}

// requested is what a run on the local part misses: hashes of nodes and codes, and storage keys of missing accounts.
func requested(state *trie.PartialState) (hashes []common.Hash, all []string) {
	faults, codes := state.Missing()
	hashes = codes
	for _, hash := range codes {
		all = append(all, hash.Hex())
	}
	for _, fault := range faults {
		hashes = append(hashes, fault.Hash)
		keys := slices.Clone(fault.StorageKeys)
		slices.SortFunc(keys, common.Hash.Cmp)
		all = append(all, fmt.Sprintf("%x %x %x %x", fault.Hash, fault.Owner, fault.Key, keys))
	}
	slices.SortFunc(hashes, common.Hash.Cmp)
	slices.Sort(all)
	return slices.Compact(hashes), slices.Compact(all)
}

// TestProgress speculates on generated blocks whose state arrives in random pieces. In each round, runs that leave out what
// is complete request what runs of everything request. In the end nothing is left that the execution would have to fetch.
func TestProgress(t *testing.T) {
	blocks := 150
	if testing.Short() {
		blocks = 30
	}
	for seed := range blocks {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		chain, block := generatedBlock(rng)
		var (
			executor = NewExecutor(testchain.Config())
			parent   = chain.Root().Header()
			store    = &localPart{chain, make(map[common.Hash]bool)}
			lookups  = trie.NewLookupCache(parent.Root, store)
			progress = NewProgress()
		)
		run := func(progress *Progress, mode Mode, group []int) *trie.PartialState {
			spec := Speculation{
				Block: block, Parent: parent, State: lookups.State(), Mode: mode, Progress: progress,
				LocalHeader: func(common.Hash, uint64) *types.Header { return nil },
			}
			if group == nil {
				executor.SpeculateBlock(t.Context(), spec)
			} else {
				executor.SpeculateGroup(t.Context(), spec, group)
			}
			return spec.State
		}
		for round := 0; ; round++ {
			if round == 1000 {
				t.Fatalf("seed %d: still missing after %d rounds", seed, round)
			}
			mode := Mode(rng.IntN(2))
			if rng.IntN(2) == 0 { // groups share the progress of the block
				run(progress, mode, rng.Perm(len(block.Transactions()))[:1+rng.IntN(2)])
			}
			missing, got := requested(run(progress, mode, nil))
			if _, want := requested(run(nil, mode, nil)); !slices.Equal(got, want) {
				t.Fatalf("seed %d, round %d: requested\n%v, of everything\n%v", seed, round, got, want)
			}
			if len(missing) == 0 {
				break
			}
			for i, hash := range missing {
				if i == 0 || rng.IntN(2) == 0 {
					store.local[hash] = true
				}
			}
		}
		result := executor.Execute(t.Context(), Job{
			Block: block, Parent: parent, Headers: noHeaders{}, State: trie.Open(t.Context(), parent.Root, trie.NewCache(1<<20, nil).Over(store), noSource{}),
		})
		if result.Outcome != Valid {
			t.Errorf("seed %d: %v: %v", seed, result.Outcome, result.Err)
		}
	}
}

// noHeaders has no header.
type noHeaders struct{}

func (noHeaders) Header(_ context.Context, hash common.Hash, _ uint64) (*types.Header, error) {
	return nil, fmt.Errorf("header %x: %w", hash, trie.ErrUnavailable)
}
