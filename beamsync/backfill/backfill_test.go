// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestBackfillYields(t *testing.T) {
	t.Parallel()
	state := newLeafState(20_000, 0)
	synctest.Test(t, func(t *testing.T) {
		peer := &rangeServer{id: "a", states: []*leafState{state}, delay: 50 * time.Millisecond}
		r := newRig(t, state.root, 0, peer.states, peer)
		r.busy.Store(true)
		time.Sleep(100 * time.Millisecond) // the first request may have left before
		before := peer.asked.Load()
		time.Sleep(maxYield - 200*time.Millisecond)
		if peer.asked.Load() != before {
			t.Error("requests while a block is being executed")
		}
		if p := r.Progress(); !strings.Contains(p.Waiting, "block") {
			t.Errorf("waits %q", p.Waiting)
		}
		time.Sleep(burstTime + time.Second)
		if peer.asked.Load() == before {
			t.Error("nothing was requested although the node is always busy")
		}
		r.busy.Store(false)
		took := r.within(t, time.Minute, state)
		if took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestBackfillRate(t *testing.T) {
	t.Parallel()
	state := newLeafState(30_000, 0) // about 3.2 MB
	synctest.Test(t, func(t *testing.T) {
		peer := &rangeServer{id: "a", states: []*leafState{state}, delay: 10 * time.Millisecond}
		r := newRig(t, state.root, 200_000, peer.states, peer)
		took := r.within(t, time.Minute, state)
		p := r.Progress()
		if rate := float64(p.Bytes) / took.Seconds(); rate > 250_000 || rate < 120_000 {
			t.Errorf("%.0f bytes per second, %d in %v", rate, p.Bytes, took)
		}
		if p.Share != 1 || p.Accounts != 30_000 || p.Nodes != uint64(len(state.nodes)) {
			t.Errorf("%+v", p)
		}
		if n := testutil.ToFloat64(r.metrics.accounts); n != 30_000 {
			t.Errorf("%v accounts counted", n)
		}
	})
}

// TestBackfillPeers: no peer, a peer with another state only, one that never answers, one that serves.
func TestBackfillPeers(t *testing.T) {
	t.Parallel()
	state, other := newLeafState(5000, 0), newLeafState(5000, 1)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, state.root, 0, nil)
		time.Sleep(5 * time.Second)
		if p := r.Progress(); p.Waiting != "for peers" {
			t.Errorf("without peers: %+v", p)
		}
		r.Join(&rangeServer{id: "other", states: []*leafState{other}})
		r.Join(&rangeServer{id: "dead", dead: true})
		time.Sleep(time.Minute)
		if r.blames.Load() == 0 {
			t.Error("the peer that never answers was not blamed")
		}
		r.Leave("dead")
		r.Join(&rangeServer{id: "good", states: []*leafState{state}, delay: 50 * time.Millisecond})
		r.within(t, time.Minute, state)
	})
}

// TestBackfillFollows: when no peer has the state any longer, the walk restarts with the head's.
func TestBackfillFollows(t *testing.T) {
	t.Parallel()
	old, recent := newLeafState(5000, 0), newLeafState(5000, 1)
	synctest.Test(t, func(t *testing.T) {
		peer := &rangeServer{id: "a", states: []*leafState{recent}, delay: 50 * time.Millisecond}
		r := newRig(t, old.root, 0, []*leafState{recent}, peer)
		time.Sleep(3 * time.Second)
		r.target.Store(&Target{Root: recent.root, Number: 206, Seed: common.Hash{0x77}})
		r.within(t, time.Minute, recent)
		if p := r.Progress(); p.Restarts != 1 || p.Number != 206 {
			t.Errorf("%+v", p)
		}
	})
}

// TestBackfillLosesRoot: during a walk the state leaves the peers' window, because the chain
// advances or because of a reorg across a seed block. The walk restarts with the head's state,
// and no node of the old one is left.
func TestBackfillLosesRoot(t *testing.T) {
	t.Parallel()
	old, recent := newLeafState(60_000, 0), newLeafState(60_000, 0)
	for i := 0; i < len(recent.keys); i += 1000 { // changed here and there
		account := types.StateAccount{Nonce: 7, Balance: uint256.NewInt(1), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
		recent.values[i], _ = rlp.EncodeToBytes(&account)
	}
	recent.build()
	for what, number := range map[string]uint64{"the chain advances": 290, "a reorg across a seed block": 198} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				peer := &rangeServer{id: "a", states: []*leafState{old, recent}, delay: 100 * time.Millisecond, leaves: 5}
				r := newRig(t, old.root, 0, peer.states, peer)
				time.Sleep(500 * time.Millisecond)
				r.target.Store(&Target{Root: recent.root, Number: number, Seed: common.Hash{0x31}})
				r.within(t, time.Minute, recent)
				p := r.Progress()
				if p.Restarts != 1 || p.Number != number || p.Share != 1 {
					t.Errorf("%+v", p)
				}
				// Complete subtrees that are the same in both states are not fetched again.
				if p.Accounts > 61_000 {
					t.Errorf("%d accounts of 60,000", p.Accounts)
				}
			})
		})
	}
}

func TestOutdated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to uint64
		want     bool
	}{
		{104, 105, true}, {105, 204, false}, {105, 205, true}, {3, 4, false}, {4, 5, true}, {100, 99, false}, {205, 205, false}, {206, 317, true},
	} {
		if got := outdated(Target{Root: common.Hash{1}, Number: c.from}, Target{Root: common.Hash{2}, Number: c.to}); got != c.want {
			t.Errorf("from %d to %d: %v", c.from, c.to, got)
		}
	}
	if outdated(Target{Root: common.Hash{1}, Number: 1}, Target{Root: common.Hash{1}, Number: 500}) {
		t.Error("the same state is outdated")
	}
}
