// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"sync"
	"time"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	tickInterval  = time.Second
	flushInterval = 5 * time.Second       // after which what is complete is written, however little it is; with swarm peers, which want it, each second
	busyPoll      = 20 * time.Millisecond // how soon to check again whether a block is being executed
	maxYield      = 5 * time.Second       // after which the backfill stops yielding although more important work goes on
	burstTime     = time.Second           // how long it does not yield then
)

// walk is one walk of the backfill. Everything but the requests is on Run's goroutine.
type walk struct {
	b         *Backfill
	target    Target
	meter     *meter
	walker    *trie.Walker
	writer    trie.CompleteWriter
	bucket    *bucket
	responses chan *response
	requests  sync.WaitGroup // and verifications
	sharing   sharing
	tasks     []*task               // whose needs have not returned to the walker, but for lookups
	newest    map[*rangePeers]*task // the newest one for each kind of full peers, over or not

	unverified    []*response // received, the first one first
	verifying     int         // responses that are being verified
	busySince     time.Time   // since when more important work goes on; zero: it does not
	lastBusy      time.Time   // when it did last
	byNodesUntil  time.Time   // no ranges are requested before, because no peer serves them
	unservedSince time.Time   // since when there is no range peer and the walk goes node by node; zero: that is not so
	lookups       int         // calls of StateSource in flight
	lastProgress  time.Time   // when something was received last, or the first lookup in flight was made
	flushed       time.Time   // when everything was written last
	waiting       string      // why nothing was requested, last time
	wake          alarm
}

// walk completes a target, or ends without an error when the target is outdated or ctx ends.
func (b *Backfill) walk(ctx context.Context, target Target, meter *meter, codes *trie.CodeSet) (complete bool, err error) {
	meter.begin()
	w := &walk{
		b: b, target: target, meter: meter, writer: b.cfg.Writer(), bucket: newBucket(b.cfg.Rate),
		responses: make(chan *response, maxRanges), newest: make(map[*rangePeers]*task), sharing: sharing{endgame: make(map[trie.Part]bool)},
	}
	w.walker = trie.NewWalker(trie.WalkerConfig{
		Root: target.Root, Seed: target.Seed, Complete: b.cfg.Complete, Writer: w.writer, Local: b.cfg.Local, Codes: codes,
	})
	b.log.Info("State backfill started", "root", target.Root, "number", target.Number, "seed", target.Seed, "walk", meter.walks)
	ctx, cancel := context.WithCancel(ctx)
	err = w.run(ctx)
	cancel()
	w.drop()
	meter.end(w.walker)
	if err != nil {
		return false, err
	}
	return w.walker.Done(), w.writer.Flush()
}

// drop awaits the requests in flight and drops all responses that were not handled.
func (w *walk) drop() {
	done := make(chan struct{})
	go func() { // ends below
		w.requests.Wait()
		close(done)
	}()
	for waiting := true; waiting || len(w.responses) > 0; {
		select {
		case r := <-w.responses:
			w.unverified = append(w.unverified, r)
		case <-done:
			waiting, done = false, nil
		}
	}
	for _, r := range w.unverified {
		switch {
		case r.byHash:
			w.b.data.release(r.peer)
		case r.peer != nil:
			w.b.peers.release(r.peer)
		case r.swarmPeer != nil:
			w.b.swarm.release(r.swarmPeer)
		}
	}
}

func (w *walk) run(ctx context.Context) error {
	w.wake.Timer = time.NewTimer(0)
	defer w.wake.Stop()
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	w.publish()
	if !w.rendezvous(ctx) {
		return nil
	}
	w.onPeersChanged()
	w.divide()
	for !w.walker.Done() {
		w.verify()
		more, err := w.dispatch(ctx)
		if err != nil {
			return err
		}
		w.askSwarm(ctx)
		w.askStrangers(ctx)
		if w.takeOver(time.Now()) || more { // local work: look at the channels without waiting
			w.wakeAt(time.Now())
		}
		select {
		case <-ctx.Done():
			w.publish()
			return nil
		case r := <-w.responses:
			err = w.handle(ctx, r)
		case <-w.b.peers.change:
			w.onPeersChanged()
		case <-w.b.data.change:
			w.onPeersChanged()
		case <-w.b.swarm.change:
			w.divide()
		case <-w.wake.C:
		case now := <-tick.C:
			var over bool
			if over, err = w.tick(now); over {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	w.waiting = ""
	w.publish()
	return nil
}

// tick does what is due every second. over says that the target is outdated.
func (w *walk) tick(now time.Time) (over bool, err error) {
	if w.unservedSince.IsZero() && now.After(w.byNodesUntil) {
		w.walker.ByNodes(w.onlyNodeData()) // try ranges again
	}
	w.publish()
	if now.Sub(w.flushed) >= flushInterval || !w.b.swarm.empty() {
		w.flushed = now
		if err = w.writer.Flush(); err != nil {
			return false, err
		}
		w.announce() // what is written
	}
	if w.outdated() {
		return true, nil
	}
	w.tickSwarm()
	return false, nil
}
