// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// partialStore is the local part of a state. It is a trie.Store.
type partialStore struct {
	chain *testChain // the rest

	mu     sync.Mutex
	all    bool                     // everything is local, but for what is hidden
	local  map[common.Hash]bool     // nodes and codes
	hidden map[common.Hash]error    // nodes and codes whose read finds nothing (nil) or fails
	read   map[common.Hash]struct{} // that were looked for
}

func newPartialStore(c *testChain, all bool) *partialStore {
	return &partialStore{chain: c, all: all, local: make(map[common.Hash]bool), hidden: make(map[common.Hash]error), read: make(map[common.Hash]struct{})}
}

func (s *partialStore) has(hash common.Hash) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[hash] = struct{}{}
	if err, hidden := s.hidden[hash]; hidden {
		return false, err
	}
	return s.all || s.local[hash], nil
}

func (s *partialStore) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if has, err := s.has(hash); !has {
		return nil, err
	}
	return s.chain.Node(owner, path, hash)
}

func (s *partialStore) Code(hash common.Hash) ([]byte, error) {
	if has, err := s.has(hash); !has {
		return nil, err
	}
	return s.chain.Code(hash)
}

func (s *partialStore) put(hash common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local[hash] = true
}

// bring makes what a fault names local, as a peer's reply to a request for the whole path does.
func (s *partialStore) bring(fault *trie.Fault) {
	value := s.bringPath(fault.Owner, fault.Hash, len(fault.Path), fault.Key)
	if len(fault.StorageKeys) == 0 || value == nil {
		return
	}
	var account types.StateAccount
	if rlp.DecodeBytes(value, &account) != nil || account.Root == types.EmptyRootHash {
		return
	}
	for _, key := range fault.StorageKeys {
		s.bringPath(fault.Account(), account.Root, 0, trie.Nibbles(key))
	}
}

func (s *partialStore) bringPath(owner, hash common.Hash, depth int, key []byte) []byte {
	for {
		blob, _ := s.chain.Node(owner, nil, hash)
		if blob == nil {
			return nil
		}
		s.put(hash)
		if key == nil {
			return nil
		}
		step, err := trie.Descend(blob, key[depth:])
		if err != nil || step.Kind != trie.StepChild {
			return step.Value
		}
		depth, hash = depth+step.Depth, step.Hash
	}
}

// peerFetcher is a Fetcher with one peer at a distance, which has everything.
type peerFetcher struct {
	*partialStore
	delay      time.Duration
	prefetcher *prefetch.Prefetcher
	offline    bool // the peer is gone

	trips int // guarded by mu
}

func newPeerFetcher(s *partialStore, delay time.Duration) *peerFetcher {
	return &peerFetcher{partialStore: s, delay: delay, prefetcher: prefetch.New(s.chain.executor, s)}
}

func (f *peerFetcher) Fetch(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	return f.Hint(ctx, faults, codes, nil)
}

func (f *peerFetcher) Prefetch(ctx context.Context, block *types.Block, parent *types.Header) error {
	return f.prefetcher.Prefetch(ctx, block, parent, headers{f.chain}, f)
}

