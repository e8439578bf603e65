// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// changeAtRandom reads, writes and deletes at random: slots above all, so that storage tries
// shrink and pull siblings up.
func changeAtRandom(t *testing.T, w *stateWorld, d *StateDatabase, seed uint64) common.Hash {
	t.Helper()
	db, err := state.New(w.root, d)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	for range 60 {
		i := random.IntN(len(w.addrs))
		addr := w.addrs[i]
		switch random.IntN(6) {
		case 0:
			db.AddBalance(addr, uint256.NewInt(7), tracing.BalanceChangeUnspecified)
		case 1:
			db.GetCodeSize(addr)
		case 2:
			db.GetState(addr, slotOf(random.IntN(600)))
		case 3:
			db.GetBalance(common.BigToAddress(slotOf(random.IntN(50)).Big())) // no such account
		case 4:
			if i%3 != 0 && db.Exist(addr) {
				db.SelfDestruct(addr)
			}
		default:
			addr = w.addrs[i/3*3]
			for s := range random.IntN(40) {
				db.GetState(addr, slotOf(s))
				db.SetState(addr, slotOf(s), common.Hash{})
			}
		}
		db.Finalise(rules)
	}
	root := db.IntermediateRoot(rules)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	return root
}

// asked is an empty store that records the requested hashes.
type asked struct {
	mu     sync.Mutex
	hashes map[common.Hash]bool
}

func (a *asked) note(hash common.Hash) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hashes[hash] = true
	return nil, nil
}

func (a *asked) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) { return a.note(hash) }

func (a *asked) Code(hash common.Hash) ([]byte, error) { return a.note(hash) }

