package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

// collecting is what beam_status says of the way to a full node.
type collecting struct {
	Phase    string `json:"phase"`
	Backfill struct {
		Share float64 `json:"share"`
		Bytes uint64  `json:"bytes"`
	} `json:"backfill"`
}

// watch follows a node's way to a full one until ctx ends or the node is gone. It returns the last
// thing that was said, and what is not true about any of it.
func watch(ctx context.Context, n *demo.Node) (last collecting, err error) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return last, err
		case <-n.Exited():
			return last, err
		case <-again.C:
		}
		var now collecting
		if n.RPC.CallContext(ctx, &now, "beam_status") != nil {
			continue // it is about to end
		}
		if now.Phase == full {
			now.Backfill = last.Backfill // nothing is collected any more
		}
		switch {
		case now.Backfill.Share < 0 || now.Backfill.Share > 1:
			err = fmt.Errorf("%v of the state is there", now.Backfill.Share)
		case now.Backfill.Bytes < last.Backfill.Bytes:
			err = fmt.Errorf("%d bytes received, then %d", last.Backfill.Bytes, now.Backfill.Bytes)
		case last.Phase == full && now.Phase != full:
			err = fmt.Errorf("phase %s, then %s", last.Phase, now.Phase)
		}
		last = now
	}
}

const full = "full" // phase

// Killed at random moments on its way to a full node and beyond, again and again: while it collects, invalidates,
// hands over, deletes what it does not need any more, and when it is full. Each start goes on where
// the last one ended, no answer is wrong, and what comes of it is complete, for go-ethereum as well.
func TestKillUntilFull(t *testing.T) {
	const slot = 2 * time.Second
	w := newWorld(t)
	f := new(feed)
	chain := mockcl.Chain{Builder: w.Builder, Slot: slot, Transactions: transactions(w, 2_000_000), Built: f.publish}
	background(t, "the chain", chain.Run)

	// Undisturbed first: how long it takes, and what it receives.
	calm := newJourney(t, w, f, slot)
	if !calm.live(0, func(c collecting) bool { return c.Phase == full }) {
		t.Fatal("an undisturbed node does not become a full one")
	}
	calm.finish()
	way := calm.lasted
	t.Logf("undisturbed: full after %v, %d bytes received", way.Round(time.Millisecond), calm.bytes)

	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	kills := size(8, 100)
	for done := 0; done < kills; {
		j := newJourney(t, w, f, slot)
		few := 1 + random.IntN(10) // lives on the way: some journeys are cut to pieces, some are not
		for fulls := 0; fulls < 3 && done < kills; done++ {
			if j.live(time.Duration(random.Int64N(int64(way))*2/int64(few)+1), nil) {
				fulls++
			}
		}
		j.live(0, func(c collecting) bool { return c.Phase == full })
		j.finish()
		t.Logf("%d lives: %d bytes received, %d undisturbed", j.lives, j.bytes, calm.bytes)
	}
}

// journey is one datadir's way from nothing to a full node, through any number of processes.
type journey struct {
	t     *testing.T
	world *demo.World
	feed  *feed
	slot  time.Duration
	dir   string

	lives  int
	bytes  uint64        // received by the backfills of all processes
	lasted time.Duration // the last life
	known  mockcl.Record // the newest head that was VALID
	full   bool          // has been said by a process
}

func newJourney(t *testing.T, w *demo.World, f *feed, slot time.Duration) *journey {
	return &journey{t: t, world: w, feed: f, slot: slot, dir: filepath.Join(t.TempDir(), "sunbeam")}
}

// live starts the node, and kills it after a while, or, if enough is given, stops it in order when that is
// true. It returns whether the node was a full one.
func (j *journey) live(moment time.Duration, enough func(collecting) bool) bool {
	t := j.t
	t.Helper()
	n := start(t, j.world, j.dir, "--history.chain", "all")
	j.lives++
	if had := head(t, n.RPC); had < j.known.Number || canonical(t, n.RPC, had) != canonical(t, j.world.Geth.RPC(), had) {
		t.Fatalf("life %d begins with block %d as its head; block %d was VALID", j.lives, had, j.known.Number)
	}
	l := j.feed.attach(t.Context(), n, j.slot)
	ctx, cancel := context.WithCancel(t.Context())
	var last collecting
	var lie error
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		last, lie = watch(ctx, n)
	}()
	if enough == nil {
		select {
		case <-time.After(moment):
		case <-n.Exited():
			t.Fatalf("the node ended by itself: %v", n.Wait())
		}
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	} else {
		awaitCollecting(t, n, soonFull, enough)
		compare(t, j.world, n, head(t, n.RPC), 20)
	}
	j.lasted = time.Since(n.Started)
	cancel()
	<-watched
	l.end()
	if enough != nil {
		stop(t, n)
	}
	if lie != nil {
		t.Fatalf("life %d: %v", j.lives, lie)
	}
	for _, r := range l.records {
		if r.Status == engine.INVALID {
			t.Fatalf("life %d: %+v", j.lives, r)
		}
	}
	if r := l.head(); r.Number > j.known.Number {
		j.known = r
	}
	if j.full && last.Phase != "" && last.Phase != full {
		t.Fatalf("life %d is %s again", j.lives, last.Phase)
	}
	j.full = j.full || last.Phase == full
	j.bytes += last.Backfill.Bytes
	return j.full
}

const soonFull = 3 * time.Minute

// awaitCollecting polls beam_status until it is as wanted.
func awaitCollecting(t *testing.T, n *demo.Node, limit time.Duration, wanted func(collecting) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var c collecting
		if err := n.RPC.CallContext(ctx, &c, "beam_status"); err == nil && wanted(c) {
			return
		}
		select {
		case <-again.C:
		case <-n.Exited():
			t.Fatalf("the node ended by itself: %v", n.Wait())
		case <-ctx.Done():
			t.Fatalf("not as wanted within %v: %+v", limit, c)
		}
	}
}

// finish checks that the datadir has one complete state and nothing beside it, and removes it.
func (j *journey) finish() {
	j.t.Helper()
	j.t.Log("on disk:", completeState(j.t, j.dir))
	if err := os.RemoveAll(j.dir); err != nil {
		j.t.Error(err)
	}
}
