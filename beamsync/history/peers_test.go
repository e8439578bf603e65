// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
)

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
		"type":       {change(func(r *types.Receipt) { r.Type = types.LegacyTxType }), true},
		"one less":   {func(l []types.Receipts) []types.Receipts { l[0] = l[0][1:]; return l }, true},
		"too many":   {func(l []types.Receipts) []types.Receipts { return append(l, l[0]) }, true},
		"bloom only": {change(func(r *types.Receipt) { r.Bloom[0] = 1 }), false}, // not on the wire: computed here
		"shuffled":   {func(l []types.Receipts) []types.Receipts { slices.Reverse(l); return l }, false},
		"holes":      {func(l []types.Receipts) []types.Receipts { return l[len(l)/2:] }, false},
		"nothing":    {func([]types.Receipts) []types.Receipts { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			inPast(t, 200, everything, func(r *pastRig) {
				bad := newOldPeer("bad")
				bad.falsify, bad.Rtt = test.falsify, 2*beamtest.RTT // the fastest would not be asked
				r.Join(bad)
				r.Join(newOldPeer("honest"))
				r.await(0)
				r.whole(0)
				if got := r.Blames.All(); slices.Contains(got, "bad:invalid") != test.blame || slices.Contains(got, "honest:invalid") {
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
// that one is left alone once the other one has shown that it serves.
func TestHistorySparesTheFastest(t *testing.T) {
	inPast(t, pastLength, everything, func(r *pastRig) {
		fast, slow := newOldPeer("fast"), newOldPeer("slow")
		fast.Rtt, slow.Rtt = beamtest.RTT/10, 2*beamtest.RTT
		r.Join(fast)
		r.Join(slow)
		time.Sleep(2*beamtest.RTT + beamtest.RTT/2) // the slow peer's first answer is there
		before, shown := fast.requests(), slow.requests()
		r.await(0)
		if asked := fast.requests(); asked != before || slow.requests() == shown {
			t.Errorf("%d requests to the fastest peer, %d to the other after that had shown that it serves", asked-before, slow.requests()-shown)
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

func (p *thinPeer) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error) {
	select {
	case <-time.After(time.Duration(len(headers)) * time.Second):
		return p.oldPeer.Bodies(ctx, headers)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
