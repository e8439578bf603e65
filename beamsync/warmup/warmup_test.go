// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"context"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	pastLength = 40 // blocks; the last one is the head
	pastTxs    = 4  // in each
	pastSlots  = 6  // that a transaction reads, one after the other
)

// past is a chain with all of its states. Each block calls the contracts of the block before, and one that only it calls.
type past struct {
	*testchain.Chain
	blocks   []*types.Block // 1..pastLength+1: the last one is not stored
	receipts []types.Receipts
	states   *beamtest.State
}

func contract(n int) common.Address { return common.BigToAddress(big.NewInt(int64(0xc0de00 + n))) }

// thePast is built once; it is only read afterwards.
var thePast = sync.OnceValue(func() *past {
	alloc := make(types.GenesisAlloc)
	var codes [][]byte
	for n := range pastLength + pastTxs + 1 {
		// Each slot says which one is next, so that a speculation needs a trip for each; then it logs.
		code := []byte{0x5f} // PUSH0
		for range pastSlots {
			code = append(code, 0x54) // SLOAD
		}
		code = append(code, 0x50, 0x5f, 0x5f, 0xa0, 0x61, byte(n>>8), byte(n), 0x50) // POP PUSH0 PUSH0 LOG0 PUSH2 n POP
		storage := make(map[common.Hash]common.Hash)
		for slot := range 60 {
			storage[common.BigToHash(big.NewInt(int64(slot)))] = common.BigToHash(big.NewInt(int64(slot*7 + 1)))
		}
		alloc[contract(n)] = types.Account{Code: code, Storage: storage}
		codes = append(codes, code)
	}
	built := testchain.New(testchain.Genesis(nil, testchain.Funded(1), testchain.Filler(600), alloc))
	for _, account := range built.Genesis.Alloc {
		codes = append(codes, account.Code)
	}
	p := &past{Chain: built, states: beamtest.StatesIn(built.DB, codes...)}
	p.blocks, p.receipts = built.Extend(built.Root(), pastLength+1, func(i int, b *testchain.Block) {
		b.SetCoinbase(testchain.FillerAddress(i))
		for n := range pastTxs {
			b.Call(contract(i+n), 0, nil)
		}
	})
	return p
})

func (p *past) at(number int) *types.Block { return p.blocks[number-1] }

// rig is a warm-up of a node that has executed the head of the past.
type rig struct {
	*beamtest.Rig
	*past
	chain  *chain.Chain
	cfg    Config
	busy   atomic.Bool
	log    *beamtest.Buffer
	warmup *Warmup
}

func inPast(t *testing.T, test func(r *rig), change ...func(*Config)) {
	t.Helper()
	past := thePast()
	beamtest.InBubble(t, func(f *beamtest.Rig) {
		store, err := db.OpenMemory(db.Options{})
		beamtest.Must(err)
		defer store.Close()
		r := &rig{Rig: f, past: past, log: new(beamtest.Buffer)}
		r.T = t
		r.chain, err = chain.New(store.Chain(), past.Genesis)
		beamtest.Must(err)
		beamtest.Must(r.chain.Commit(past.at(pastLength), past.receipts[pastLength-1]))
		_, err = r.chain.SetHead(past.at(pastLength).Hash())
		beamtest.Must(err)
		var headers []*types.Header
		var blocks []*types.Block
		var receipts []types.Receipts
		for number := pastLength - 1; number > 0; number-- {
			headers = append(headers, past.at(number).Header())
			blocks, receipts = append(blocks, past.at(number)), append(receipts, past.receipts[number-1])
		}
		beamtest.Must(r.chain.AddHeaders(headers))
		beamtest.Must(r.chain.AddHistory(blocks, receipts))
		executor := evm.NewExecutor(past.Genesis.Config)
		r.cfg = Config{
			Chain: r.chain, Store: f.Cache, Session: f.Session(sched.Background), Executor: executor, Prefetcher: prefetch.New(executor, f.Cache),
			Headers:     localHeaders{r.chain},
			AccessLists: func(context.Context, []*types.Header) ([]rlp.RawValue, error) { return nil, nil },
			Ready:       func() bool { return true }, Busy: r.busy.Load, Settled: func() bool { return true },
			Budget: 64 << 20, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		}
		for _, f := range change {
			f(&r.cfg)
		}
		r.warmup = New(r.cfg)
		test(r)
	})
}

// localHeaders are those of a chain.
type localHeaders struct{ *chain.Chain }

func (l localHeaders) Header(_ context.Context, hash common.Hash, _ uint64) (*types.Header, error) {
	if header := l.Chain.Header(hash); header != nil {
		return header, nil
	}
	return nil, trie.ErrUnavailable
}

func (l localHeaders) LocalHeader(hash common.Hash) *types.Header { return l.Chain.Header(hash) }

func (r *rig) peer(id string) *beamtest.FakePeer {
	p := beamtest.NewFakePeer(id, beamtest.RTT)
	p.Nodes, p.Codes = r.states.TrieNodes, r.states.Codes
	return p
}

// run runs the warm-up to its end.
func (r *rig) run() {
	r.T.Helper()
	if err := r.warmup.Run(r.Ctx); err != nil {
		r.T.Errorf("Run: %v", err)
	}
}

