// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"context"
	"log/slog"
	"math"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

const (
	pastLength = 600
	pastMerge  = 40 // first proof-of-stake block
)

// oldChain is a chain with its receipts. Every third block is empty, every fifth has two
// transactions that log; the rest are transfers, whose receipts are all alike.
type oldChain struct {
	genesis  *core.Genesis
	blocks   []*types.Block // 1..pastLength
	receipts map[common.Hash]types.Receipts
	*beamtest.FakeChain
}

var oldBlocks = sync.OnceValue(func() *oldChain {
	config := *params.TestChainConfig
	config.TerminalTotalDifficulty = big.NewInt(1 << 20)
	logger := common.HexToAddress("0x1061")
	code := []byte{0x36, 0x60, 0, 0x60, 0, 0x37, 0x36, 0x60, 0, 0xa0} // LOG0 of the input
	genesis := testchain.Genesis(&config, testchain.Funded(1), types.GenesisAlloc{logger: {Code: code}})
	genesis.Difficulty = big.NewInt(131072)
	c := &oldChain{receipts: make(map[common.Hash]types.Receipts), genesis: genesis}
	built := testchain.New(genesis)
	blocks, receipts := built.Extend(built.Root(), pastLength, func(i int, b *testchain.Block) {
		if i+1 >= pastMerge {
			b.SetPoS()
		}
		switch {
		case i%3 == 0:
		case i%5 == 0:
			b.Call(logger, 0, []byte{byte(i), byte(i >> 8)})
			b.Call(logger, 0, nil)
		default:
			b.Call(common.Address{1}, 0, nil)
		}
	})
	c.blocks, c.FakeChain = blocks, beamtest.Serve(append([]*types.Block{built.Root()}, blocks...), nil)
	for i, block := range blocks {
		c.receipts[block.Hash()] = receipts[i]
	}
	return c
})

func (c *oldChain) at(number int) *types.Block { return c.blocks[number-1] }

// oldPeer is a peer that serves receipts, and says from which block on.
type oldPeer struct {
	*beamtest.FakePeer
	earliest uint64
	most     int // blocks in an answer; 0: no limit
	falsify  func([]types.Receipts) []types.Receipts

	lock   sync.Mutex
	lowest uint64         // lowest block asked for
	counts map[uint64]int // how often bodies were asked for
}

func newOldPeer(id string) *oldPeer {
	return &oldPeer{FakePeer: beamtest.ChainPeerOf(id, oldBlocks().FakeChain), lowest: math.MaxUint64, counts: make(map[uint64]int)}
}

func (p *oldPeer) Earliest() uint64 { return p.earliest }

func (p *oldPeer) cut(headers []*types.Header, count int) []*types.Header {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.most > 0 {
		headers = headers[:min(p.most, len(headers))]
	}
	for _, h := range headers {
		number := h.Number.Uint64()
		p.lowest = min(p.lowest, number)
		p.counts[number] += count
	}
	return headers
}

func (p *oldPeer) requests() int {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	return p.Asked
}

// deepest is the lowest block that was asked for.
func (p *oldPeer) deepest() uint64 {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.lowest
}

func (p *oldPeer) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error) {
	return p.FakePeer.Bodies(ctx, p.cut(headers, 1))
}

func (p *oldPeer) Receipts(ctx context.Context, headers []*types.Header) ([]types.Receipts, error) {
	if err := p.Ask(ctx); err != nil {
		return nil, err
	}
	var lists []types.Receipts
	for _, h := range p.cut(headers, 0) {
		list := types.Receipts{}
		for _, r := range oldBlocks().receipts[h.Hash()] { // as on the wire
			plain := &types.Receipt{Type: r.Type, Status: r.Status, CumulativeGasUsed: r.CumulativeGasUsed}
			for _, log := range r.Logs {
				plain.Logs = append(plain.Logs, &types.Log{Address: log.Address, Topics: log.Topics, Data: log.Data})
			}
			list = append(list, plain)
		}
		lists = append(lists, list)
	}
	if p.falsify != nil {
		lists = p.falsify(lists)
	}
	return lists, nil
}

// pastRig is a history over a fetcher and a chain that beamed in.
type pastRig struct {
	*beamtest.Rig
	chain   *chain.Chain
	store   *db.DB
	history *History
	slots   atomic.Int32
	log     *beamtest.Buffer
	cfg     Config
	stop    func() // ends the history
}

func inPast(t *testing.T, head int, cfg Config, test func(r *pastRig)) {
	t.Helper()
	oldBlocks()
	beamtest.InBubble(t, func(f *beamtest.Rig) {
		r := &pastRig{Rig: f, log: new(beamtest.Buffer)}
		r.T = t
		var err error
		r.store, err = db.OpenMemory(db.Options{})
		beamtest.Must(err)
		defer r.store.Close()
		r.slots.Store(Slots)
		cfg.OldChain, cfg.Log = f.Fetcher, slog.New(slog.NewTextHandler(r.log, nil))
		cfg.Slots = func() int { return int(r.slots.Load()) }
		r.cfg = cfg
		r.open()
		r.head(head)
		r.start()
		test(r)
		r.stop()
	})
}

// open makes the chain of what is stored, as a start of the node does.
func (r *pastRig) open() {
	c, err := chain.New(r.store.Chain(), oldBlocks().genesis)
	beamtest.Must(err)
	r.chain, r.cfg.Chain = c, c
}

func (r *pastRig) start() {
	r.history = New(r.cfg)
	ctx, cancel := context.WithCancel(r.Ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.history.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			r.T.Errorf("Run: %v", err)
		}
	}
}

// head executes a block and makes it the head.
func (r *pastRig) head(number int) {
	block := oldBlocks().at(number)
	if err := r.chain.Commit(block, oldBlocks().receipts[block.Hash()]); err != nil {
		r.T.Fatal(err)
	}
	if _, err := r.chain.SetHead(block.Hash()); err != nil {
		r.T.Fatal(err)
	}
}

// await waits until oldest is as low as that.
func (r *pastRig) await(oldest uint64) {
	r.T.Helper()
	for end := time.Now().Add(10 * time.Minute); r.chain.Oldest() > oldest; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.T.Fatalf("oldest is %d, want %d: %+v\n%s", r.chain.Oldest(), oldest, r.history.Progress(), r.log)
		}
	}
}

// whole checks what the chain claims to hold, and that it reaches down to oldest.
func (r *pastRig) whole(oldest uint64) {
	r.T.Helper()
	if err := r.chain.Check(); err != nil || r.chain.Oldest() != oldest {
		r.T.Errorf("oldest %d, want %d: %v", r.chain.Oldest(), oldest, err)
	}
}

var everything = Config{Blocks: math.MaxUint64}

func synctestHistory(t *testing.T, test func(ctx context.Context, f *fetch.Fetcher)) {
	t.Helper()
	oldBlocks()
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		test(r.Ctx, r.Fetcher)
		synctest.Wait()
	})
}
