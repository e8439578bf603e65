// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/ethdb"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

var (
	echoAddr  = common.HexToAddress("0xec") // emits a log with its input as topic
	otherAddr = common.HexToAddress("0xed") // the same
)

// recording is a chain with logs in most blocks, and a branch of it.
type recording struct {
	made           *testchain.Chain
	blocks, branch []*types.Block // blocks[i] is block i+1; branch begins above block 20
	receipts       []types.Receipts
	branchReceipts []types.Receipts
}

var recorded = sync.OnceValue(func() *recording {
	code := program.New().Push(0).Op(vm.CALLDATALOAD).Push(0).Push(0).Op(vm.LOG1, vm.STOP).Bytes()
	alloc := types.GenesisAlloc{echoAddr: {Code: code, Balance: common.Big1}, otherAddr: {Code: code, Balance: common.Big1}}
	r := &recording{made: testchain.New(testchain.Genesis(nil, testchain.Funded(1), alloc))}
	fill := func(salt int) func(int, *testchain.Block) {
		return func(i int, b *testchain.Block) {
			b.SetCoinbase(common.Address{byte(salt)})
			for j := range (i + salt) % 4 {
				topic := common.Hash{byte((i + j) % 5), byte(salt * j)}
				b.Call([]common.Address{echoAddr, otherAddr}[(i+j)%2], 0, topic[:])
			}
		}
	}
	r.blocks, r.receipts = r.made.Extend(r.made.Root(), 40, fill(0))
	r.branch, r.branchReceipts = r.made.Extend(r.blocks[19], 25, fill(1))
	return r
})

// rig is a chain in a store.
type rig struct {
	t     *testing.T
	chain *chain.Chain
	store ethdb.KeyValueStore
	log   *safeBuffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	c, err := chain.New(store.Chain(), recorded().made.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, c, store.Chain().KeyValue(), new(safeBuffer)}
}

// advance commits blocks and makes the last one the head.
func (r *rig) advance(blocks []*types.Block, receipts []types.Receipts) {
	r.t.Helper()
	for i, block := range blocks {
		if err := r.chain.Commit(block, receipts[i]); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := r.chain.SetHead(blocks[len(blocks)-1].Hash()); err != nil {
		r.t.Fatal(err)
	}
}

// upTo advances on the main branch over the blocks from first to last.
func (r *rig) upTo(first, last int) {
	r.t.Helper()
	r.advance(recorded().blocks[first-1:last], recorded().receipts[first-1:last])
}

// run starts an index, which ends with the test or with stop.
func (r *rig) run(cfg Config) (x *Index, stop func() error) {
	r.t.Helper()
	cfg.Chain = r.chain
	if cfg.Store == nil {
		cfg.Store = r.store
	}
	cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	x = New(cfg)
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	r.t.Cleanup(func() { _ = stop() })
	return x, stop
}

// await waits until the index covers exactly the blocks from first to last.
func (r *rig) await(x *Index, first, last uint64) {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		r.check(x)
		if p := x.Progress(); p.First == first && p.Last == last {
			if found := r.search(x, 0, 1<<20, Criteria{Addresses: []common.Address{echoAddr}}); found.Covers && found.First == first && found.Last == last {
				return
			}
		}
		if time.Since(began) > 2*time.Minute {
			r.t.Fatalf("blocks %d to %d are not indexed: %+v\n%s", first, last, x.Progress(), r.log)
		}
	}
}

func (r *rig) search(x *Index, first, last uint64, c Criteria) Result {
	r.t.Helper()
	found, err := x.Search(r.t.Context(), r.chain.CurrentHeader(), Query{First: first, Last: last, Criteria: c})
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// check compares searches with what the receipts of the blocks say that they cover.
func (r *rig) check(x *Index) {
	r.t.Helper()
	for _, c := range []Criteria{
		{Addresses: []common.Address{echoAddr}},
		{Addresses: []common.Address{otherAddr, {1}}},
		{Topics: [][]common.Hash{{{1}, {2}}}},
		{Addresses: []common.Address{echoAddr}, Topics: [][]common.Hash{{{3}}}},
		{Addresses: []common.Address{{9}}},
	} {
		for _, span := range [][2]uint64{{0, 100}, {7, 7}, {12, 30}} {
			found := r.search(x, span[0], span[1], c)
			if !found.Covers {
				continue
			}
			if found.First < span[0] || found.Last > span[1] {
				r.t.Fatalf("blocks %d to %d of %v", found.First, found.Last, span)
			}
			var want []string
			for number := found.First; number <= found.Last; number++ {
				for _, receipt := range r.chain.Receipts(r.chain.CanonicalHash(number)) {
					for _, log := range receipt.Logs {
						if c.Match(log) {
							want = append(want, describe(log))
						}
					}
				}
			}
			var got []string
			for _, log := range found.Logs {
				got = append(got, describe(log))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				r.t.Fatalf("%+v in blocks %d to %d:\n got %v\nwant %v", c, found.First, found.Last, got, want)
			}
		}
	}
}

func describe(log *types.Log) string {
	return fmt.Sprintf("%d/%x/%x/%d", log.BlockNumber, log.BlockHash[:4], log.TxHash[:4], log.Index)
}

// cutStore drops every write after the first few, as a kill does.
type cutStore struct {
	ethdb.KeyValueStore
	left  atomic.Int64
	fail  error         // returned by the writes after these, if not nil
	wrote chan struct{} // gets the first write; may be nil
}

func newCutStore(store ethdb.KeyValueStore, writes int) *cutStore {
	s := &cutStore{KeyValueStore: store}
	s.left.Store(int64(writes))
	return s
}

func (s *cutStore) DeleteRange(start, end []byte) error {
	if s.left.Add(-1) < 0 {
		return s.fail
	}
	return s.KeyValueStore.DeleteRange(start, end)
}

func (s *cutStore) NewBatch() ethdb.Batch { return &cutBatch{s.KeyValueStore.NewBatch(), s} }

type cutBatch struct {
	ethdb.Batch
	store *cutStore
}

func (b *cutBatch) Write() error {
	select {
	case b.store.wrote <- struct{}{}:
	default:
	}
	if b.store.left.Add(-1) < 0 {
		return b.store.fail
	}
	return b.Batch.Write()
}

type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
