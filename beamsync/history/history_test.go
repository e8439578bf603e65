// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
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
	logger, sender := common.HexToAddress("0x1061"), crypto.PubkeyToAddress(beamtest.TestKey.PublicKey)
	c := &oldChain{receipts: make(map[common.Hash]types.Receipts), genesis: &core.Genesis{
		Config: &config, GasLimit: 8_000_000, BaseFee: big.NewInt(params.InitialBaseFee), Difficulty: big.NewInt(131072),
		Alloc: types.GenesisAlloc{
			sender: {Balance: new(big.Int).Lsh(big.NewInt(1), 100)},
			logger: {Code: []byte{0x36, 0x60, 0, 0x60, 0, 0x37, 0x36, 0x60, 0, 0xa0}}, // LOG0 of the input
		},
	}}
	signer := types.LatestSigner(&config)
	_, blocks, receipts := core.GenerateChainWithGenesis(c.genesis, beacon.New(ethash.NewFaker()), pastLength, func(i int, gen *core.BlockGen) {
		if i+1 >= pastMerge {
			gen.SetPoS()
		}
		pay := func(to common.Address, data []byte) {
			gen.AddTx(types.MustSignNewTx(beamtest.TestKey, signer, &types.LegacyTx{
				Nonce: gen.TxNonce(sender), To: &to, Gas: 60_000, GasPrice: gen.BaseFee(), Data: data,
			}))
		}
		switch {
		case i%3 == 0:
		case i%5 == 0:
			pay(logger, []byte{byte(i), byte(i >> 8)})
			pay(logger, nil)
		default:
			pay(common.Address{1}, nil)
		}
	})
	c.blocks, c.FakeChain = blocks, beamtest.Serve(append([]*types.Block{c.genesis.ToBlock()}, blocks...), nil)
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

