// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// library has blocks, and counts what is asked of it.
type library struct {
	noPeers
	blocks    map[common.Hash]*types.Block
	noBodies  atomic.Bool
	requests  atomic.Int32
	most      atomic.Int32 // bodies in one request
	lastAsked atomic.Uint64
}

func (l *library) Headers(_ context.Context, origin common.Hash, amount int) (headers []*types.Header, err error) {
	l.requests.Add(1)
	for block := l.blocks[origin]; block != nil && len(headers) < amount; block = l.blocks[block.ParentHash()] {
		headers = append(headers, block.Header())
	}
	if len(headers) == 0 {
		return nil, trie.ErrUnavailable
	}
	l.lastAsked.Store(headers[len(headers)-1].Number.Uint64())
	return headers, nil
}

func (l *library) Bodies(_ context.Context, headers []*types.Header) (blocks []*types.Block, err error) {
	l.requests.Add(1)
	l.most.Store(max(l.most.Load(), int32(len(headers))))
	for _, header := range headers {
		block := l.blocks[header.Hash()]
		if block == nil || l.noBodies.Load() {
			return nil, trie.ErrUnavailable
		}
		blocks = append(blocks, block)
	}
	return blocks, nil
}

// missedChain is n blocks on a genesis. From the block bad on, state roots are wrong; 0: none is.
func missedChain(n, bad int) (*core.Genesis, []*types.Block) {
	chain := testchain.New(testchain.Genesis(nil))
	blocks, _ := chain.Extend(chain.Root(), n, func(i int, b *testchain.Block) {
		b.AddWithdrawal(&types.Withdrawal{Address: testchain.FillerAddress(i % 50), Amount: 1})
	})
	for i := max(bad-1, 0); bad > 0 && i < n; i++ {
		header := blocks[i].Header()
		if i == bad-1 {
			header.Root[0]++
		} else {
			header.ParentHash = blocks[i-1].Hash()
		}
		blocks[i] = types.NewBlockWithHeader(header).WithBody(*blocks[i].Body())
	}
	return chain.Genesis, blocks
}

func newLibrary(blocks []*types.Block) *library {
	l := &library{blocks: make(map[common.Hash]*types.Block)}
	for _, block := range blocks {
		l.blocks[block.Hash()] = block
	}
	return l
}

func payload(t *testing.T, i *Importer, block *types.Block, limit time.Duration) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return i.NewPayload(ctx, block)
}

