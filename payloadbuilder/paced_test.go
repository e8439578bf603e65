// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"math/big"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// slowStore is a complete state of which each read of a node takes time, and is counted.
type slowStore struct {
	trie.Store
	each  time.Duration
	reads atomic.Int64
}

func (s *slowStore) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	s.reads.Add(1)
	time.Sleep(s.each)
	return s.Store.Node(owner, path, hash)
}

// read makes a builder read a store of complete state.
func read(s *slowStore) func(*Config) {
	return func(cfg *Config) {
		cfg.State = func(common.Hash) State { return State{Store: s, Complete: true} }
	}
}

// slowBuild is a chain, a pool of many transactions, the payload that they make, and a store on which it takes so long to
// build it as a block takes on a busy machine.
func slowBuild(t *testing.T, n int, takes time.Duration) (*testChain, *listPool, *Envelope, *slowStore) {
	t.Helper()
	c, txs := newTestChain(configs()["osaka"]), new(listPool)
	txs.set(randomTxs(t, c, 11, n)...)
	whole := &slowStore{Store: c}
	b := newTestBuilder(t, c, txs, read(whole))
	p, err := b.newPayload(attributesOn(c, c.head))
	if err != nil {
		t.Fatal(err)
	}
	r := b.newRound(p)
	r.paced = newPacedState(t.Context(), b)
	built, err := r.fromPool(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, txs, envelopeOf(built), &slowStore{Store: c, each: takes / time.Duration(whole.reads.Load())}
}

// When a block takes long, payloads get ever better blocks of the same round, the best transactions first, and the last one is
// that of a round without offers. Its state is read once.
func TestInterimBlocks(t *testing.T) {
	sidecars() // outside of the bubble: the library has goroutines of its own
	synctest.Test(t, func(t *testing.T) {
		c, txs, whole, store := slowBuild(t, 150, 1500*time.Millisecond)
		b := running(t, newTestBuilder(t, c, txs, read(store)))
		id := mustStart(t, b, attributesOn(c, c.head))
		began, p := time.Now(), b.lookup(id)
		var values []*big.Int
		for last := (*offer)(nil); time.Since(began) < 1900*time.Millisecond; time.Sleep(10 * time.Millisecond) {
			if best, _, _ := p.current(); best != last {
				last = best
				values = append(values, best.Value)
			}
		}
		if len(values) < 4 {
			t.Errorf("%d blocks", len(values))
		}
		payload, err := b.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if payload.ExecutionPayload.BlockHash != whole.ExecutionPayload.BlockHash {
			t.Errorf("%.3f of the fees after %v", shareOf(payload.BlockValue, whole.BlockValue), time.Since(began))
		}
		// Early: a part of the time gives a larger part of the fees.
		early := attributesOn(c, c.head)
		early.Random = common.Hash{1}
		id = mustStart(t, b, early)
		time.Sleep(time.Second)
		if payload, err = b.Get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if share := shareOf(payload.BlockValue, whole.BlockValue); share < 0.4 {
			t.Errorf("%.3f of the fees after a second", share)
		}
		c.adopt(t, blockOf(t, payload.ExecutionPayloadEnvelope, early.BeaconRoot))
	})
}

// A sealed draft goes on: the blocks of each number of transactions are valid, and the last one is that of a draft that was sealed once.
func TestSealAgain(t *testing.T) {
	for fork, config := range configs() {
		t.Run(fork, func(t *testing.T) {
			c, txs := newTestChain(config), randomTxs(t, newTestChain(config), 12, 40)
			r := newTestBuilder(t, c, new(listPool)).newRoundOn(t, attributesOn(c, c.head))
			genesis := c.head
			draft, err := r.draft(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer draft.Close()
			included := txs[:0:0]
			for i, tx := range txs {
				if draft.Add(tx) == nil {
					included = append(included, tx)
				}
				if i%10 != 9 {
					continue
				}
				built, err := draft.Seal()
				if err != nil {
					t.Fatal(err)
				}
				once, err := newTestBuilder(t, c, new(listPool)).newRoundOn(t, attributesOn(c, genesis)).exactly(t.Context(), included)
				if err != nil {
					t.Fatal(err)
				}
				if built.Block.Hash() != once.Block.Hash() || built.Value.Cmp(once.Value) != 0 {
					t.Fatalf("%d transactions: block %x, sealed once %x", len(included), built.Block.Hash(), once.Block.Hash())
				}
				c.adopt(t, built.Block)
				c.setHead(genesis)
			}
			if len(included) < 20 {
				t.Errorf("%d transactions", len(included))
			}
		})
	}
}

// givingWay is a builder whose work is counted.
type givingWay struct {
	Pool
	Executor
	*slowStore
	busy    atomic.Bool
	taken   atomic.Int64           // times that transactions were taken from the pool
	checked atomic.Int64           // blocks that were verified
	verify  atomic.Pointer[func()] // called when the verification of a block with transactions begins
}

func (g *givingWay) Pending(filter txpool.PendingFilter) map[common.Address][]*txpool.LazyTransaction {
	g.taken.Add(1)
	return g.Pool.Pending(filter)
}

func (g *givingWay) Execute(ctx context.Context, job evm.Job) *evm.Result {
	if begins := g.verify.Load(); begins != nil && len(job.Block.Transactions()) > 0 {
		(*begins)()
	}
	defer g.checked.Add(1)
	return g.Executor.Execute(ctx, job)
}

func (g *givingWay) work() [3]int64 {
	return [3]int64{g.reads.Load(), g.taken.Load(), g.checked.Load()}
}

// Building gives way to imports: while a block is imported, it reads no state, whether it executes, computes a root or
// verifies, and takes no transactions from the pool. An import takes no longer than without it: no lock is held.
func TestGivesWay(t *testing.T) {
	sidecars() // outside of the bubble: the library has goroutines of its own
	synctest.Test(t, func(t *testing.T) {
		c, txs, whole, store := slowBuild(t, 60, 3*time.Second)
		g := &givingWay{Pool: txs, Executor: c.executor, slowStore: store}
		b := running(t, newTestBuilder(t, c, g, read(store), func(cfg *Config) { cfg.Executor, cfg.Busy = g, g.busy.Load }))
		attributes := attributesOn(c, c.head)
		block, genesis, random := blockOf(t, whole.ExecutionPayloadEnvelope, attributes.BeaconRoot), c.head, rand.New(rand.NewPCG(1, 1))
		for i := range 8 {
			verifying := make(chan struct{})
			if i%4 == 0 {
				begins := sync.OnceFunc(func() {
					g.busy.Store(true)
					close(verifying)
				})
				g.verify.Store(&begins)
			} else {
				time.AfterFunc(time.Duration(random.Int64N(int64(4*time.Second))), func() {
					g.busy.Store(true)
					close(verifying)
				})
			}
			attributes.Random = common.Hash{31: byte(i)}
			id := mustStart(t, b, attributes)
			<-verifying
			time.Sleep(store.each) // the read that has begun
			synctest.Wait()
			before, began := g.work(), time.Now()
			c.adopt(t, block) // with the executor that building uses
			c.setHead(genesis)
			if took := time.Since(began); took > 0 {
				t.Fatalf("the import took %v", took)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if now := g.work(); now != before {
				t.Fatalf("%d: while a block was imported, reads of state, of the pool, and verifications went from %v to %v", i, before, now)
			}
			if best, _, _ := b.lookup(id).current(); best == nil {
				t.Fatal("no payload")
			}
			g.busy.Store(false)
			g.verify.Store(nil)
			time.Sleep(lifetime)
			if now := g.work(); now == before {
				t.Errorf("%d: no work after the import", i)
			}
		}
	})
}

// A payload is returned at once if a round has ended, whatever came of it; and otherwise as soon as the first one was
// cut short.
func TestResolve(t *testing.T) {
	sidecars()
	synctest.Test(t, func(t *testing.T) {
		c, txs, _, store := slowBuild(t, 100, 500*time.Millisecond)
		for name, test := range map[string]struct {
			pool  Pool
			after time.Duration
			most  time.Duration
			empty bool
		}{
			"nothing in the pool":       {new(listPool), time.Second, 0, true},
			"in the first round":        {txs, time.Millisecond, sealTime, false},
			"after the first offer":     {txs, 300 * time.Millisecond, 0, false},
			"long after the last round": {txs, 13 * time.Second, 0, false},
		} {
			b := running(t, newTestBuilder(t, c, test.pool, read(store)))
			id := mustStart(t, b, attributesOn(c, c.head))
			time.Sleep(test.after)
			began := time.Now()
			payload, err := b.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > test.most || (len(payload.ExecutionPayload.Transactions) == 0) != test.empty {
				t.Errorf("%s: %d transactions after %v", name, len(payload.ExecutionPayload.Transactions), took)
			}
			if _, err := b.Get(t.Context(), engine.PayloadID{1}); err == nil {
				t.Error("unknown payload returned")
			}
			time.Sleep(20 * time.Second)
		}
	})
}

// The pool is on the head a moment after the payload was started: its transactions join then, not in the next interval.
func TestPoolFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, txs := newTestChain(configs()["osaka"]), &listPool{moved: make(chan struct{})}
		b := running(t, newTestBuilder(t, c, txs))
		id := mustStart(t, b, attributesOn(c, c.head))
		time.Sleep(50 * time.Millisecond)
		txs.move(transfer(c, 1, 0, 1))
		synctest.Wait()
		if payload, err := b.Get(t.Context(), id); err != nil || len(payload.ExecutionPayload.Transactions) != 1 {
			t.Errorf("payload %v, %v", payload, err)
		}
	})
}
