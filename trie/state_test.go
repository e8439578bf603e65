// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/holiman/uint256"
)

// TestReader compares reads of everything, and of what does not exist, with
// go-ethereum's, through an empty cache that the source fills.
func TestReader(t *testing.T) {
	w := newStateWorld(t, 300)
	want, err := state.New(w.root, w.db)
	if err != nil {
		t.Fatal(err)
	}
	cache := NewCache(64<<20, nil)
	w.sink = cache
	d := Open(t.Context(), w.root, cache, w)
	r := mustReader(t, d)
	for i, addr := range append(w.addrs, common.Address{1}, common.Address{2}) {
		acct, err := r.Account(addr)
		if err != nil {
			t.Fatal(err)
		}
		if (acct != nil) != want.Exist(addr) {
			t.Fatalf("account %d: %v", i, acct)
		}
		if acct != nil {
			if acct.Nonce != want.GetNonce(addr) || !acct.Balance.Eq(want.GetBalance(addr)) || acct.Root != want.GetStorageRoot(addr) {
				t.Fatalf("account %d: %+v", i, acct)
			}
			hash := common.BytesToHash(acct.CodeHash)
			if string(r.Code(addr, hash)) != string(want.GetCode(addr)) || r.CodeSize(addr, hash) != want.GetCodeSize(addr) ||
				r.Has(addr, hash) != (want.GetCodeSize(addr) > 0) {
				t.Fatalf("code of account %d", i)
			}
			acct.Nonce++ // ours to change
		}
		for _, s := range []int{0, 1, 2, 17, 100, 511, 512, 1 << 30} {
			got, err := r.Storage(addr, slotOf(s))
			if err != nil || got != want.GetState(addr, slotOf(s)) {
				t.Fatalf("slot %d of account %d: %x, %v; want %x", s, i, got, err, want.GetState(addr, slotOf(s)))
			}
		}
	}
	if acct, _ := r.Account(w.addrs[0]); acct.Nonce != 0 {
		t.Error("a returned account is shared")
	}
	if d.Err() != nil {
		t.Error(d.Err())
	}
	w.faults.Range(func(_, v any) bool {
		f := v.(Fault)
		if f.Root != w.root || len(f.Key) != KeyLen || string(f.Key[:len(f.Path)]) != string(f.Path) {
			t.Errorf("fault %+v", f)
		}
		return true
	})
}

// TestWholePathFault reads one key per empty cache: one fault for the account trie and
// one for the storage trie, however deep they are.
func TestWholePathFault(t *testing.T) {
	w := newStateWorld(t, 300)
	for _, i := range []int{9, 39, 69, 120} {
		cache := NewCache(64<<20, nil)
		w.sink = cache
		w.count.Store(0)
		r := mustReader(t, Open(t.Context(), w.root, cache, w))
		got, err := r.Storage(w.addrs[i], slotOf(0))
		if err != nil || got != slotOf(1) {
			t.Fatalf("%x, %v", got, err)
		}
		if n := w.count.Load(); n != 2 {
			t.Errorf("%d faults", n)
		}
	}
}

// readAll reads everything once and returns the first error.
func readAll(w *stateWorld, r state.Reader) error {
	for _, addr := range w.addrs {
		acct, err := r.Account(addr)
		if err != nil {
			return err
		}
		r.Code(addr, common.BytesToHash(acct.CodeHash))
		if _, err := r.Storage(addr, slotOf(1)); err != nil {
			return err
		}
	}
	return nil
}

// TestLatch fails or falsifies every k-th fetch: the first error is kept, and no
// later read reaches the source.
func TestLatch(t *testing.T) {
	w := newStateWorld(t, 24)
	if err := readAll(w, mustReader(t, Open(t.Context(), w.root, nil, w))); err != nil {
		t.Fatal(err)
	}
	total := w.count.Load()
	for _, invalid := range []bool{false, true} {
		want := errBroken
		if invalid {
			want = ErrWrongBlob
		}
		for k := int64(1); k <= total; k++ {
			w.count.Store(0)
			if w.failAt, w.corruptAt = k, 0; invalid {
				w.failAt, w.corruptAt = 0, k
			}
			d := Open(t.Context(), w.root, nil, w)
			r := mustReader(t, d)
			err := readAll(w, r)
			if !errors.Is(d.Err(), want) || err != nil && !errors.Is(err, want) {
				t.Fatalf("fetch %d of %d: %v, latch %v", k, total, err, d.Err())
			}
			if w.count.Load() != k {
				t.Fatalf("the source was asked %d times after fetch %d failed", w.count.Load()-k, k)
			}
			mustBeLatched(t, d, r, w)
			if w.count.Load() != k {
				t.Fatalf("the source was asked by a read after the latch")
			}
		}
	}
}

