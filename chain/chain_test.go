// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

var _ forkid.Blockchain = (*chain.Chain)(nil)

// TestEngines runs one story on every engine, with a restart after every step.
func TestEngines(t *testing.T) {
	w := newTwoBranches()
	for _, engine := range []string{"memory", db.LevelDB, db.Pebble} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			var d *db.DB
			restart := func() *chain.Chain {
				var err error
				if engine == "memory" {
					if d == nil {
						d, err = db.OpenMemory(db.Options{})
					}
				} else {
					if d != nil {
						if err := d.Close(); err != nil {
							t.Fatal(err)
						}
					}
					d, err = db.Open(dir, db.Options{Engine: engine})
				}
				if err != nil {
					t.Fatal(err)
				}
				c := load(t, d, w.genesis)
				check(t, c)
				return c
			}
			defer func() { d.Close() }()

			c := restart()
			if c.CurrentHeader().Hash() != c.Genesis().Hash() || c.Status(c.Genesis().Hash()) != chain.Executed {
				t.Fatal("a fresh chain does not stand on its executed genesis block")
			}
			commit(t, c, w.main, w.mainR)
			c = restart()
			setHead(t, c, w.main[11])
			if err := c.SetMarkers(w.main[9].Hash(), w.main[5].Hash()); err != nil {
				t.Fatal(err)
			}
			c = restart()
			if c.CurrentHeader().Hash() != w.main[11].Hash() || c.Safe().Hash() != w.main[9].Hash() || c.Finalized().Hash() != w.main[5].Hash() {
				t.Fatal("markers did not survive a restart")
			}
			commit(t, c, w.side, w.sideR)
			c = restart()
			if reorg := setHead(t, c, w.side[5]); reorg.Depth() != 4 || len(reorg.New) != 6 || reorg.Ancestor.Hash() != w.main[7].Hash() {
				t.Fatalf("reorg: depth %d, %d new, ancestor %v", reorg.Depth(), len(reorg.New), reorg.Ancestor)
			}
			c = restart()
			setHead(t, c, w.main[11])
			c = restart()
			for i, block := range w.main {
				same(t, c, block, w.mainR[i])
			}
		})
	}
}

// same compares all that the chain says about a canonical block with the original.
func same(t *testing.T, c *chain.Chain, want *types.Block, receipts types.Receipts) {
	t.Helper()
	number := want.NumberU64()
	for _, have := range []*types.Block{c.Block(want.Hash()), c.BlockByNumber(number)} {
		haveRLP, _ := rlp.EncodeToBytes(have)
		wantRLP, _ := rlp.EncodeToBytes(want)
		if !slices.Equal(haveRLP, wantRLP) {
			t.Fatalf("block %d came back changed", number)
		}
	}
	if c.Header(want.Hash()).Hash() != want.Hash() || c.HeaderByNumber(number).Hash() != want.Hash() {
		t.Fatalf("header %d came back changed", number)
	}
	have, _ := json.Marshal(c.Receipts(want.Hash()))
	expected, _ := json.Marshal(receipts)
	if string(have) != string(expected) {
		t.Fatalf("receipts of %d:\n%s\nwant\n%s", number, have, expected)
	}
	for i, tx := range want.Transactions() {
		found, block, at, index := c.Transaction(tx.Hash())
		if found.Hash() != tx.Hash() || block != want.Hash() || at != number || index != uint64(i) {
			t.Fatalf("transaction %d of block %d: found in %x, %d, %d", i, number, block, at, index)
		}
	}
}

