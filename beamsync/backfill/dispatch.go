package backfill

import (
	"context"
	"time"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// yields says whether to leave network and processors to something more important, as far as it
// takes up peers' time: see rangePeer.aside. Where that never ends, every few seconds there is a turn for the backfill nevertheless: once the state is complete,
// blocks do not wait for the network any more.
func (w *walk) yields(now time.Time) bool {
	if !w.b.cfg.Busy() {
		w.yielding = time.Time{}
		return false
	}
	if w.yielding.IsZero() {
		w.yielding = now
	}
	w.yielded = now
	return now.Sub(w.yielding)%(maxYield+backfillTurn) < maxYield
}

// dispatch asks for what may be asked for now. more says that there is local work left.
func (w *walk) dispatch(ctx context.Context) (more bool, err error) {
	for {
		w.waiting = ""
		now := time.Now()
		yields := w.yields(now)
		peer, again := w.b.peers.free(now, yields)
		if yields && peer == nil {
			w.waiting = "for a block in work"
			w.wake.Reset(backfillPoll)
			return false, nil
		}
		if wait := w.bucket.wait(now); wait > 0 && peer != nil {
			w.waiting, peer, again = "for the rate limit", nil, now.Add(wait)
		}
		if !again.IsZero() {
			w.wake.Reset(max(again.Sub(now), time.Millisecond))
		}
		data, later := w.freeData(now)
		if !later.IsZero() && (again.IsZero() || later.Before(again)) {
			w.wake.Reset(max(later.Sub(now), time.Millisecond))
		}
		lookups := w.lookups < maxLookupCalls && (w.alone.IsZero() || now.Sub(w.alone) > rangeRetry)
		if w.onlyData() { // nodes go to these only, what else there is takes the long way
			lookups = w.lookups < maxLookupCalls && data != nil
		}
		lookups = lookups && !yields
		if peer == nil && !lookups && w.alone.IsZero() && w.sharing.division == nil {
			return false, nil
		}
		need, more, err := w.walker.Next(peer != nil, lookups)
		switch {
		case err != nil:
			return false, err
		case need == nil:
			return w.excuse(peer, now) || more, nil
		case need.Kind == trie.NeedNodes && data != nil:
			w.askData(ctx, data, need)
		case need.Kind == trie.NeedNodes || need.Kind == trie.NeedCodes:
			w.lookUp(ctx, need)
		default:
			w.ask(ctx, peer, need)
		}
	}
}

// excuse finds out why nothing is asked for although nothing is in flight. Without peers that serve
// ranges, it goes node by node, and says so once: that finds what is held locally, the whole state perhaps.
// Others are asked for nodes if that lasts.
func (w *walk) excuse(peer *rangePeer, now time.Time) (again bool) {
	if w.waiting != "" || peer != nil || w.walker.Progress().InFlight > 0 {
		return false
	}
	switch all, empty, _ := w.b.peers.census(w.target.Root); {
	case all == 0 && w.onlyData():
		w.waiting = "for a peer that has the state"
	case all == 0:
		w.waiting = "for peers"
		if w.alone.IsZero() {
			w.walker.ByNodes(true)
			w.alone = now
			return true
		}
	case empty == all:
		w.waiting = "for a peer that has the state"
	default:
		w.waiting = "for peers that failed to be asked again"
	}
	return false
}

// lookUp fetches nodes or codes into the local store.
func (w *walk) lookUp(ctx context.Context, need *trie.Need) {
	if w.lookups == 0 {
		w.moved = time.Now()
	}
	w.lookups++
	faults := make([]trie.Fault, len(need.Refs))
	for i, want := range need.Refs {
		faults[i] = trie.Fault{Root: w.target.Root, Owner: want.Owner, Path: want.Path, Hash: want.Hash}
	}
	w.wires.Add(1)
	go func() {
		defer w.wires.Done()
		err := w.b.cfg.Source.FetchMany(ctx, faults, need.Codes)
		w.results <- &rangeResult{need: need, err: err}
	}()
}