// mustBeLatched checks that all ways of reading d fail with its latch.
func mustBeLatched(t *testing.T, d *StateDatabase, r state.Reader, w *stateWorld) {
	t.Helper()
	latch := d.Err()
	if _, err := r.Account(w.addrs[0]); !errors.Is(err, latch) {
		t.Errorf("Account: %v", err)
	}
	if _, err := r.Storage(w.addrs[0], slotOf(0)); !errors.Is(err, latch) {
		t.Errorf("Storage: %v", err)
	}
	if code := r.Code(w.addrs[0], crypto.Keccak256Hash([]byte("code0"))); code != nil {
		t.Errorf("Code: %x", code)
	}
	if _, err := d.OpenTrie(w.root); !errors.Is(err, latch) {
		t.Errorf("OpenTrie: %v", err)
	}
	tr, err := d.OpenStorageTrie(w.root, w.addrs[0], common.Hash{1}, nil)
	if err != nil {
		t.Errorf("OpenStorageTrie: %v", err)
	} else if _, err := tr.GetStorage(w.addrs[0], []byte{1}); !errors.Is(err, latch) {
		t.Errorf("GetStorage: %v", err)
	} else if err := tr.Prove(make([]byte, 32), memorydb.New()); !errors.Is(err, latch) {
		t.Errorf("Prove: %v", err)
	}
	if _, _, err := d.Changes(); !errors.Is(err, latch) {
		t.Errorf("Changes: %v", err)
	}
	if d.Fail(errors.New("another")); !errors.Is(d.Err(), latch) {
		t.Errorf("the latch changed to %v", d.Err())
	}
}

// TestMissingCode is about Code, which cannot return an error.
func TestMissingCode(t *testing.T) {
	w := newStateWorld(t, 4)
	d := Open(t.Context(), w.root, nil, w)
	r := mustReader(t, d)
	for _, hash := range []common.Hash{{}, types.EmptyCodeHash} {
		if r.Code(w.addrs[1], hash) != nil || r.CodeSize(w.addrs[1], hash) != 0 || r.Has(w.addrs[1], hash) || d.Err() != nil {
			t.Errorf("no code: %v", d.Err())
		}
	}
	if r.Code(w.addrs[1], common.Hash{1}) != nil || !errors.Is(d.Err(), ErrWrongBlob) {
		t.Errorf("a source without the code: %v", d.Err())
	}
	d = Open(t.Context(), w.root, nil, nil)
	if r := mustReader(t, d); r.CodeSize(w.addrs[1], common.Hash{1}) != 0 || !errors.Is(d.Err(), ErrUnavailable) {
		t.Errorf("without a source: %v", d.Err())
	}
}

// TestContextEnd cancels while a fetch is in flight, and before a read.
func TestContextEnd(t *testing.T) {
	w := newStateWorld(t, 8)
	why := errors.New("pivot")
	ctx, cancel := context.WithCancelCause(t.Context())
	d := Open(ctx, w.root, nil, hanging{})
	r := mustReader(t, d)
	done := make(chan error)
	go func() {
		_, err := r.Account(w.addrs[0])
		done <- err
	}()
	cancel(why)
	if err := <-done; !errors.Is(err, why) || !errors.Is(d.Err(), why) {
		t.Errorf("%v, latch %v", err, d.Err())
	}
	d = Open(ctx, w.root, nil, w)
	if err := readAll(w, mustReader(t, d)); !errors.Is(err, why) || w.count.Load() != 0 {
		t.Errorf("%v after %d fetches", err, w.count.Load())
	}
}

// hanging is a source that answers only that the context ended.
type hanging struct{}

