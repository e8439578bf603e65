// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// downward is a part of a chain as history comes: newest first.
func downward(blocks []*types.Block, receipts []types.Receipts) ([]*types.Block, []types.Receipts) {
	b, r := slices.Clone(blocks), slices.Clone(receipts)
	slices.Reverse(b)
	slices.Reverse(r)
	return b, r
}

func addHistory(t *testing.T, c *chain.Chain, blocks []*types.Block, receipts []types.Receipts) {
	t.Helper()
	if err := c.AddHistory(downward(blocks, receipts)); err != nil {
		t.Fatal(err)
	}
	check(t, c)
}

func bounds(t *testing.T, c *chain.Chain, tail, oldest uint64) {
	t.Helper()
	if c.Tail() != tail || c.Oldest() != oldest {
		t.Fatalf("tail %d, oldest %d, want %d and %d", c.Tail(), c.Oldest(), tail, oldest)
	}
}

// TestHistory beams in at 10 and collects what is below, with a restart between.
func TestHistory(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	commit(t, c, w.main[9:], w.mainR[9:])
	setHead(t, c, w.main[11])
	bounds(t, c, 10, 10)

	// Nothing is kept that does not join: without headers, above, with a hole, of another branch.
	if err := c.AddHeaders(headersOf(w.main[5:9])); err != nil {
		t.Fatal(err)
	}
	bounds(t, c, 6, 10)
	for name, part := range map[string][]*types.Block{
		"hole":           {w.main[7]},
		"stored already": {w.main[9]},
		"below tail":     {w.main[8], w.main[7], w.main[6], w.main[5], w.main[4]},
		"hole inside":    {w.main[8], w.main[6]},
		"other branch":   {w.side[0]},
	} {
		if err := c.AddHistory(part, make([]types.Receipts, len(part))); err == nil {
			t.Errorf("%s: kept", name)
		} else if name == "hole" && !errors.Is(err, chain.ErrDetached) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.AddHistory(w.main[8:9], []types.Receipts{w.mainR[8][:1]}); err == nil {
		t.Error("a block with too few receipts was kept")
	}
	if err := c.AddHistory(nil, nil); err != nil {
		t.Fatal(err)
	}
	bounds(t, c, 6, 10)

	addHistory(t, c, w.main[7:9], w.mainR[7:9])
	bounds(t, c, 6, 8)
	c = load(t, d, w.genesis)
	check(t, c)
	bounds(t, c, 6, 8)
	for i := 7; i < 12; i++ {
		same(t, c, w.main[i], w.mainR[i])
	}
	if c.Status(w.main[7].Hash()) != chain.Known {
		t.Error("a block that was only collected counts as executed")
	}
	if err := c.AddHeaders(headersOf(w.main[:5])); err != nil {
		t.Fatal(err)
	}
	bounds(t, c, 0, 8)
	addHistory(t, c, w.main[:7], w.mainR[:7])
	bounds(t, c, 0, 0) // genesis is stored
}

// TestHistoryJoins: a pivot opens a gap; filled from above, oldest jumps to where it was.
func TestHistoryJoins(t *testing.T) {
	w := newTwoBranches()
	for _, test := range []struct {
		name    string
		headers bool // the pivot knows the headers in the gap
	}{{"unconnected", false}, {"connected", true}} {
		t.Run(test.name, func(t *testing.T) {
			c, d := open(t, w.genesis)
			commit(t, c, w.main[3:5], w.mainR[3:5])
			setHead(t, c, w.main[4]) // 4, 5
			if err := c.AddHeaders(headersOf(w.main[1:3])); err != nil {
				t.Fatal(err)
			}
			addHistory(t, c, w.main[2:3], w.mainR[2:3])
			bounds(t, c, 2, 3)
			if test.headers {
				if err := c.AddHeaders(headersOf(w.main[5:11])); err != nil {
					t.Fatal(err)
				}
			}
			commit(t, c, w.main[11:], w.mainR[11:])
			setHead(t, c, w.main[11])
			if test.headers {
				bounds(t, c, 2, 12)
			} else {
				bounds(t, c, 12, 12)
			}
			c = load(t, d, w.genesis)
			check(t, c)
			if !test.headers {
				if err := c.AddHeaders(headersOf(w.main[8:11])); err != nil {
					t.Fatal(err)
				}
				bounds(t, c, 9, 12)
				if err := c.AddHeaders(headersOf(w.main[5:8])); err != nil { // 5 is the parent of 6
					t.Fatal(err)
				}
			}
			bounds(t, c, 2, 12)
			addHistory(t, c, w.main[6:11], w.mainR[6:11])
			bounds(t, c, 2, 7)
			addHistory(t, c, w.main[5:6], w.mainR[5:6])
			bounds(t, c, 2, 3)
			for i := 2; i < 12; i++ {
				same(t, c, w.main[i], w.mainR[i])
			}
		})
	}
}

// TestHistoryOfOtherBranch: what a pivot left behind turns out to be a branch in part. Only
// what is below the fork is taken over.
func TestHistoryOfOtherBranch(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	commit(t, c, w.main[5:8], w.mainR[5:8])
	commit(t, c, w.side[:2], w.sideR[:2])
	setHead(t, c, w.side[1]) // 6 7 8 9' 10'
	bounds(t, c, 6, 6)
	commit(t, c, w.main[11:], w.mainR[11:])
	setHead(t, c, w.main[11])
	bounds(t, c, 12, 12)
	if err := c.AddHeaders(headersOf(w.main[8:11])); err != nil {
		t.Fatal(err)
	}
	check(t, c)
	bounds(t, c, 6, 12)
	addHistory(t, c, w.main[9:11], w.mainR[9:11])
	bounds(t, c, 6, 10)
	c = load(t, d, w.genesis)
	addHistory(t, c, w.main[8:9], w.mainR[8:9])
	bounds(t, c, 6, 6)
	if c.CanonicalHash(9) != w.main[8].Hash() {
		t.Error("the branch is canonical")
	}
}

// TestHistoryAtRandom drives a chain through random pivots, reorgs, headers, history and
// restarts. Whatever happens, what it claims is there, and in the end all of it is.
func TestHistoryAtRandom(t *testing.T) {
	n, genesis := newNetwork(testchain.Config())
	main, mainR := n.extend(genesis, 60, 1)
	side, sideR := n.extend(main[29], 30, 2)
	branches := []branch{{main, mainR}, {slices.Concat(main[:30], side), slices.Concat(mainR[:30], sideR)}}
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		c, d := open(t, n.genesis)
		at := 0 // number of the head
		b := branches[0]
		for range 25 {
			switch rnd.IntN(8) {
			case 0: // a pivot, to whatever branch
				b, at = branches[rnd.IntN(2)], min(at+1+rnd.IntN(12), 60)
				b.head(t, c, at)
			case 1, 2: // the next block
				at = min(at+1, 60)
				b.head(t, c, at)
			case 3: // a reorg, to a block that was executed or not
				b = branches[rnd.IntN(2)]
				b.head(t, c, max(at, 1))
			case 4:
				c = load(t, d, n.genesis)
			default:
				b.history(t, c, 1+rnd.IntN(10))
			}
			if err := c.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for range 200 {
			b.history(t, c, 10)
		}
		if err := c.Check(); err != nil || c.Oldest() != 0 {
			t.Fatalf("seed %d: oldest %d, %v", seed, c.Oldest(), err)
		}
	}
}

// branch is a chain from block 1 on.
type branch struct {
	blocks   []*types.Block
	receipts []types.Receipts
}

func (b branch) head(t *testing.T, c *chain.Chain, number int) {
	t.Helper()
	commit(t, c, b.blocks[number-1:number], b.receipts[number-1:number])
	if _, err := c.SetHead(b.blocks[number-1].Hash()); err != nil {
		t.Fatal(err)
	}
}

// history does what a collector of history does once: headers, or blocks of stored headers.
func (b branch) history(t *testing.T, c *chain.Chain, most int) {
	t.Helper()
	oldest, tail := int(c.Oldest()), int(c.Tail())
	var err error
	if tail > 0 {
		err = c.AddHeaders(headersOf(b.blocks[max(0, tail-1-most) : tail-1]))
	}
	if low := max(int(c.Tail()), oldest-most, 1); err == nil && low < oldest && int(c.Oldest()) == oldest {
		err = c.AddHistory(downward(b.blocks[low-1:oldest-1], b.receipts[low-1:oldest-1]))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkAddHistory is the cost of keeping 64 small blocks.
func BenchmarkAddHistory(b *testing.B) {
	n, genesis := newNetwork(testchain.Config())
	blocks, receipts := n.extend(genesis, 65, 1)
	past, pastR := downward(blocks[:64], receipts[:64])
	for range b.N {
		b.StopTimer()
		c := historyBase(b, n.genesis, blocks, receipts)
		b.StartTimer()
		if err := c.AddHistory(past, pastR); err != nil {
			b.Fatal(err)
		}
	}
}

func historyBase(b *testing.B, genesis *core.Genesis, blocks []*types.Block, receipts []types.Receipts) *chain.Chain {
	b.Helper()
	d, err := db.OpenMemory(db.Options{})
	if err != nil {
		b.Fatal(err)
	}
	c, err := chain.New(d.Chain(), genesis)
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(c.Commit(blocks[64], receipts[64]), c.AddHeaders(headersOf(blocks[:64]))); err != nil {
		b.Fatal(err)
	}
	if _, err := c.SetHead(blocks[64].Hash()); err != nil || c.CanonicalHash(1) == (common.Hash{}) {
		b.Fatal(err)
	}
	return c
}

// TestForget prunes the main chain and a side branch, is interrupted, and leaves headers and what is above. A pivot's segment below
// loses its blocks too.
func TestForget(t *testing.T) {
	w := newTwoBranches()
	c, d := open(t, w.genesis)
	commit(t, c, w.main[:6], w.mainR[:6])
	commit(t, c, w.side[:2], w.sideR[:2])
	setHead(t, c, w.main[5]) // 6
	commit(t, c, w.main[9:], w.mainR[9:])
	setHead(t, c, w.main[11]) // 12, past a gap: 0 to 6 are detached
	bounds(t, c, 10, 10)
	for _, bad := range []uint64{9, 13} {
		if err := c.Forget(bad); err == nil {
			t.Errorf("blocks below %d were forgotten", bad)
		}
	}
	if err := c.Forget(11); err != nil {
		t.Fatal(err)
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Chain().DeleteBlocks(interrupted, 11, func(string, uint64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if err := d.Chain().DeleteBlocks(t.Context(), 11, func(string, uint64) {}); err != nil {
		t.Fatal(err)
	}
	c = load(t, d, w.genesis)
	bounds(t, c, 10, 11)
	check(t, c)
	for _, block := range slices.Concat(w.main[:6], w.side[:2], w.main[9:10]) {
		if c.Block(block.Hash()) != nil || c.Receipts(block.Hash()) != nil || c.Status(block.Hash()) != chain.Unknown || c.Header(block.Hash()) == nil {
			t.Errorf("block %d of %x: status %v", block.NumberU64(), block.Coinbase(), c.Status(block.Hash()))
		}
		for _, tx := range block.Transactions() {
			if found, _, _, _ := c.Transaction(tx.Hash()); found != nil {
				t.Errorf("transaction of block %d is still there", block.NumberU64())
			}
		}
	}
	if c.Block(w.genesis.ToBlock().Hash()) == nil {
		t.Error("genesis is gone")
	}
	// History comes back as it came before: over the headers, the segment's too.
	if err := c.AddHeaders(headersOf(w.main[5:9])); err != nil {
		t.Fatal(err)
	}
	addHistory(t, c, w.main[8:10], w.mainR[8:10])
	bounds(t, c, 0, 9)
}
