// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/stategen"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// shaped makes a state of the shape of a generated one. The keys are other ones.
func shaped(spec stategen.Spec, salt byte) *testState {
	s := &testState{tries: make(map[common.Hash]*leafTrie), codes: make(map[common.Hash][]byte), nodes: make(map[string][]byte)}
	leaves := make(map[common.Hash][]byte)
	for i := range spec.Accounts + spec.Contracts {
		key := numbered(uint64(i), 100+salt)
		account := types.StateAccount{Balance: uint256.NewInt(1e15), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
		if i < spec.Contracts {
			if n := spec.SlotsOf(i); n > 0 {
				account.Root = s.add(key, slotsOf(int(n))).root
			}
		}
		leaves[key], _ = rlp.EncodeToBytes(&account)
	}
	s.root = s.add(common.Hash{}, leaves).root
	return s
}

// TestTrueForecast collects states of the shapes of our measurements, in virtual time. The share does not fall and ends at 1. The time that
// is left is known to 15 % once a tenth is there, and the largest contract, if it has most of the state, is found. Which large contracts are
// to come nobody can know before: where there are a few of them, the bound is wider.
func TestTrueForecast(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]struct {
		spec  stategen.Spec
		from  float64 // share of the work from which on the bound holds
		slots uint64  // and so many slots
		off   float64 // the largest error of the time that is left, in parts of the whole time
	}{
		"accounts only":          {stategen.Spec{Accounts: 100_000}, 0.1, 0, 0.15},
		"a few large contracts":  {stategen.Spec{Accounts: 40_000, Contracts: 100, Slots: 80_000}, 0.2, 0, 0.35},
		"one contract with most": {stategen.Spec{Accounts: 20_000, Contracts: 50, Slots: 100_000, Largest: 90_000}, 0.1, 15_000, 0.15},
	} {
		for salt := range byte(3) {
			if testing.Short() && salt > 0 {
				break
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				state := shaped(shape.spec, salt)
				synctest.Test(t, func(t *testing.T) {
					for _, o := range observe(t, state) {
						if o.truth >= shape.from && o.Slots >= shape.slots && math.Abs(o.off) > shape.off {
							t.Errorf("after %v of %v, with %.3f: share %.3f, %v to go (%v to %v)", o.at, o.total, o.truth, o.Share, o.ETA, o.ETALow, o.ETAHigh)
						}
					}
				})
			})
		}
	}
}

// observation is what the backfill says at a time, and how it turned out.
type observation struct {
	Progress
	at, total  time.Duration
	truth, off float64 // share of the work; error of the time that is left, in parts of the whole time
}

// observe collects a state, and looks every second.
func observe(t *testing.T, state *testState) (seen []observation) {
	t.Helper()
	n := newSwarmNet(t, 500_000, state).start("n", state)
	began := time.Now()
	for over := false; !over; {
		select {
		case <-n.Done():
			over = true
		case <-time.After(time.Second):
			seen = append(seen, observation{Progress: n.Progress(), at: time.Since(began)})
		}
	}
	total := time.Since(began)
	n.stop()
	end := n.Progress()
	if end.Share != 1 || end.Remaining != 0 || end.ETA != 0 {
		t.Errorf("at the end: %+v", end)
	}
	last := 0.0
	for i := range seen {
		o := &seen[i]
		if o.Share < last || o.Share > 1 {
			t.Errorf("the share went from %v to %v", last, o.Share)
		}
		last, o.total = o.Share, total
		o.truth = float64(o.Accounts*accountWork+o.Slots*slotWork) / float64(end.Accounts*accountWork+end.Slots*slotWork)
		o.off = (o.at + o.ETA - total).Seconds() / total.Seconds()
	}
	return seen
}

// TestForecastGoesOn: the share of an earlier process stays, grows with all that comes, and ends at 1, whatever the estimates are.
func TestForecastGoesOn(t *testing.T) {
	t.Parallel()
	f := newMeter(0.6).forecast
	share := 0.6
	for i := range 100 {
		seen := float64(i+1) / 100
		e := trie.Extent{Accounts: trie.Tract{Leaves: 10_000 * seen * 0.4, Seen: seen * 0.4, Kept: seen * 0.6}}
		if i > 50 { // a large contract comes as a surprise
			e.Tries, e.Sized, e.Size, e.Open, e.Slots = 1, 1, 1e6, 1e6*(1-seen), 1e6*seen
		}
		o := f.update(e)
		if o.share < share || o.share > 1 || o.low > o.rest || o.high < o.rest {
			t.Fatalf("at %v: %+v after a share of %v", seen, o, share)
		}
		share = o.share
	}
	if share < 1-1e-9 {
		t.Errorf("ends at %v", share)
	}
	again := newMeter(1).forecast
	if o := again.update(trie.Extent{Accounts: trie.Tract{Leaves: 1000, Seen: 0.01, Kept: 0.5}}); o.share < 0.5 || o.share > 0.6 {
		t.Errorf("on a datadir that does not say how much it has: %v", o.share)
	}
}
