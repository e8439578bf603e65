// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"slices"
	"time"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// strangerBytes is what a stranger is asked for at a time, strangerRefs for how many nodes by hash: a sample.
	strangerBytes = 64 << 10
	strangerRefs  = 16
	// maxStrangers is how many strangers of one kind have a request at the same time.
	maxStrangers = 32
	// lateAfter is the age from which on a request is late if a peer with nothing to do could have served it meanwhile,
	// lateRate times over.
	lateAfter = time.Second
	lateRate  = 3
)

// task is a need and its requests to peers. The first response that proves something of the need ends it. So does
// [walk.recall], which gives the need back to the walker while requests are out. What comes after the end of a task tells
// about the peer that sent it, and nothing else.
type task struct {
	need  *trie.Need
	peer  *rangePeer  // that was asked first; nil for a swarm peer
	swarm *swarmPeer  // nil for other peers
	began time.Time   // of the first request
	pool  *rangePeers // of peer

	open    int  // requests without a response
	arrived bool // a response is here, but not verified yet
	over    bool // the need has returned to the walker
}

// newTask begins a task for a need.
func (w *walk) newTask(t task) *task {
	t.began = time.Now()
	w.tasks = append(w.tasks, &t)
	return &t
}

// end ends a task: its need returns to the walker now. It returns false if that has happened before.
func (w *walk) end(t *task) bool {
	if t.over {
		return false
	}
	t.over = true
	w.tasks = slices.DeleteFunc(w.tasks, func(other *task) bool { return other == t })
	return true
}

// failed notes a request of which nothing came. The last one gives the need back.
func (w *walk) failed(t *task) {
	if t.open == 0 && w.end(t) {
		w.walker.Return(t.need)
	}
}

// recall gives the needs of tasks back to the walker although requests are out.
func (w *walk) recall(late func(*task) bool) (n int) {
	for _, t := range slices.Clone(w.tasks) {
		if !t.arrived && late(t) && w.end(t) {
			w.walker.Return(t.need)
			n++
		}
	}
	return n
}

// busy says whether needs are at full peers.
func (w *walk) busy() bool {
	return w.lookups > 0 || slices.ContainsFunc(w.tasks, func(t *task) bool { return t.peer != nil })
}

// racing returns the task that all strangers may take part in, because no peer of the pool is proven; nil if there is none.
func (w *walk) racing(pool *rangePeers) *task {
	for _, t := range w.tasks {
		if t.pool == pool && !t.peer.proven() {
			return t
		}
	}
	return nil
}

// askStrangers gives strangers the chance to show what they serve. If some peer is proven, they are asked for a copy of a
// need that it was sent: no need depends on a stranger, and a stranger costs a sample. Otherwise all of them race for one need.
func (w *walk) askStrangers(ctx context.Context) {
	now := time.Now()
	if w.yields(now) || w.bucket.wait(now) > 0 {
		return
	}
	for _, pool := range []*rangePeers{w.b.peers, w.b.data} {
		sample := w.newest[pool]
		if sample == nil {
			continue
		}
		idle, proven := pool.strangers(now, maxStrangers)
		t := w.racing(pool)
		if t == nil {
			if t = sample; !proven {
				continue // a race begins with the next need
			}
		}
		for _, p := range idle {
			w.send(ctx, pool, p, t)
		}
	}
	w.sampleSwarm(ctx)
}

// send sends a need to one more peer.
func (w *walk) send(ctx context.Context, pool *rangePeers, p *rangePeer, t *task) {
	if pool == w.b.data {
		w.sendNodeData(ctx, p, t)
	} else {
		w.sendRange(ctx, p, t)
	}
}

// reclaim takes needs back from peers that are late, when another proven peer of their kind is free and the walker has
// nothing for it. again says that the walker has something then.
func (w *walk) reclaim() (again bool) {
	now := time.Now()
	for _, pool := range []*rangePeers{w.b.peers, w.b.data} {
		free, _ := pool.free(now, false)
		if free == nil || !free.proven() {
			continue
		}
		after := max(lateAfter, lateRate*pool.usual(free))
		w.recall(func(t *task) bool {
			late := t.pool == pool && t.peer != free
			if age := now.Sub(t.began); late && age < after {
				w.wakeAfter(after - age)
				late = false
			}
			if late {
				pool.doubt(t.peer)
				again = true
			}
			return late
		})
	}
	return again
}

// wakeAfter lets the walk look again after that time, or earlier.
func (w *walk) wakeAfter(d time.Duration) { w.wakeAt(time.Now().Add(max(d, time.Millisecond))) }

// wakeAt sets the timer, unless it is set to an earlier time.
func (w *walk) wakeAt(at time.Time) { w.wake.set(at) }

// alarm is a timer that is set to the earliest of several times.
type alarm struct {
	*time.Timer
	at time.Time // when it fires, or did last
}

func (a *alarm) set(at time.Time) {
	now := time.Now()
	if a.at.After(now) && !at.Before(a.at) {
		return
	}
	a.at = at
	a.Reset(max(at.Sub(now), 0))
}
