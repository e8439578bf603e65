// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

// killAt is a moment to kill at: when the node has come so far, and then a random time of up to within.
type killAt struct {
	name   string
	come   func(s demo.Status) bool
	within time.Duration
}

// The moments in turn: anywhere; while the last parts are written and the node switches to full mode; while Hot is deleted
// and the first blocks are executed on full state.
func killMoments() []killAt {
	share := func(least float64) func(demo.Status) bool {
		return func(s demo.Status) bool { return s.Phase == "full" || s.Backfill != nil && s.Backfill.Share >= least }
	}
	return []killAt{
		{"anywhere", func(demo.Status) bool { return true }, 3 * time.Second},
		{"half of the state", share(0.5), time.Second},
		{"most of the state", share(0.9), 500 * time.Millisecond},
		{"switch", share(1), 100 * time.Millisecond},
		{"full", func(s demo.Status) bool { return s.Phase == "full" }, 200 * time.Millisecond},
	}
}

// Killed at any moment on its way to a full node, and when it is one, the node goes on where it was. In the end
// every trie node that the state has is on disk, and no other.
func TestKillBackfill(t *testing.T) {
	t.Parallel() // it waits for the rate limit mostly
	slot := size(500*time.Millisecond, 2*time.Second)
	w := newNetwork(t)
	f := new(feed)
	chain := mockcl.Chain{Builder: w.Builder, Slot: slot, Transactions: transactions(w, 1_000_000), Built: f.publish}
	background(t, "the chain", chain.Run)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for kills, round := 0, 0; kills < size(4, 40); round++ {
		kills += killRound(t, w, f, random, slot, round)
	}
}

// killRound takes one datadir from nothing to a full node that was killed some more times, and looks at what is there.
func killRound(t *testing.T, w *demo.Network, f *feed, random *rand.Rand, slot time.Duration, round int) (kills int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("sunbeam%d", round))
	rate := fmt.Sprint(size(300, 5000) + random.IntN(size(700, 15_000))) // kB/s: so that it takes some seconds
	var received uint64
	var known mockcl.Record // the newest head that was VALID
	begin := func() (*demo.Node, *life) {
		n := start(t, w, dir, "--history.chain", "10", "--beam.backfill.rate", rate)
		if had := head(t, n.RPC); had < known.Number || canonical(t, n.RPC, had) != canonical(t, w.Geth.RPC(), had) {
			t.Fatalf("round %d, after %d kills: the head is block %d, but block %d was VALID", round, kills, had, known.Number)
		}
		return n, f.attach(t.Context(), n, slot)
	}
	until := func(n *demo.Node, come func(demo.Status) bool) (s demo.Status) {
		began := time.Now()
		for {
			if got, err := n.Status(t.Context()); err == nil {
				if untrue := untrue(s, got); untrue != "" {
					t.Fatalf("round %d, after %d kills: %s", round, kills, untrue)
				}
				if s = got; come(s) {
					return s
				}
			}
			if time.Since(began) > size(2*time.Minute, 5*time.Minute) {
				t.Fatalf("round %d, after %d kills: %+v %+v\n%s", round, kills, s, s.Backfill, n.LogTail())
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	judge := func(l *life) {
		l.end()
		for _, r := range l.records {
			if r.Status == engine.INVALID {
				t.Fatalf("round %d, after %d kills: %+v", round, kills, r)
			}
		}
		if r := l.head(); r.Number > known.Number {
			known = r
		}
	}
	for wasFull := 0; wasFull < 2; kills++ {
		n, l := begin()
		moment := killMoments()[random.IntN(len(killMoments()))]
		if kills == 0 {
			moment = killMoments()[0]
		}
		s := until(n, moment.come)
		time.Sleep(time.Duration(random.Int64N(int64(moment.within))))
		if last, err := n.Status(t.Context()); err == nil {
			s = last
		}
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		judge(l)
		if s.Phase == "full" {
			wasFull++
		}
		share := 1.0
		if s.Backfill != nil {
			share = s.Backfill.Share
			received += s.Backfill.Bytes
		}
		t.Logf("round %d, kill %d at %q: %s, share %.3f, head %d", round, kills, moment.name, s.Phase, share, s.Head)
	}
	n, l := begin()
	until(n, func(s demo.Status) bool { return s.Phase == "full" })
	<-l.first
	l.end()
	head := l.head().Number
	compare(t, w, n, head, 30)
	stop(t, n)
	t.Logf("round %d: %d kills, %d kB received by the backfill: %v", round, kills, received/1000, completeState(t, dir))
	return kills
}

// untrue says what cannot be in two statuses of one process, one after the other.
func untrue(before, after demo.Status) string {
	switch then, now := before.Backfill, after.Backfill; {
	case before.Phase == "full" && after.Phase != "full":
		return "a full node is " + after.Phase
	case now != nil && (now.Share < 0 || now.Share > 1):
		return fmt.Sprintf("%v of the state is there", now.Share)
	case then != nil && now != nil && now.Bytes < then.Bytes:
		return fmt.Sprintf("%d bytes were received, then %d", then.Bytes, now.Bytes)
	}
	return ""
}
