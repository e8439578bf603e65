// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// yields says whether to leave network and processors to something more important, as far as that takes peers'
// time: see [rangePeer.backgroundWindow]. If the more important work never ends, the backfill does not yield for one second in
// six: once the state is complete, blocks do not wait for the network any more.
func (w *walk) yields(now time.Time) bool {
	if !w.b.cfg.Busy() {
		w.busySince = time.Time{}
		return false
	}
	if w.busySince.IsZero() {
		w.busySince = now
	}
	w.lastBusy = now
	return now.Sub(w.busySince)%(maxYield+burstTime) < maxYield
}

// know takes the snapshot for a plan.
func (w *walk) know() knowledge {
	now := time.Now()
	k := knowledge{
		now: now, yields: w.yields(now), rateWait: w.bucket.wait(now), unservedSince: w.unservedSince,
		inFlight: w.walker.Progress().InFlight, lookups: w.lookups,
		divided: w.sharing.division != nil, swarmInFlight: w.sharing.inFlight,
	}
	k.ranges, k.nodeData = w.candidate(w.b.peers, now, k.yields), w.candidate(w.b.data, now, false)
	k.rangePeers, k.emptyPeers, _ = w.b.peers.count(w.target.Root)
	k.dataPeers, _, _ = w.b.data.count(w.target.Root)
	return k
}

// candidate is the peer of a pool that a need may go to now. As long as no peer is proven there is one need at a time, for
// which all race: see [walk.askStrangers].
func (w *walk) candidate(pool *rangePeers, now time.Time, yields bool) (c candidate) {
	c.peer, c.again = pool.free(now, yields)
	if c.peer != nil && !c.peer.proven() && w.racing(pool) != nil {
		c.peer = nil
	}
	return c
}

// dispatch carries out plans until nothing more can be requested now. more says that local work is left.
func (w *walk) dispatch(ctx context.Context) (more bool, err error) {
	for {
		known := w.know()
		actions := plan(known)
		w.wait(actions)
		if !includes(actions, actAdvance) {
			return false, nil
		}
		w.walker.Parallel(parallel(known.yields))
		need, more, err := w.walker.Next(includes(actions, actAskRange), includes(actions, actLookUp))
		if err != nil {
			return false, err
		}
		if need == nil {
			return w.stall(actions) || more || w.reclaim(), nil
		}
		if err = w.request(ctx, actions, need); err != nil {
			return false, err
		}
	}
}

// parallel is how many local nodes the walker looks up at the same time; 0: as many as usual.
func parallel(yields bool) int {
	if yields {
		return 1
	}
	return 0
}

func includes(actions []action, kind actionKind) bool {
	return slices.ContainsFunc(actions, func(a action) bool { return a.kind == kind })
}

// wait sets the timer, and notes why requests are withheld.
func (w *walk) wait(actions []action) {
	w.waiting = ""
	for _, a := range actions {
		if a.kind == actWait {
			w.waiting = a.reason
			w.wakeAfter(time.Until(a.at))
		}
	}
}

// stall notes why nothing is in flight. again says that the walker must be asked again at once.
func (w *walk) stall(actions []action) (again bool) {
	for _, a := range actions {
		switch a.kind {
		case actStall:
			w.waiting = a.reason
		case actByNodes:
			w.walker.ByNodes(true)
			w.unservedSince = a.at
			again = true
		}
	}
	return again
}

// request sends a need where the first action that serves it says.
func (w *walk) request(ctx context.Context, actions []action, need *trie.Need) error {
	for _, a := range actions {
		if !a.serves(need.Kind) {
			continue
		}
		switch a.kind {
		case actAskRange:
			w.askRange(ctx, a.peer, need)
		case actAskNodeData:
			w.askNodeData(ctx, a.peer, need)
		default:
			w.lookUp(ctx, need)
		}
		return nil
	}
	return fmt.Errorf("the walker needs %s, which it was not offered", need.Kind)
}

// lookUp fetches nodes or codes into the local store.
func (w *walk) lookUp(ctx context.Context, need *trie.Need) {
	if w.lookups == 0 {
		w.lastProgress = time.Now()
	}
	w.lookups++
	faults := make([]trie.Fault, len(need.Refs))
	for i, ref := range need.Refs {
		faults[i] = trie.Fault{Root: w.target.Root, Owner: ref.Owner, Path: ref.Path, Hash: ref.Hash}
	}
	w.requests.Add(1)
	go func() {
		defer w.requests.Done()
		err := w.b.cfg.Source.FetchMany(ctx, faults, need.Codes)
		w.responses <- &response{need: need, err: err}
	}()
}