// TestBeamStart begins in the middle, with ancestors that are known by header only.
func TestBeamStart(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	if err := c.AddHeaders(headersOf(w.main[4:9])); err != nil { // 5..9
		t.Fatal(err)
	}
	if c.Status(w.main[8].Hash()) != chain.Unknown || c.Tail() != 0 || c.HeaderByNumber(9) != nil {
		t.Fatal("headers alone changed the canonical chain")
	}
	commit(t, c, w.main[9:10], w.mainR[9:10]) // 10
	reorg := setHead(t, c, w.main[9])
	if reorg.Ancestor != nil || len(reorg.New) != 6 || reorg.Depth() != 0 {
		t.Fatalf("reorg over a gap: ancestor %v, %d new, depth %d", reorg.Ancestor, len(reorg.New), reorg.Depth())
	}
	bounds := func(c *chain.Chain, tail, oldest uint64) {
		t.Helper()
		check(t, c)
		if c.Tail() != tail || c.Oldest() != oldest {
			t.Fatalf("tail %d, oldest %d, want %d and %d", c.Tail(), c.Oldest(), tail, oldest)
		}
	}
	bounds(c, 5, 10)
	if c.HeaderByNumber(5) == nil || c.HeaderByNumber(4) != nil || c.BlockByNumber(9) != nil || c.HeaderByNumber(0) == nil {
		t.Fatal("index around the gap is wrong")
	}
	// The header of the finalized block is not stored: the marker is accepted, and shown once it is.
	if err := c.SetMarkers(common.Hash{}, w.main[2].Hash()); err != nil || c.Finalized() != nil {
		t.Fatalf("finalized %v, %v", c.Finalized(), err)
	}
	commit(t, c, w.main[10:11], w.mainR[10:11])
	setHead(t, c, w.main[10])
	bounds(c, 5, 10)

	c = load(t, d, w.genesis)
	bounds(c, 5, 10)
	down := headersOf(w.main[2:4])
	slices.Reverse(down) // as peers answer
	if err := c.AddHeaders(down); err != nil {
		t.Fatal(err)
	}
	bounds(c, 3, 10)
	if c.Finalized() == nil {
		t.Fatal("finalized header arrived and is not shown")
	}
	c = load(t, d, w.genesis)
	if err := c.AddHeaders(headersOf(w.main[0:2])); err != nil {
		t.Fatal(err)
	}
	bounds(c, 0, 10) // the gap is closed
}

// TestPivot skips blocks: one known with its body, one by header only.
func TestPivot(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main[:4], w.mainR[:4])
	setHead(t, c, w.main[3])
	if c.Oldest() != 0 {
		t.Fatalf("oldest %d", c.Oldest())
	}
	if err := c.AddHeaders(headersOf(w.main[4:8])); err != nil {
		t.Fatal(err)
	}
	if err := c.AddBlock(w.main[8]); err != nil {
		t.Fatal(err)
	}
	commit(t, c, w.main[9:], w.mainR[9:])
	if reorg := setHead(t, c, w.main[11]); reorg.Ancestor.Hash() != w.main[3].Hash() || len(reorg.New) != 8 {
		t.Fatalf("reorg: %+v", reorg)
	}
	if c.Tail() != 0 || c.Oldest() != 10 {
		t.Fatalf("tail %d, oldest %d, want 0 and 10", c.Tail(), c.Oldest())
	}
	// A pivot without the headers between: the old chain is not proved to be ours any more.
	c, _ = open(t, w.genesis)
	commit(t, c, w.side[:1], w.sideR[:1]) // 9'
	setHead(t, c, w.side[0])
	commit(t, c, w.main[10:], w.mainR[10:])
	if reorg := setHead(t, c, w.main[11]); reorg.Ancestor != nil || c.Tail() != 11 {
		t.Fatalf("reorg: %+v, tail %d", reorg, c.Tail())
	}
	if c.CanonicalHash(9) != (common.Hash{}) {
		t.Fatal("a block of the other branch is canonical below the gap")
	}
	if err := c.AddHeaders(headersOf(w.main)); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	if c.Tail() != 0 || c.CanonicalHash(9) != w.main[8].Hash() {
		t.Fatalf("tail %d after all headers came", c.Tail())
	}
}

// TestHeadBelowSegments: a head that is below what a pivot left behind leaves nothing of that in the index above it.
func TestHeadBelowSegments(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	for _, at := range [][2]int{{3, 6}, {9, 10}, {1, 2}} { // each one with a gap to the others
		commit(t, c, w.main[at[0]:at[1]], w.mainR[at[0]:at[1]])
		setHead(t, c, w.main[at[1]-1])
	}
	for number := uint64(3); number <= 12; number++ {
		if hash := d.Chain().CanonicalHash(number); hash != (common.Hash{}) {
			t.Errorf("block %d is indexed above the head", number)
		}
	}
	check(t, load(t, d, w.genesis))
}

func TestAddHeadersChecks(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	headers := headersOf(w.main)

	bad := types.CopyHeader(headers[5])
	bad.GasLimit *= 2
	if err := c.AddHeaders([]*types.Header{headers[4], bad}); err == nil {
		t.Fatal("a doubled gas limit passed")
	}
	if err := c.AddHeaders([]*types.Header{headers[3], headers[5]}); err == nil {
		t.Fatal("headers that are not linked passed")
	}
	foreign := types.CopyHeader(headers[0])
	foreign.ParentHash = common.Hash{1}
	if err := c.AddHeaders([]*types.Header{foreign}); !errors.Is(err, chain.ErrForeign) {
		t.Fatalf("block 1 of another network: %v", err)
	}
	if err := c.AddHeaders([]*types.Header{{}}); err == nil {
		t.Fatal("an empty header passed")
	}
	if c.Header(headers[4].Hash()) != nil {
		t.Fatal("part of a bad run was kept")
	}
	if err := c.AddHeaders(nil); err != nil {
		t.Fatal(err)
	}
}

