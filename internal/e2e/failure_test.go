// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

// feed brings the blocks of a chain to whichever node is there, as a consensus client does
// that outlives its execution client.
type feed struct {
	mu       sync.Mutex
	newest   *mockcl.Payload
	follower *mockcl.Follower // nil while no node is there
}

func (f *feed) publish(p *mockcl.Payload) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = p
	if f.follower != nil {
		f.follower.Publish(p)
	}
}

// life is what one process said about blocks between its start and its death.
type life struct {
	first chan struct{} // closed when a block was VALID
	end   func()

	mu      sync.Mutex
	records []mockcl.Record
	valid   time.Time // of the first VALID
}

// attach brings the newest block and all later ones to a node, until the life's end.
func (f *feed) attach(ctx context.Context, n *demo.Node, slot time.Duration) *life {
	l := &life{first: make(chan struct{})}
	follower := mockcl.NewFollower(n.Engine, slot, l.report, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = follower.Run(ctx) }) // its error is that of ctx
	f.mu.Lock()
	defer f.mu.Unlock()
	f.follower = follower
	if f.newest != nil {
		follower.Publish(f.newest)
	}
	l.end = func() {
		f.mu.Lock()
		f.follower = nil
		f.mu.Unlock()
		cancel()
		running.Wait()
	}
	return l
}

func (l *life) report(r mockcl.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Status == engine.VALID && l.valid.IsZero() {
		l.valid = time.Now()
		close(l.first)
	}
	l.records = append(l.records, r)
}

// head is the newest block that the node called VALID and took as its head.
func (l *life) head() (newest mockcl.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Status == engine.VALID && r.Err == "" {
			newest = r
		}
	}
	return newest
}

// Killed at any moment, the node comes back, knows the head that it had, and answers VALID
// again within seconds.
func TestKill(t *testing.T) {
	slot := size(time.Second, 2*time.Second)
	w := newNetwork(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	f := new(feed)
	chain := mockcl.Chain{Builder: w.Builder, Slot: slot, Transactions: transactions(w, 4_000_000), Built: f.publish}
	background(t, "the chain", chain.Run)

	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var known mockcl.Record // the newest head that was VALID
	var back []time.Duration
	kills := size(3, 30)
	for kill := range kills + 1 {
		n := start(t, w, dir)
		had := head(t, n.RPC)
		if hash := canonical(t, n.RPC, had); had < known.Number || hash != canonical(t, w.Geth.RPC(), had) {
			t.Fatalf("after kill %d the head is block %d %x; block %d was VALID", kill, had, hash, known.Number)
		}
		if had > 0 {
			compare(t, w, n, had, 6)
		}
		l := f.attach(t.Context(), n, slot)
		moment := time.Duration(random.Int64N(int64(3 * slot)))
		early := kill%3 == 2 && kill < kills // so early that no block may have been VALID
		if !early {
			select {
			case <-l.first:
			case <-time.After(soon):
				t.Fatalf("nothing is VALID %v after start %d", soon, kill)
			}
			back = append(back, l.valid.Sub(n.Started))
		} else {
			moment /= 2
		}
		select {
		case <-time.After(moment):
		case <-n.Exited():
			t.Fatalf("the node ended by itself: %v", n.Wait())
		}
		if kill == kills {
			l.end()
			compare(t, w, n, l.head().Number, 30)
			stop(t, n)
		} else {
			if err := n.Kill(); err != nil {
				t.Fatal(err)
			}
			l.end()
		}
		for _, r := range l.records {
			if r.Status == engine.INVALID {
				t.Fatalf("after kill %d: %+v", kill, r)
			}
		}
		if r := l.head(); r.Number > known.Number {
			known = r
		}
		t.Logf("life %d: came back at %d, went to %d, ended %v after the start", kill, had, known.Number, time.Since(n.Started).Round(time.Millisecond))
	}
	slices.Sort(back)
	t.Logf("first VALID after a start: median %v, most %v", back[len(back)/2].Round(time.Millisecond), back[len(back)-1].Round(time.Millisecond))
}

// Told to stop while a block waits for state that does not come, the node ends in order.
func TestStopInMidFault(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			w := newNetwork(t)
			n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--beam.backfill=false") // a full node needs no peer
			mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)
			p := build(t, w.Builder, someTransactions(w))
			w.Proxy.Stall(true)
			called := make(chan struct{})
			go func() {
				defer close(called)
				_, _ = n.Engine.NewPayload(t.Context(), p) // cut off or SYNCING
			}()
			await(t, n, soon, "pending block", func(s status) bool { return len(s.Pending) > 0 && s.Pending[0].WaitingSeconds > 1 })
			began := time.Now()
			if err := n.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := n.Wait(); err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			t.Logf("ended in %v", took.Round(time.Millisecond))
			if took > 5*time.Second {
				t.Errorf("it took %v to end", took)
			}
			<-called
			w.Proxy.Stall(false)
		})
	}
}

// The only peer goes away and comes back: the node says SYNCING, waits, and goes on.
func TestPeerGoneForAWhile(t *testing.T) {
	t.Parallel() // with what keeps the processor busy: this one waits
	w := newNetwork(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--beam.backfill=false") // a full node needs no peer
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)

	// New connections hang from now on.
	w.Proxy.Stall(true)
	w.Proxy.Drop()
	gone := time.Now()
	await(t, n, soon, "loss of the peer", func(s status) bool { return s.Peers == 0 })
	p := build(t, w.Builder, someTransactions(w))
	for time.Since(gone) < 10*time.Second {
		began := time.Now()
		status, err := n.Engine.NewPayload(t.Context(), p)
		if err != nil || status.Status != engine.SYNCING {
			t.Fatalf("without a peer: %s %v", status.Status, err)
		}
		t.Logf("SYNCING after %v", time.Since(began).Round(time.Millisecond))
	}
	w.Proxy.Stall(false)
	w.Proxy.Drop() // what hung
	mustBring(t, n, p, time.Minute)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), soon)
	stop(t, n)
}
