package backfill

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// walk is one walk of the backfill. Everything but the requests is on Run's goroutine.
type walk struct {
	b       *Backfill
	target  Target
	meter   *meter
	walker  *trie.Walker
	writer  trie.CompleteWriter
	bucket  *bucket
	results chan *rangeResult
	wires   sync.WaitGroup
	sharing sharing

	unproved []*rangeResult // replies that nobody has verified, the first one first
	proving  int            // replies that are being verified
	yielding time.Time      // since when more important things are in work; zero: they are not
	yielded  time.Time      // when they were last
	byNodes  time.Time      // until when no ranges are asked for, because nobody serves them
	alone    time.Time      // since when there is no peer that may serve ranges; zero: there is one
	lookups  int            // calls of StateSource in flight
	moved    time.Time      // when something came last, or the first lookup in flight was made
	waiting  string         // why nothing was asked for, last time
	wake     *time.Timer
}

// walk completes a target, or ends without an error when the target is outdated or ctx ends.
func (b *Backfill) walk(ctx context.Context, target Target, meter *meter) (complete bool, err error) {
	meter.begin()
	w := &walk{
		b: b, target: target, meter: meter, writer: b.cfg.Writer(), bucket: newBucket(b.cfg.Rate),
		results: make(chan *rangeResult, 2*maxRanges+maxLookupCalls+2*maxShared), sharing: sharing{taken: make(map[trie.Part]bool)},
	}
	w.walker = trie.NewWalker(trie.WalkerConfig{
		Root: target.Root, Seed: target.Seed, Complete: b.cfg.Complete, Writer: w.writer, Local: b.cfg.Local,
	})
	b.log.Info("Collecting the state", "root", target.Root, "number", target.Number, "seed", target.Seed, "walk", meter.walks)
	ctx, cancel := context.WithCancel(ctx)
	err = w.run(ctx)
	cancel()
	w.wires.Wait()
	for len(w.results) > 0 {
		w.unproved = append(w.unproved, <-w.results)
	}
	for _, r := range w.unproved {
		switch {
		case r.data:
			b.data.release(r.peer)
		case r.peer != nil:
			b.peers.release(r.peer)
		case r.fellow != nil:
			b.swarm.release(r.fellow)
		}
	}
	meter.end(w.walker.Progress())
	if err != nil {
		return false, err
	}
	return w.walker.Done(), w.writer.Flush()
}

func (w *walk) run(ctx context.Context) error {
	w.wake = time.NewTimer(0)
	defer w.wake.Stop()
	tick := time.NewTicker(backfillTick)
	defer tick.Stop()
	w.publish()
	if !w.meet(ctx) {
		return nil
	}
	w.choose()
	w.divide()
	for !w.walker.Done() {
		w.prove()
		more, err := w.dispatch(ctx)
		if err != nil {
			return err
		}
		if !w.yields(time.Now()) {
			w.askFellows(ctx)
		}
		if more { // there is local work: look at the rest without waiting
			w.wake.Reset(0)
		}
		select {
		case <-ctx.Done():
			w.publish()
			return nil
		case r := <-w.results:
			err = w.take(ctx, r)
		case <-w.b.peers.change:
			w.choose()
		case <-w.b.data.change:
			w.choose()
		case <-w.b.swarm.change:
			w.divide()
		case <-w.wake.C:
		case now := <-tick.C:
			if w.alone.IsZero() && now.After(w.byNodes) {
				w.walker.ByNodes(w.onlyData()) // try again
			}
			w.publish()
			if err = w.writer.Flush(); err == nil && w.outdated() {
				return nil
			}
			if err == nil {
				w.share()
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

func (b *Backfill) blame(peer string, reason peer.Blame, detail string) {
	if b.cfg.Blamer != nil {
		b.cfg.Blamer.Blame(peer, reason, detail)
	}
}

// outdated says whether to begin anew: in time with the specification, or because no
// peer has this state any longer.
func (w *walk) outdated() bool {
	recent, ok := w.b.cfg.Recent()
	if !ok || recent.Root == w.target.Root {
		return false
	}
	all, empty, _ := w.b.peers.census(w.target.Root)
	unanswered := w.lookups > 0 && w.walker.Progress().InFlight == w.lookups && time.Since(w.moved) > rangeRetry
	var reason string
	switch {
	case outdated(w.target, recent):
		reason = "a new scan begins"
	case !w.b.cfg.Stands(w.target):
		reason = "its block is canonical no more"
	case all > 0 && empty == all, unanswered:
		reason = "no peer has the state"
	default:
		return false
	}
	w.b.log.Info("Walking anew", "reason", reason, "share", w.walker.Progress().Share, "number", w.target.Number, "newest", recent.Number)
	return true
}

// publish shows the progress, in the log every few seconds.
func (w *walk) publish() {
	done, waiting := w.walker.Progress(), w.waiting
	if waiting == "" && done.InFlight == 0 && len(w.walker.Parked()) > 0 {
		waiting = "for what fellows collect"
	}
	p := w.meter.progress(w.target, done, waiting)
	w.b.publish(p)
	if now := time.Now(); now.Sub(w.meter.reported) >= backfillReport {
		w.meter.reported = now
		w.b.log.Info("Collecting the state", "share", fmt.Sprintf("%.2f%%", 100*p.Share), "accounts", p.Accounts, "slots", p.Slots,
			"codes", p.Codes, "bytes", p.Bytes, "bytes_per_second", uint64(p.Rate), "eta", p.ETA, "inflight", p.Inflight, "waiting", p.Waiting)
	}
}