func (hanging) FetchNode(ctx context.Context, _ Fault) ([]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (hanging) FetchCode(ctx context.Context, _ common.Hash) ([]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestConcurrentReads reads everything from many goroutines (for -race), and checks
// that a fault that hangs blocks no other read.
func TestConcurrentReads(t *testing.T) {
	w := newStateWorld(t, 100)
	cache := NewCache(64<<20, nil)
	w.sink = cache
	d := Open(t.Context(), w.root, cache, w)
	r := mustReader(t, d)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := readAll(w, r); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()

	ctx, cancel := context.WithCancel(t.Context())
	blocked := hangingFor{stateWorld: w, addr: crypto.Keccak256Hash(w.addrs[0][:]), waiting: make(chan struct{})}
	d = Open(ctx, w.root, nil, &blocked)
	r = mustReader(t, d)
	group.Go(func() { _, _ = r.Account(w.addrs[0]) })
	<-blocked.waiting
	if _, err := r.Account(w.addrs[1]); err != nil {
		t.Errorf("blocked by another fault: %v", err)
	}
	cancel()
	group.Wait()
}

// hangingFor hangs on the faults of one account.
type hangingFor struct {
	*stateWorld
	addr    common.Hash
	waiting chan struct{}
	once    sync.Once
}

func (h *hangingFor) FetchNode(ctx context.Context, f Fault) ([]byte, error) {
	if string(f.Key) == string(Nibbles(h.addr)) {
		h.once.Do(func() { close(h.waiting) })
		return hanging{}.FetchNode(ctx, f)
	}
	return h.stateWorld.FetchNode(ctx, f)
}

// change makes the same random changes to a state: new and deleted slots and accounts,
// balances, codes.
func change(rng *rand.Rand, db *state.StateDB, addrs []common.Address) common.Hash {
	for range 60 {
		addr := addrs[rng.IntN(len(addrs))]
		switch rng.IntN(5) {
		case 0:
			db.AddBalance(addr, uint256.NewInt(7), tracing.BalanceChangeUnspecified)
		case 1, 2:
			slot := slotOf(rng.IntN(64))
			db.SetState(addr, slot, slotOf(rng.IntN(3)*rng.IntN(1000)))
		case 3:
			db.SetCode(addr, []byte(fmt.Sprint("new", rng.IntN(100))), tracing.CodeChangeUnspecified)
		case 4:
			db.SelfDestruct(addr)
		}
	}
	fresh := common.Address{byte(rng.Uint32()), 7}
	db.SetNonce(fresh, 1, tracing.NonceChangeUnspecified)
	db.SetState(fresh, slotOf(1), slotOf(2))
	return db.IntermediateRoot(rules)
}

// TestChanges changes the state through both databases and reads the new one from
// nothing but the old one and what Changes returned.
func TestChanges(t *testing.T) {
	w := newStateWorld(t, 60)
	for seed := range uint64(20) {
		want, err := state.New(w.root, w.db)
		if err != nil {
			t.Fatal(err)
		}
		root := change(rand.New(rand.NewPCG(seed, 0)), want, w.addrs)

		cache := NewCache(64<<20, nil)
		d := Open(t.Context(), w.root, cache, w)
		db, err := state.New(w.root, d)
		if err != nil {
			t.Fatal(err)
		}
		if got := change(rand.New(rand.NewPCG(seed, 0)), db, w.addrs); got != root || db.Error() != nil || d.Err() != nil {
			t.Fatalf("root %x, want %x: %v, %v", got, root, db.Error(), d.Err())
		}
		nodes, codes, err := d.Changes()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if crypto.Keccak256Hash(n.Blob) != n.Hash {
				t.Fatalf("node at %x is not %x", n.Path, n.Hash)
			}
		}
		if err := cache.PutNodes(nodes); err != nil {
			t.Fatal(err)
		}
		for hash, code := range codes {
			if err := cache.PutCode(hash, code); err != nil {
				t.Fatal(err)
			}
		}
		r := mustReader(t, Open(t.Context(), root, cache, w))
		for _, addr := range w.addrs {
			acct, err := r.Account(addr)
			if err != nil || (acct != nil) != want.Exist(addr) {
				t.Fatalf("%v, %v", acct, err)
			}
			if acct == nil {
				continue
			}
			if string(r.Code(addr, common.BytesToHash(acct.CodeHash))) != string(want.GetCode(addr)) {
				t.Fatalf("code of %x", addr)
			}
			for s := range 64 {
				if got, err := r.Storage(addr, slotOf(s)); err != nil || got != want.GetState(addr, slotOf(s)) {
					t.Fatalf("slot %d of %x: %x, %v", s, addr, got, err)
				}
			}
		}
	}
}

// TestProve proves present and absent keys with one fault, and compares with
// go-ethereum's proofs.
func TestProve(t *testing.T) {
	w := newStateWorld(t, 200)
	theirs, err := w.db.OpenTrie(w.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range append(w.addrs[:20:20], common.Address{1}) {
		cache := NewCache(64<<20, nil)
		w.sink = cache
		ours, err := Open(t.Context(), w.root, cache, w).OpenTrie(w.root)
		if err != nil {
			t.Fatal(err)
		}
		w.count.Store(0)
		got, want := memorydb.New(), memorydb.New()
		if err := errors.Join(ours.Prove(crypto.Keccak256(addr[:]), got), theirs.Prove(crypto.Keccak256(addr[:]), want)); err != nil {
			t.Fatal(err)
		}
		if w.count.Load() > 1 || got.Len() != want.Len() {
			t.Errorf("%d faults, proof of %d nodes, want %d", w.count.Load(), got.Len(), want.Len())
		}
	}
}

// TestOtherRoot refuses roots that the database was not opened for, and what it does
// not do at all.
func TestOtherRoot(t *testing.T) {
	w := newStateWorld(t, 4)
	d := Open(t.Context(), w.root, nil, w)
	_, err1 := d.Reader(common.Hash{1})
	_, err2 := d.OpenTrie(common.Hash{1})
	_, err3 := d.OpenStorageTrie(common.Hash{1}, w.addrs[0], types.EmptyRootHash, nil)
	_, err4 := d.Iteratee(w.root)
	if err1 == nil || err2 == nil || err3 == nil || err4 == nil || d.Commit(nil) == nil || d.TrieDB() != nil {
		t.Error(err1, err2, err3, err4)
	}
	for _, root := range []common.Hash{{}, types.EmptyRootHash} {
		if acct, err := mustReader(t, Open(t.Context(), root, nil, nil)).Account(w.addrs[0]); acct != nil || err != nil {
			t.Errorf("empty state: %v, %v", acct, err)
		}
	}
}