func (p *oldPeer) cut(hashes []common.Hash, count int) []common.Hash {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.most > 0 {
		hashes = hashes[:min(p.most, len(hashes))]
	}
	for _, hash := range hashes {
		number := oldBlocks().Headers(hash, 1)[0].Number.Uint64()
		p.lowest = min(p.lowest, number)
		p.counts[number] += count
	}
	return hashes
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

func (p *oldPeer) Bodies(ctx context.Context, hashes []common.Hash) ([]*types.Body, error) {
	return p.FakePeer.Bodies(ctx, p.cut(hashes, 1))
}

func (p *oldPeer) Receipts(ctx context.Context, hashes []common.Hash) ([]types.Receipts, error) {
	if err := p.Ask(ctx); err != nil {
		return nil, err
	}
	var lists []types.Receipts
	for _, hash := range p.cut(hashes, 0) {
		list := types.Receipts{}
		for _, r := range oldBlocks().receipts[hash] { // as on the wire
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

func TestHistoryToGenesis(t *testing.T) {
	inPast(t, pastLength, everything, func(r *pastRig) {
		a, b := newOldPeer("a"), newOldPeer("b")
		r.Join(a)
		r.Join(b)
		began := time.Now()
		r.await(0)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		r.whole(0)
		for _, block := range oldBlocks().blocks {
			want, have := oldBlocks().receipts[block.Hash()], r.chain.Receipts(block.Hash())
			if len(want) != len(have) {
				t.Fatalf("block %d: %d receipts, want %d", block.Number(), len(have), len(want))
			}
			for i := range want {
				if have[i].TxHash != block.Transactions()[i].Hash() || have[i].GasUsed != want[i].GasUsed || have[i].Bloom != want[i].Bloom || len(have[i].Logs) != len(want[i].Logs) {
					t.Fatalf("block %d receipt %d: %+v, want %+v", block.Number(), i, have[i], want[i])
				}
			}
		}
		time.Sleep(time.Hour) // silence, and no requests, from here on
		progress := r.history.Progress()
		if progress.Share != 1 || progress.Remaining != 0 || progress.Blocks != pastLength-1 || progress.WaitsFor != "" {
			t.Errorf("progress %+v", progress)
		}
		if n := strings.Count(r.log.String(), "\n"); n != 1 || !strings.Contains(r.log.String(), "complete") {
			t.Errorf("said:\n%s", r.log)
		}
		if got := r.Blames.All(); len(got) != 0 || a.requests()+b.requests() > 60 {
			t.Errorf("blames %v, requests %d", got, a.requests()+b.requests())
		}
	})
}

func TestHistoryCutoff(t *testing.T) {
	for _, test := range []struct {
		name   string
		cfg    Config
		oldest uint64
		share  float64
	}{
		{"number", Config{Blocks: 100}, pastLength - 99, 1},
		{"more than there are", Config{Blocks: 10_000}, 0, 1},
		{"postmerge", Config{Blocks: math.MaxUint64, PostMerge: true}, pastMerge, 1},
		{"postmerge, known", Config{Blocks: math.MaxUint64, PostMerge: true, Merge: pastMerge}, pastMerge, 1},
		{"one", Config{Blocks: 1}, pastLength, 1},
		{"none", Config{}, pastLength, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inPast(t, pastLength, test.cfg, func(r *pastRig) {
				p := newOldPeer("a")
				r.Join(p)
				r.await(test.oldest)
				time.Sleep(time.Minute)
				r.whole(test.oldest)
				if progress := r.history.Progress(); progress.Share != test.share || progress.Remaining != 0 {
					t.Errorf("progress %+v", progress)
				}
				if p.deepest() < test.oldest {
					t.Errorf("asked for block %d", p.deepest())
				}
				if test.cfg.Blocks <= 1 && p.requests() > 0 {
					t.Errorf("%d requests for nothing", p.requests())
				}
			})
		})
	}
}

func TestHistoryFromBadPeers(t *testing.T) {
	change := func(do func(r *types.Receipt)) func([]types.Receipts) []types.Receipts {
		return func(lists []types.Receipts) []types.Receipts {
			for _, list := range lists {
				if len(list) > 1 {
					do(list[0])
				}
			}
			return lists
		}
	}
	for name, test := range map[string]struct {
		falsify func([]types.Receipts) []types.Receipts
		blame   bool
	}{
		"status":     {change(func(r *types.Receipt) { r.Status = 0 }), true},
		"gas":        {change(func(r *types.Receipt) { r.CumulativeGasUsed++ }), true},
		"data":       {change(func(r *types.Receipt) { r.Logs[0].Data = []byte{1} }), true},
		"no logs":    {change(func(r *types.Receipt) { r.Logs = nil }), true},
		"type":       {change(func(r *types.Receipt) { r.Type = 2 }), true},
		"one less":   {func(l []types.Receipts) []types.Receipts { l[0] = l[0][1:]; return l }, true},
		"too many":   {func(l []types.Receipts) []types.Receipts { return append(l, l[0]) }, true},
		"bloom only": {change(func(r *types.Receipt) { r.Bloom[0] = 1 }), false}, // not on the wire: computed here
		"shuffled":   {func(l []types.Receipts) []types.Receipts { slices.Reverse(l); return l }, false},
		"holes":      {func(l []types.Receipts) []types.Receipts { return l[len(l)/2:] }, false},
		"nothing":    {func([]types.Receipts) []types.Receipts { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			inPast(t, 200, everything, func(r *pastRig) {
				liar := newOldPeer("liar")
				liar.falsify, liar.Rtt = test.falsify, 2*beamtest.RTT // the fastest would not be asked
				r.Join(liar)
				r.Join(newOldPeer("honest"))
				r.await(0)
				r.whole(0)
				if got := r.Blames.All(); slices.Contains(got, "liar:invalid") != test.blame || slices.Contains(got, "honest:invalid") {
					t.Errorf("blames %v", got)
				}
			})
		})
	}
}

// TestHistoryFromWhoHasIt: a peer that announces less is not asked for more, and a node
// without others waits, and says so.
func TestHistoryFromWhoHasIt(t *testing.T) {
	inPast(t, 500, everything, func(r *pastRig) {
		short := newOldPeer("short")
		short.earliest, short.most = 300, 7
		r.Join(short)
		time.Sleep(time.Minute)
		if oldest := r.chain.Oldest(); oldest < 300 || oldest > 300+maxBatch {
			t.Errorf("oldest %d", oldest) // a batch of which part is missing is not kept yet
		}
		if said := r.log.String(); strings.Count(said, "Collecting chain history") < 6 {
			t.Errorf("said:\n%s", said)
		}
		requests := short.requests()
		time.Sleep(time.Minute)
		if short.requests() > requests {
			t.Errorf("%d requests for what the peer does not have", short.requests()-requests)
		}
		all := newOldPeer("all")
		all.most = 7
		r.Join(all)
		r.await(0)
		r.whole(0)
		if short.deepest() < 300 {
			t.Errorf("block %d was asked for", short.deepest())
		}
	})
}

// TestHistoryYields: while a block waits, nothing is asked for.
func TestHistoryYields(t *testing.T) {
	inPast(t, pastLength, everything, func(r *pastRig) {
		p := newOldPeer("a")
		p.most = 3
		r.Join(p)
		time.Sleep(time.Second)
		r.slots.Store(0)
		time.Sleep(time.Second) // what is in flight lands
		oldest, asked := r.chain.Oldest(), p.requests()
		if oldest == pastLength || oldest == 0 {
			t.Fatalf("oldest %d", oldest)
		}
		time.Sleep(time.Minute)
		if r.chain.Oldest() != oldest || p.requests() != asked {
			t.Errorf("oldest went from %d to %d with %d requests", oldest, r.chain.Oldest(), p.requests()-asked)
		}
		if waits := r.history.Progress().WaitsFor; waits != "a block that needs the network" {
			t.Errorf("waits for %q", waits)
		}
		r.slots.Store(1)
		r.await(0)
		r.whole(0)
	})
}

// TestHistorySparesTheFastest: state that a block waits for comes from the fastest peer, so
// that one is left alone.
func TestHistorySparesTheFastest(t *testing.T) {
	inPast(t, pastLength, everything, func(r *pastRig) {
		fast, slow := newOldPeer("fast"), newOldPeer("slow")
		fast.Rtt, slow.Rtt = beamtest.RTT/10, 2*beamtest.RTT
		r.Join(fast)
		r.Join(slow)
		r.await(0)
		if len(fast.counts) > len(slow.counts)/3 {
			t.Errorf("%d blocks from the fastest, %d from the other", len(fast.counts), len(slow.counts))
		}
	})
}

// TestHistoryShrinksRequests: an answer that does not arrive in time is asked for in parts.
func TestHistoryShrinksRequests(t *testing.T) {
	inPast(t, pastLength, Config{Blocks: 200}, func(r *pastRig) {
		p := &thinPeer{newOldPeer("a")}
		r.Join(p)
		r.await(pastLength - 199)
		r.whole(pastLength - 199)
	})
}

// thinPeer takes a second for each body.
type thinPeer struct{ *oldPeer }

func (p *thinPeer) Bodies(ctx context.Context, hashes []common.Hash) ([]*types.Body, error) {
	select {
	case <-time.After(time.Duration(len(hashes)) * time.Second):
		return p.oldPeer.Bodies(ctx, hashes)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestHistoryAfterPivot: the gap of a pivot is filled, and what was held below it is joined,
// not fetched again.
func TestHistoryAfterPivot(t *testing.T) {
	inPast(t, 300, everything, func(r *pastRig) {
		p := newOldPeer("a")
		p.most = 5
		r.slots.Store(1)
		r.Join(p)
		for r.chain.Oldest() > 200 {
			time.Sleep(beamtest.RTT / 2)
		}
		before := r.chain.Oldest()
		r.head(500)
		if before < 100 || r.chain.Oldest() != 500 {
			t.Fatalf("no gap: oldest was %d, is %d", before, r.chain.Oldest())
		}
		r.await(before)
		r.whole(r.chain.Oldest())
		r.head(501)
		r.await(0)
		r.whole(0)
		again := 0
		for number, count := range p.counts {
			if number < 300 && count > 1 {
				again++
			}
		}
		if again > maxBatch { // what was in flight
			t.Errorf("%d blocks were fetched again", again)
		}
		if !strings.Contains(r.log.String(), "Older blocks became reachable") {
			t.Errorf("said:\n%s", r.log)
		}
	})
}

// TestHistoryRestarts ends at random moments and goes on, with pivots between. Nothing is
// claimed that is not there, and little is fetched twice.
func TestHistoryRestarts(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		inPast(t, 100, everything, func(r *pastRig) {
			p := newOldPeer("a")
			p.most = 1 + rnd.IntN(40)
			r.Join(p)
			for head := 100; head < pastLength; {
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
				r.stop()
				r.open()
				r.whole(r.chain.Oldest())
				if head = min(head+rnd.IntN(100), pastLength); head > int(r.chain.CurrentHeader().Number.Uint64()) {
					r.head(head)
				}
				r.start()
			}
			r.await(0)
			r.whole(0)
		})
	}
}

// failingStore refuses to keep history.
type failingStore struct{ chain.Store }

var errFull = errors.New("no space left on device")

func (s failingStore) Apply(u *chain.Update) error {
	if u.History != nil {
		return errFull
	}
	return s.Store.Apply(u)
}

func TestHistoryEndsWithTheDisk(t *testing.T) {
	synctestHistory(t, func(ctx context.Context, f *fetch.Fetcher) {
		store, err := db.OpenMemory(db.Options{})
		beamtest.Must(err)
		defer store.Close()
		c, err := chain.New(failingStore{store.Chain()}, oldBlocks().genesis)
		beamtest.Must(err)
		block := oldBlocks().at(50)
		beamtest.Must(c.Commit(block, oldBlocks().receipts[block.Hash()]))
		_, err = c.SetHead(block.Hash())
		beamtest.Must(err)
		f.Join(newOldPeer("a"))
		h := New(Config{
			Chain: c, OldChain: f, Blocks: 50, Slots: func() int { return 1 }, Log: slog.New(slog.DiscardHandler),
		})
		if err := h.Run(ctx); !errors.Is(err, errFull) {
			t.Errorf("Run: %v", err)
		}
		if c.Oldest() != 50 {
			t.Errorf("oldest %d", c.Oldest())
		}
	})
}

func synctestHistory(t *testing.T, test func(ctx context.Context, f *fetch.Fetcher)) {
	t.Helper()
	oldBlocks()
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		test(r.Ctx, r.Fetcher)
		synctest.Wait()
	})
}