// TestBelowFinalized: ancestors of the finalized block, also while it is on another branch than the head.
func TestGenesisMismatch(t *testing.T) {
	w := newTwoBranches()
	_, d := open(t, w.genesis)
	other := *w.genesis
	other.Timestamp++
	_, err := chain.New(d.Chain(), &other)
	var mismatch *chain.GenesisMismatchError
	if !errors.As(err, &mismatch) || mismatch.Stored != w.genesis.ToBlock().Hash() || mismatch.New != other.ToBlock().Hash() {
		t.Fatalf("another genesis block: %v", err)
	}
	if _, err := chain.New(d.Chain(), nil); err == nil {
		t.Fatal("no genesis passed")
	}
}

func TestConfigUpgrade(t *testing.T) {
	config := testchain.Config()
	n, genesis := newNetwork(config)
	d, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, d, n.genesis)
	blocks, receipts := n.extend(genesis, 2, 1)
	commit(t, c, blocks, receipts)
	setHead(t, c, blocks[1])

	schedule := func(amsterdam uint64) error {
		upgraded, changed := *n.genesis, *config
		changed.AmsterdamTime = &amsterdam
		upgraded.Config = &changed
		_, err := chain.New(d.Chain(), &upgraded)
		return err
	}
	if err := schedule(blocks[1].Time() + 100); err != nil {
		t.Fatalf("a fork in the future: %v", err)
	}
	if stored := d.Chain().Config(genesis.Hash()); stored.AmsterdamTime == nil {
		t.Fatal("the new configuration was not stored")
	}
	var compat *params.ConfigCompatError
	if err := schedule(blocks[0].Time()); !errors.As(err, &compat) {
		t.Fatalf("a fork in the past: %v", err)
	}
}

func TestAccessListIsKept(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	list := &bal.BlockAccessList{}
	header := types.CopyHeader(w.main[0].Header())
	hash := list.Hash()
	header.BlockAccessListHash = &hash
	header.SlotNumber = new(uint64)
	block := types.NewBlockWithHeader(header).WithBody(*w.main[0].Body()).WithAccessList(list)
	if err := c.AddBlock(block); err != nil {
		t.Fatal(err)
	}
	c = load(t, d, w.genesis)
	if got := c.Block(block.Hash()); got.AccessList() == nil || got.AccessList().Hash() != hash {
		t.Fatal("access list is not attached")
	}
	if want, _ := rlp.EncodeToBytes(list); !slices.Equal(c.AccessList(block.Hash()), want) {
		t.Fatalf("access list %x", c.AccessList(block.Hash()))
	}
	if c.AccessList(w.main[0].Hash()) != nil || c.AccessList(common.Hash{1}) != nil {
		t.Fatal("an access list from nowhere")
	}
}

func TestUnknownIsNil(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	hash := common.Hash{1}
	if tx, _, _, _ := c.Transaction(hash); tx != nil {
		t.Error("transaction")
	}
	if c.Header(hash) != nil || c.Header(common.Hash{}) != nil || c.Block(hash) != nil || c.Receipts(hash) != nil {
		t.Error("block")
	}
	if c.HeaderByNumber(1) != nil || c.BlockByNumber(1<<63) != nil || c.CanonicalHash(1) != (common.Hash{}) {
		t.Error("number")
	}
	if c.Status(hash) != chain.Unknown || c.Safe() != nil || c.Finalized() != nil {
		t.Error("status")
	}
	if list := c.Receipts(c.Genesis().Hash()); list == nil || len(list) != 0 {
		t.Errorf("genesis receipts: %v", list)
	}
}

// TestConcurrentUse is for the race detector: readers while the head goes back and forth.
func TestConcurrentUse(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	commit(t, c, w.main, w.mainR)
	commit(t, c, w.side, w.sideR)
	events := make(chan chain.HeadEvent, 128)
	defer c.SubscribeHead(events).Unsubscribe()
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				head := c.CurrentHeader()
				if c.Header(head.Hash()) == nil || c.Block(head.Hash()) == nil || c.Receipts(head.Hash()) == nil {
					t.Error("head is not there")
					return
				}
				c.HeaderByNumber(10)
				c.Transaction(w.side[0].Transactions()[0].Hash())
				if _, err := c.Rejection(w.side[5].Hash()); err != nil {
					t.Error(err)
				}
				c.Safe()
			}
		})
	}
	for range 20 {
		setHead(t, c, w.side[5])
		setHead(t, c, w.main[11])
	}
	close(done)
	readers.Wait()
	if len(events) != 40 {
		t.Fatalf("%d events, want 40", len(events))
	}
}