// Hint implements prefetch.Hinter.
func (f *peerFetcher) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, arrived func()) error {
	if f.offline {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(f.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	f.trips++
	f.mu.Unlock()
	for i := range faults {
		f.bring(&faults[i])
	}
	for _, hash := range codes {
		f.put(hash)
	}
	if arrived != nil {
		arrived()
	}
	return nil
}

type headers struct{ chain *testChain }

func (h headers) Header(_ context.Context, hash common.Hash, _ uint64) (*types.Header, error) {
	return h.chain.Header(hash), nil
}
func (h headers) LocalHeader(hash common.Hash) *types.Header { return h.chain.Header(hash) }

// on makes a builder read a partial store and fetch from it.
func on(s *partialStore, f Fetcher) func(*Config) {
	return func(cfg *Config) {
		cfg.State = func(common.Hash) State { return State{Store: s} }
		cfg.Fetcher = f
	}
}

// randomTxs are transactions of a random pool in which each sender's nonces are in order.
func randomTxs(t *testing.T, c *testChain, seed uint64, n int) (txs []*types.Transaction) {
	t.Helper()
	random := newTraffic(c.config, seed)
	for range n {
		tx, user := random.next(t, eip1559.CalcBaseFee(c.config, c.head))
		random.nonces[user]++
		txs = append(txs, tx)
	}
	return txs
}

var errDisk = errors.New("disk failed")

// TestEveryHiddenNode builds a block while one node or code of those that the block reads is missing, or its read fails,
// for every one of them (a quarter in short tests). There is no block then, or one that is valid: BuildOnce executes it on the same
// store, and adopt on the complete one.
func TestEveryHiddenNode(t *testing.T) {
	for fork, config := range configs() {
		t.Run(fork, func(t *testing.T) {
			c := newTestChain(config)
			txs := new(listPool)
			txs.set(randomTxs(t, c, 5, 60)...)
			store := newPartialStore(c, true)
			b := newTestBuilder(t, c, txs, on(store, noFetcher{}))
			a := attributesOn(c, c.head)
			whole, err := b.BuildOnce(t.Context(), a, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			genesis, fewer, none := c.head, 0, 0
			for hash := range store.read {
				if testing.Short() && hash[31]%4 > 0 {
					continue
				}
				for _, failure := range []error{nil, errDisk} {
					store.hidden = map[common.Hash]error{hash: failure}
					r := b.newRoundOn(t, a)
					built, err := r.fromPool(t.Context(), nil)
					if err != nil {
						none++
						continue
					}
					if len(built.Block.Transactions()) < len(whole.ExecutionPayload.Transactions) {
						fewer++
					}
					c.head = genesis
					c.adopt(t, built.Block)
				}
			}
			t.Logf("%d nodes and codes: %d times fewer transactions, %d times no block", len(store.read), fewer, none)
			if fewer == 0 || none == 0 {
				t.Error("the hidden nodes did not matter")
			}
		})
	}
}

// TestRandomPartialState builds on stores of which a random part is missing.
func TestRandomPartialState(t *testing.T) {
	c := newTestChain(configs()["amsterdam"])
	txs := new(listPool)
	txs.set(randomTxs(t, c, 6, 120)...)
	whole := newPartialStore(c, true)
	a, genesis := attributesOn(c, c.head), c.head
	b := newTestBuilder(t, c, txs, on(whole, noFetcher{}))
	if _, err := b.BuildOnce(t.Context(), a, nil, nil); err != nil {
		t.Fatal(err)
	}
	empty := newPartialStore(c, true)
	if _, err := newTestBuilder(t, c, new(listPool), on(empty, noFetcher{})).BuildOnce(t.Context(), a, nil, nil); err != nil {
		t.Fatal(err)
	}
	random, sizes := rand.New(rand.NewPCG(8, 9)), make(map[int]int)
	for range 60 {
		part := newPartialStore(c, false)
		share := 0.5 + random.Float64()/2
		for hash := range whole.read {
			part.local[hash] = random.Float64() < share
		}
		for hash := range empty.read { // the empty block can always be built
			part.local[hash] = true
		}
		r := newTestBuilder(t, c, txs, on(part, noFetcher{})).newRoundOn(t, a)
		built, err := r.fromPool(t.Context(), nil)
		if err != nil {
			continue // the root needed what is missing
		}
		sizes[len(built.Block.Transactions())]++
		c.head = genesis
		c.adopt(t, built.Block)
	}
	if len(sizes) < 5 {
		t.Errorf("blocks by number of transactions: %v", sizes)
	}
	t.Logf("blocks by number of transactions: %v", sizes)
}

// While beaming, an empty block waits for state unless its head was prepared, and transactions join when their
// state is there.
func TestBeaming(t *testing.T) {
	sidecars() // outside of the bubble: the library has goroutines of its own
	for fork, config := range configs() {
		t.Run(fork, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTestChain(config)
				txs := new(listPool)
				txs.set(randomTxs(t, c, 7, 60)...)
				all, err := newTestBuilder(t, c, txs).BuildOnce(t.Context(), attributesOn(c, c.head), nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				store := newPartialStore(c, false)
				b := newTestBuilder(t, c, txs, on(store, newPeerFetcher(store, 100*time.Millisecond)))
				b.prepare(t.Context(), c.head)
				running(t, b)
				began := time.Now()
				id := mustStart(t, b, attributesOn(c, c.head))
				if best, _, _ := b.lookup(id).current(); best == nil || time.Since(began) > 0 {
					t.Fatalf("no empty block after %v", time.Since(began))
				}
				time.Sleep(6 * time.Second)
				payload, err := b.Get(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := len(payload.ExecutionPayload.Transactions), len(all.ExecutionPayload.Transactions); got < want*9/10 {
					t.Errorf("%d transactions, %d with complete state", got, want)
				}
				c.adopt(t, blockOf(t, payload.ExecutionPayloadEnvelope, attributesOn(c, c.head).BeaconRoot))
			})
		})
	}
}

// An empty block whose state is not local is built when that has arrived, also after the payload was asked for in vain.
func TestEmptyBlockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestChain(configs()["osaka"])
		store := newPartialStore(c, false)
		b := running(t, newTestBuilder(t, c, new(listPool), on(store, newPeerFetcher(store, 500*time.Millisecond))))
		a := attributesOn(c, c.head)
		a.Withdrawals = []*types.Withdrawal{{Address: common.Address{7}, Amount: 8}}
		id := mustStart(t, b, a)
		began := time.Now()
		if _, err := b.Get(t.Context(), id); !errors.Is(err, ErrNotReady) || time.Since(began) != emptyTime {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(5 * time.Second)
		payload, err := b.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c.adopt(t, blockOf(t, payload.ExecutionPayloadEnvelope, a.BeaconRoot))
	})
}