// TestCatchUp gives a full node a block far ahead of it: what lies between is fetched in parts and executed, and
// the head follows where the consensus client has chosen one.
func TestCatchUp(t *testing.T) {
	const far = 2*headerBatch + 100
	genesis, made := missedChain(far, 0)
	blocks := newLibrary(made)
	importer, chained := newLocalImporter(t, genesis, true, func(cfg *Config) { cfg.Blocks = blocks })
	tip := made[far-1]
	followed := make(chan uint64, far)
	heads := make(chan chain.HeadEvent, far)
	sub := chained.SubscribeHead(heads)
	defer sub.Unsubscribe()
	go func() {
		for {
			select {
			case event := <-heads:
				followed <- event.Block.NumberU64()
			case <-sub.Err(): //nolint:errcheck // it only ever ends
				for len(heads) > 0 {
					followed <- (<-heads).Block.NumberU64()
				}
				close(followed)
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status, err := importer.Forkchoice(ctx, Forkchoice{Head: tip.Hash()})
	if err != nil || status.Status != Valid || chained.CurrentHeader().Hash() != tip.Hash() {
		t.Fatalf("head %d: %+v, %v", chained.CurrentHeader().Number, status, err)
	}
	sub.Unsubscribe()
	steps, last := 0, uint64(0)
	for number := range followed {
		if number <= last {
			t.Errorf("head %d after %d", number, last)
		}
		steps, last = steps+1, number
	}
	if steps < far/catchUpBlocks-1 || last != far {
		t.Errorf("the head moved %d times, to %d", steps, last)
	}
	if most := blocks.most.Load(); most > catchUpBlocks || blocks.lastAsked.Load() > 1 {
		t.Errorf("%d bodies at once, headers down to %d", most, blocks.lastAsked.Load())
	}
	if status := importer.Status(); status.CatchUp != nil || status.Totals.Invalid != 0 {
		t.Errorf("afterwards: %+v", status)
	}
}

// TestCatchUpInvalid has an invalid block among those that were missed.
func TestCatchUpInvalid(t *testing.T) {
	genesis, made := missedChain(90, 40)
	blocks := newLibrary(made)
	blocks.noBodies.Store(true)
	importer, chained := newLocalImporter(t, genesis, true, func(cfg *Config) { cfg.Blocks = blocks })
	if status := payload(t, importer, made[89], time.Second); status.Status != Syncing {
		t.Fatalf("without bodies: %+v", status)
	}
	blocks.noBodies.Store(false)
	for _, number := range []int{90, 90, 60, 40} {
		status := payload(t, importer, made[number-1], 20*time.Second)
		if status.Status != Invalid || status.LatestValid == nil || *status.LatestValid != made[38].Hash() {
			t.Fatalf("block %d: %+v", number, status)
		}
	}
	if status := payload(t, importer, made[38], 20*time.Second); status.Status != Valid {
		t.Fatalf("the block before: %+v", status)
	}
	if chained.CurrentHeader().Number.Sign() != 0 {
		t.Errorf("head %d without a choice", chained.CurrentHeader().Number)
	}
}

// newBesideInvalidChain returns a good chain, one whose block number bad is not good, and a fresh beaming importer that has all states of
// the good one, and whose peers have the other one. change, which may be nil, alters how it is made.
func newBesideInvalidChain(t *testing.T, length, bad int, change func(cfg *Config, made []*types.Block)) (importer *Importer, good, made []*types.Block) {
	t.Helper()
	genesis, good := missedChain(length, 0)
	_, made = missedChain(length, bad)
	var local trie.Local
	before, _ := newLocalImporter(t, genesis, false, func(cfg *Config) { local = cfg.Local })
	for _, block := range good { // makes the states
		if status := payload(t, before, block, 20*time.Second); status.Status != Valid {
			t.Fatal(status)
		}
	}
	importer, _ = newLocalImporter(t, genesis, false, func(cfg *Config) {
		cfg.Local, cfg.Blocks = local, newLibrary(made)
		if change != nil {
			change(cfg, made)
		}
	})
	return importer, good, made
}

// TestInvalidForLong: a beaming node that has seen a chain's bad block does not go over to that chain, however long it
// becomes, although the blocks after the bad one are good by themselves and their states can be had.
func TestInvalidForLong(t *testing.T) {
	const bad = 40
	importer, _, made := newBesideInvalidChain(t, 200, bad, nil)
	for at, block := range made {
		want := Valid
		if at >= bad-1 {
			want = Invalid
		}
		if status := payload(t, importer, block, 20*time.Second); status.Status != want {
			t.Fatalf("block %d: %s", at+1, status.Status)
		}
		status, err := importer.Forkchoice(t.Context(), Forkchoice{Head: block.Hash()})
		if err != nil || status.Status != want {
			t.Fatalf("head %d: %v, %v", at+1, status, err)
		}
	}
}

// TestInvalidUnseen: nor does it when a block of that chain comes that it has not seen, as a head that it fetches by itself or
// after a gap whose headers show its ancestors.
func TestInvalidUnseen(t *testing.T) {
	const bad = 40
	importer, good, made := newBesideInvalidChain(t, 200, bad, nil)
	for at, block := range made[:100] {
		want := Valid
		if at >= bad-1 {
			want = Invalid
		}
		if status := payload(t, importer, block, 20*time.Second); status.Status != want {
			t.Fatalf("block %d: %s", at+1, status.Status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	status, err := importer.Forkchoice(ctx, Forkchoice{Head: made[100].Hash()})
	if err != nil || status.Status != Invalid || status.LatestValid == nil || *status.LatestValid != made[bad-2].Hash() {
		t.Errorf("an unknown head: %+v, %v", status, err)
	}
	for _, block := range good[:150] {
		if status := payload(t, importer, block, 20*time.Second); status.Status != Valid {
			t.Fatalf("good block %d: %s", block.NumberU64(), status.Status)
		}
	}
	for _, at := range []int{125, 150} { // the second one shows if all between is remembered
		status = payload(t, importer, made[at], 20*time.Second)
		if status.Status != Invalid || status.LatestValid == nil || *status.LatestValid != made[bad-2].Hash() {
			t.Errorf("block %d after a gap: %+v", at+1, status)
		}
	}
}

// TestInvalidAtTheEdge: nor when the headers that show the ancestors of a block end just above the bad block, because the lag allows no more.
func TestInvalidAtTheEdge(t *testing.T) {
	const bad = 40
	importer, good, made := newBesideInvalidChain(t, 80, bad, nil)
	for _, block := range append(good[:bad+5:bad+5], made[bad-1]) {
		want := Valid
		if block == made[bad-1] {
			want = Invalid
		}
		if status := payload(t, importer, block, 20*time.Second); status.Status != want {
			t.Fatalf("block %d: %s", block.NumberU64(), status.Status)
		}
	}
	status := payload(t, importer, made[bad+DefaultMaxLag], 20*time.Second) // all headers but that of the bad block are fetched
	if status.Status != Invalid || status.LatestValid == nil || *status.LatestValid != made[bad-2].Hash() {
		t.Errorf("a block %d blocks above the bad one: %+v", DefaultMaxLag+1, status)
	}
}

// halting is an executor that waits before it executes one block.
type halting struct {
	Executor
	at   common.Hash
	halt chan struct{} // taken from twice: when it is there, and when it may go on
}

func (h halting) Execute(ctx context.Context, job evm.Job) *evm.Result {
	if job.Block.Hash() == h.at {
		h.halt <- struct{}{}
		h.halt <- struct{}{}
	}
	return h.Executor.Execute(ctx, job)
}

// TestInvalidMeanwhile: a block whose parent is called bad while it is beamed on is not called good after that.
func TestInvalidMeanwhile(t *testing.T) {
	const bad = 40
	halt := make(chan struct{})
	importer, _, made := newBesideInvalidChain(t, 60, bad, func(cfg *Config, made []*types.Block) {
		cfg.Executor = halting{cfg.Executor, made[len(made)-1].Hash(), halt}
	})
	last := made[len(made)-1]
	answer := make(chan Outcome)
	go func() { answer <- payload(t, importer, last, 20*time.Second) }()
	<-halt
	for at, block := range made[:len(made)-1] {
		want := Valid
		if at >= bad-1 {
			want = Invalid
		}
		if status := payload(t, importer, block, 20*time.Second); status.Status != want {
			t.Fatalf("block %d: %s", at+1, status.Status)
		}
	}
	<-halt
	if status := <-answer; status.Status != Invalid || status.LatestValid == nil || *status.LatestValid != made[bad-2].Hash() {
		t.Errorf("the block on top of them: %+v", status)
	}
}

// reticent is a library that is requested until the caller cancels, as peers are.
type reticent struct{ *library }

func (r reticent) Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error) {
	if r.blocks[origin] == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return r.library.Headers(ctx, origin, amount)
}

// TestCatchUpDespiteOrphan: a full node that waits for the parent of a block, which no peer has, catches up with other blocks
// meanwhile, and cancels that one when it is too far behind.
func TestCatchUpDespiteOrphan(t *testing.T) {
	genesis, made := missedChain(40, 0)
	importer, _ := newLocalImporter(t, genesis, true, func(cfg *Config) { cfg.Blocks = reticent{newLibrary(made)} })
	header := made[2].Header()
	header.ParentHash = common.Hash{0xaa}
	orphan := types.NewBlockWithHeader(header).WithBody(*made[2].Body())
	if status := payload(t, importer, orphan, 100*time.Millisecond); status.Status != Syncing {
		t.Fatalf("orphan: %+v", status)
	}
	for _, number := range []int{20, 40} {
		if status := payload(t, importer, made[number-1], 5*time.Second); status.Status != Valid {
			t.Fatalf("block %d: %+v, pending: %+v", number, status, importer.Status().Pending)
		}
	}
	for began := time.Now(); len(importer.Status().Pending) > 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatalf("still pending: %+v", importer.Status().Pending)
		}
	}
}

// TestStateLostOnce: a block that lacks state when the node is beaming again already does not make it beam once more
// after the next switch to full.
func TestStateLostOnce(t *testing.T) {
	genesis, made := missedChain(2, 0)
	importer, _ := newLocalImporter(t, genesis, true)
	chosen := newImportJob(made[1])
	importer.mu.Lock()
	importer.mu.choice.Head = chosen.block.Hash()
	importer.mu.Unlock()
	importer.checkStateLost(chosen, errNoState)
	select {
	case <-importer.StateLost():
	default:
		t.Fatal("StateLost did not receive")
	}
	importer.SwitchToBeaming()
	importer.checkStateLost(chosen, errNoState)
	select {
	case <-importer.StateLost():
		t.Error("StateLost received while beaming")
	default:
	}
}