// next executes the block after the head as the importer does, and returns what that took.
func (r *rig) next() trie.FetchStats {
	r.T.Helper()
	session := r.Session(sched.Urgent)
	block, parent := r.at(pastLength+1), r.at(pastLength).Header()
	if err := r.cfg.Prefetcher.Prefetch(r.Ctx, block, parent, r.cfg.Headers, session); err != nil {
		r.T.Fatal(err)
	}
	state := trie.Open(r.Ctx, parent.Root, r.Cache, session)
	result := r.cfg.Executor.Execute(r.Ctx, evm.Job{Block: block, Parent: parent, State: state, Headers: r.cfg.Headers})
	if result.Outcome != evm.Valid {
		r.T.Fatalf("next block: %v: %v", result.Outcome, result.Err)
	}
	return session.Stats()
}

// TestNextBlock: after a warm-up the next block fetches only what no block before it touched.
func TestNextBlock(t *testing.T) {
	var cold, warm trie.FetchStats
	inPast(t, func(r *rig) {
		r.Connect(r.peer("a"))
		cold = r.next()
	})
	inPast(t, func(r *rig) {
		r.Connect(r.peer("a"))
		r.run()
		if done := r.warmup.done; done.read != pastLength || done.replayed != replayBlocks-1 || done.failed > 0 {
			t.Errorf("done %+v\n%s", done, r.log)
		}
		warm = r.next()
		if got := r.log.String(); !strings.Contains(got, "all was requested") {
			t.Errorf("log:\n%s", got)
		}
	})
	t.Logf("cold %+v, warm %+v", cold, warm)
	if warm.Nodes*3 > cold.Nodes || warm.Codes != 1 || cold.Codes < pastTxs {
		t.Errorf("the next block took %+v, cold %+v", warm, cold)
	}
}

// TestBudget: the warm-up stops at its budget; what is over is no more than what was in flight.
func TestBudget(t *testing.T) {
	const budget, inFlight = 50_000, 100_000
	inPast(t, func(r *rig) {
		r.Connect(r.peer("a"))
		r.run()
		if used := r.warmup.budget.used(); used < budget || used > budget+inFlight {
			t.Errorf("%d bytes", used)
		}
		if got := r.log.String(); !strings.Contains(got, "the budget is spent") {
			t.Errorf("log:\n%s", got)
		}
	}, func(c *Config) { c.Budget = budget })
}

// TestYield: while a block is being imported nothing is requested, whatever was being done; afterwards it goes on to the same end.
func TestYield(t *testing.T) {
	inPast(t, func(r *rig) {
		p := r.peer("a")
		r.Connect(p)
		r.busy.Store(true)
		ended := make(chan struct{})
		go func() { defer close(ended); r.run() }()
		time.Sleep(10 * time.Second)
		if p.Served() > 0 {
			t.Errorf("%d requests before the block ended", p.Served())
		}
		for range 8 { // a block every two seconds, for half a second
			r.busy.Store(false)
			time.Sleep(1500 * time.Millisecond)
			r.busy.Store(true)
			time.Sleep(2 * watchInterval)
			before := p.Served()
			time.Sleep(500 * time.Millisecond)
			if got := p.Served() - before; got > 0 {
				t.Errorf("%d requests while a block was being imported", got)
			}
		}
		r.busy.Store(false)
		<-ended
		if r.warmup.done.pauses == 0 || r.warmup.done.replayed+r.warmup.done.failed != replayBlocks-1 {
			t.Errorf("done %+v", r.warmup.done)
		}
		if warm := r.next(); warm.Codes != 1 {
			t.Errorf("the next block took %+v", warm)
		}
	})
}

// TestBadPeers: a peer that is silent, has nothing or sends invalid data costs time, and nothing gets into the store that is not
// true. With an honest one the warm-up ends all the same.
func TestBadPeers(t *testing.T) {
	for name, spoil := range map[string]func(p *beamtest.FakePeer){
		"silent": func(p *beamtest.FakePeer) { p.Stall = func(int) bool { return true } },
		"empty":  func(p *beamtest.FakePeer) { p.Mangle = func(int, [][]byte) ([][]byte, error) { return nil, nil } },
		"lying": func(p *beamtest.FakePeer) {
			p.Mangle = func(_ int, blobs [][]byte) ([][]byte, error) {
				blobs = slices.Clone(blobs)
				for i, blob := range blobs {
					if len(blob) > 0 {
						blobs[i] = append(slices.Clone(blob[:len(blob)-1]), blob[len(blob)-1]^1)
					}
				}
				return blobs, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPast(t, func(r *rig) {
				bad := r.peer("bad")
				spoil(bad)
				r.Connect(bad)
				ctx, cancel := context.WithTimeout(r.Ctx, 5*time.Minute)
				defer cancel()
				if err := r.warmup.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if used := r.warmup.budget.used(); used > 0 {
					t.Errorf("%d bytes of a bad peer", used)
				}
				r.Connect(r.peer("honest"))
				if warm := r.next(); warm.Codes < pastTxs {
					t.Errorf("the next block took %+v", warm)
				}
			})
			inPast(t, func(r *rig) {
				bad := r.peer("bad")
				spoil(bad)
				r.Connect(bad, r.peer("honest"))
				r.run()
				if warm := r.next(); warm.Codes > 1 {
					t.Errorf("the next block took %+v", warm)
				}
			})
		})
	}
}

// TestNotReady: a node that does not beam is left alone, and the end of the context ends the wait.
func TestNotReady(t *testing.T) {
	inPast(t, func(r *rig) {
		p := r.peer("a")
		r.Connect(p)
		ctx, cancel := context.WithTimeout(r.Ctx, time.Minute)
		defer cancel()
		if err := r.warmup.Run(ctx); err != nil || p.Served() > 0 || r.warmup.done != (counts{}) {
			t.Errorf("%v, %d requests, %+v", err, p.Served(), r.warmup.done)
		}
	}, func(c *Config) { c.Ready = func() bool { return false } })
}