// Without peers, a payload is built of what is local.
func TestNoPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestChain(configs()["amsterdam"])
		txs := new(listPool)
		txs.set(transfer(c, 1, 0, 1), transfer(c, 2, 0, 1))
		whole := newPartialStore(c, true)
		a := attributesOn(c, c.head)
		if _, err := newTestBuilder(t, c, txs, on(whole, noFetcher{})).BuildOnce(t.Context(), a, nil, nil); err != nil {
			t.Fatal(err)
		}
		store := newPartialStore(c, false)
		for hash := range whole.read {
			store.local[hash] = true
		}
		gone := newPeerFetcher(store, time.Second)
		gone.offline = true
		txs.set(append(txs.txs, randomTxs(t, c, 1, 40)...)...)
		b := running(t, newTestBuilder(t, c, txs, on(store, gone)))
		id := mustStart(t, b, a)
		time.Sleep(4 * time.Second)
		began := time.Now()
		payload, err := b.Get(t.Context(), id)
		if err != nil || time.Since(began) > sealTime {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		if len(payload.ExecutionPayload.Transactions) == 0 {
			t.Error("no transactions, although the state of some is local")
		}
		c.adopt(t, blockOf(t, payload.ExecutionPayloadEnvelope, a.BeaconRoot))
	})
}

// Rounds pause while a block is imported, and the empty block is there all the same.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestChain(configs()["osaka"])
		txs := new(listPool)
		txs.set(transfer(c, 1, 0, 1))
		free := time.Now().Add(3 * time.Second)
		b := running(t, newTestBuilder(t, c, txs, func(cfg *Config) { cfg.Busy = func() bool { return time.Now().Before(free) } }))
		id := mustStart(t, b, attributesOn(c, c.head))
		time.Sleep(2500 * time.Millisecond)
		if best, _, _ := b.lookup(id).current(); best == nil || len(best.Block.Transactions()) > 0 {
			t.Fatalf("while a block is imported: %v", best)
		}
		time.Sleep(2500 * time.Millisecond)
		if best, _, _ := b.lookup(id).current(); len(best.Block.Transactions()) != 1 {
			t.Error("no transaction after the import")
		}
		time.Sleep(lifetime)
		if b.lookup(id).wanted.Err() == nil {
			t.Error("the payload improves after its lifetime")
		}
	})
}

// withoutHeader is a chain that lacks the header of one block.
type withoutHeader struct {
	*testChain
	hash common.Hash
}

func (c withoutHeader) Header(hash common.Hash) *types.Header {
	if hash == c.hash {
		return nil
	}
	return c.testChain.Header(hash)
}

// A transaction that reads the hash of a block whose header is not stored is left out, also on complete state.
func TestMissingHeader(t *testing.T) {
	for _, complete := range []bool{false, true} {
		c := newTestChain(configs()["osaka"])
		txs := new(listPool)
		for range 4 {
			a := attributesOn(c, c.head)
			payload, err := newTestBuilder(t, c, txs).BuildOnce(t.Context(), a, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.adopt(t, blockOf(t, payload.ExecutionPayloadEnvelope, a.BeaconRoot))
		}
		parent := c.Header(c.head.ParentHash) // BLOCKHASH finds the third block before by the header of the second
		hashes := signed(c, 3, &types.DynamicFeeTx{
			ChainID: c.config.ChainID, To: &hasherAddr, Gas: 100_000, GasTipCap: big.NewInt(4 * params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
		})
		txs.set(transfer(c, 1, 0, 5), hashes, transfer(c, 2, 0, 3), transfer(c, 1, 1, 2))
		for _, missing := range []common.Hash{{}, parent.Hash()} {
			b := newTestBuilder(t, c, txs, func(cfg *Config) {
				cfg.Chain = withoutHeader{c, missing}
				cfg.State = func(common.Hash) State { return State{Store: c, Complete: complete} }
			})
			built, err := b.newRoundOn(t, attributesOn(c, c.head)).fromPool(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := 4
			if missing != (common.Hash{}) {
				want = 3
			}
			if got := len(built.Block.Transactions()); got != want {
				t.Errorf("complete state %t, missing header %x: %d transactions, want %d", complete, missing, got, want)
			}
			if err := newTestBuilder(t, c, txs).verify(t.Context(), newPayload(engine.PayloadID{}, c.head, built.Block.Header(), nil), built, c); err != nil {
				t.Error(err)
			}
		}
	}
}