// fill puts faults, with the way to their keys, and codes into a cache.
func (w *stateWorld) fill(t *testing.T, cache *Cache, faults []Fault, codes []common.Hash) {
	t.Helper()
	for _, f := range faults {
		nodes := Follow(f.Owner, f.Path, f.Hash, f.Key, w.onPath(f))
		if len(nodes) == 0 {
			t.Fatalf("no node %x at %x of %x", f.Hash, f.Path, f.Owner)
		}
		if err := cache.PutNodes(nodes); err != nil {
			t.Fatal(err)
		}
	}
	for _, hash := range codes {
		code, err := w.FetchCode(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		if err := cache.PutCode(hash, code); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTouched: what one execution touched is, fetched in two rounds by a node that has
// nothing, all that another execution of the same needs; and its hashes are exactly those
// of the nodes and codes that the first one read.
func TestTouched(t *testing.T) {
	w := newStateWorld(t, 300)
	siblings := 0
	for seed := range uint64(20) {
		store := &asked{hashes: make(map[common.Hash]bool)}
		first := Open(t.Context(), w.root, store, w)
		root := changeAtRandom(t, w, first, seed)
		touched := first.Touched()
		if n := touched.Keys(); n < 50 {
			t.Fatalf("%d keys", n)
		}
		for _, account := range touched.Accounts {
			siblings += len(account.Paths)
		}

		cache := NewCache(64<<20, nil)
		for turn := range 3 {
			faults, codes, err := touched.Missing(cache, w.root)
			if err != nil {
				t.Fatal(err)
			}
			if turn == 2 && len(faults)+len(codes) > 0 {
				t.Fatalf("after two turns %d faults and %d codes", len(faults), len(codes))
			}
			w.fill(t, cache, faults, codes)
		}
		second := Open(t.Context(), w.root, cache, nil) // no source
		if again := changeAtRandom(t, w, second, seed); again != root {
			t.Fatalf("root %x, then %x", root, again)
		}

		hashes, err := touched.Hashes(cache, w.root)
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range hashes {
			if !store.hashes[hash] {
				t.Errorf("hash %x was not read", hash)
			}
		}
		if len(hashes) != len(store.hashes) {
			t.Errorf("%d hashes, %d were read", len(hashes), len(store.hashes))
		}
		checkBlobs(t, touched, cache, w.root, store.hashes)
	}
	if siblings == 0 {
		t.Error("no deletion pulled a sibling up: the test shows less than it says")
	}
}

// checkBlobs: the blobs are those that were read, each once, and of an empty store there are none.
func checkBlobs(t *testing.T, touched *Touched, store Store, root common.Hash, read map[common.Hash]bool) {
	t.Helper()
	nodes, codes, err := touched.Blobs(store, root)
	if err != nil || len(nodes)+len(codes) != len(read) {
		t.Errorf("%d nodes and %d codes, %d were read: %v", len(nodes), len(codes), len(read), err)
	}
	for _, blob := range append(nodes, codes...) {
		if !read[crypto.Keccak256Hash(blob)] {
			t.Errorf("%x was not read", blob)
		}
	}
	if _, _, err := touched.Blobs(NewCache(1<<20, nil), root); !errors.Is(err, ErrUnavailable) {
		t.Errorf("of an empty store: %v", err)
	}
}

// TestTouchedConcurrently: nothing is lost when many goroutines read the same.
func TestTouchedConcurrently(t *testing.T) {
	w := newStateWorld(t, 60)
	d := Open(t.Context(), w.root, nil, w)
	r := mustReader(t, d)
	var readers sync.WaitGroup
	for g := range 8 {
		readers.Go(func() {
			for i, addr := range w.addrs {
				for s := range 3 {
					_, _ = r.Storage(addr, slotOf(10*g+s+i))
				}
				_ = d.Touched()
			}
		})
	}
	readers.Wait()
	touched := d.Touched()
	if len(touched.Accounts) != len(w.addrs) {
		t.Fatalf("%d accounts", len(touched.Accounts))
	}
	for i, account := range touched.Accounts {
		place := slices.Index(w.addrs, account.Address)
		want := 0
		if place%3 == 0 {
			want = 24
		}
		if len(account.Slots) != want || account.Code || len(account.Paths) > 0 {
			t.Errorf("account %d: %d slots, want %d", i, len(account.Slots), want)
		}
		if !slices.IsSortedFunc(account.Slots, common.Hash.Cmp) {
			t.Errorf("account %d: slots out of order", i)
		}
	}
}

// TestTouchedOfElsewhere: keys that lead nowhere, under a root of something else or none,
// are no harm.
func TestTouchedOfElsewhere(t *testing.T) {
	w := newStateWorld(t, 60)
	cache := NewCache(64<<20, nil)
	touched := &Touched{
		Accounts: []TouchedAccount{
			{Address: common.Address{1}, Code: true, Slots: []common.Hash{{1}}, Paths: [][]byte{{}, {1, 2, 3}}},
			{Address: w.addrs[0], Code: true, Slots: []common.Hash{{1}}, Paths: [][]byte{{}, make([]byte, KeyLen)}},
		},
		Paths: [][]byte{{}, {15}, make([]byte, KeyLen)},
	}
	for range 3 {
		faults, codes, err := touched.Missing(cache, w.root)
		if err != nil {
			t.Fatal(err)
		}
		w.fill(t, cache, faults, codes)
	}
	if faults, codes, err := touched.Missing(cache, w.root); err != nil || len(faults)+len(codes) > 0 {
		t.Errorf("%d faults, %d codes, %v", len(faults), len(codes), err)
	}
	if hashes, err := touched.Hashes(cache, types.EmptyRootHash); err != nil || len(hashes) > 0 {
		t.Errorf("%d hashes of no state, %v", len(hashes), err)
	}
}

// BenchmarkTouched is what recording one read costs, and reading out a block's worth.
func BenchmarkTouched(b *testing.B) {
	d := Open(b.Context(), types.EmptyRootHash, nil, nil)
	acct := &account{state: types.NewEmptyStateAccount()}
	d.accounts[common.Address{1}] = acct
	path := make([]byte, 8)
	b.Run("slot", func(b *testing.B) {
		for b.Loop() {
			if len(d.touched.slots) == 4096 {
				d.touched.slots = nil
			}
			d.touchSlot(touchedSlot{account: acct})
		}
	})
	b.Run("code", func(b *testing.B) {
		for b.Loop() {
			d.touchCode(common.Address{1}, types.EmptyCodeHash)
		}
	})
	b.Run("node", func(b *testing.B) {
		for b.Loop() {
			if len(d.touched.nodes) == 4096 {
				d.touched.nodes, d.touched.paths = nil, nil
			}
			d.touchNode(common.Hash{1}, path)
		}
	})
}
