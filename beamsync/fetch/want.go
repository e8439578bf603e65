// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// want is what the loop knows about one want of the scheduler.
type want struct {
	target
	id              sched.WantID
	class           sched.Class
	depth           int      // longest path asked for on the way to fault.Key, nibbles
	storageKeyDepth int      // the same for those of fault.StorageKeys
	waiters         []waiter // never empty while the scheduler knows the want
	sends           int      // requests it was in, hedges aside
	cuts            int      // replies that lacked it and were cut
	inFlight        bool     // it was sent at least once
	blob            []byte   // set before its callers wake
}

// waiter is a call that waits for a want.
type waiter struct {
	call   *call
	base   int // sends before the call joined, that in flight not counted
	before int // requests in a row that the call took for the path above this node
}

// call is one caller's wait for some targets.
type call struct {
	session    *Session
	meter      trie.Meter // nil: none
	targets    []target
	whole      bool          // it waits for whole paths, not only for the first node of each
	hint       bool          // it waits for nothing that a peer did not have
	onProgress func()        // called when something came or was dropped; may be nil; must not block
	done       chan struct{} // closed when it has them

	// Of the loop until done is closed, then of the caller.
	wants  []*want
	err    error // why it ended without them
	open   int   // wants that it waits for
	rounds int   // requests in a row that the slowest want took
}

// count adds what arrived for the call.
func (c *call) count(arrived trie.FetchStats) {
	c.session.count(arrived)
	if c.meter != nil {
		c.meter.Fetched(arrived)
	}
}

// notify lets the caller know that something came or was dropped.
func (c *call) notify() {
	if c.open == 0 {
		close(c.done)
	}
	if c.onProgress != nil {
		c.onProgress()
	}
}

// addWants makes wants of a call's targets.
func (l *loop) addWants(ctx context.Context, c *call) []sched.Want {
	var added []sched.Want
	var before *want // neighbour in the batch, with which paths are shared
	for _, t := range c.targets {
		w, fresh := l.want(ctx, c, t, 0)
		if fresh {
			added = append(added, w.scheduled(before))
			before = w
		}
	}
	return added
}

// want lets a call wait for a target, together with others if they do already.
func (l *loop) want(ctx context.Context, c *call, t target, rounds int) (w *want, fresh bool) {
	class := c.session.class
	w = l.byKey[t.key()]
	if w == nil {
		l.lastID++
		w = &want{target: t, id: l.lastID, class: class, depth: l.depths.deepest(t.fault)}
		if len(t.fault.StorageKeys) > 0 {
			w.storageKeyDepth = l.depths.storageKeys(t.owner())
		}
		l.wants[w.id] = w
		l.byKey[t.key()] = w
		fresh = true
	} else if class > w.class {
		w.class = class
		l.step(ctx, sched.WantRaised{ID: w.id, Class: class})
	}
	for i := range w.waiters {
		if o := &w.waiters[i]; o.call == c { // named twice in one batch
			o.before = max(o.before, rounds)
			return w, fresh
		}
	}
	base := w.sends
	if w.inFlight {
		base--
	}
	w.waiters = append(w.waiters, waiter{c, base, rounds})
	c.wants = append(c.wants, w)
	c.open++
	return w, fresh
}

// scheduled is the want as the scheduler sees it, queued behind its neighbour.
func (w *want) scheduled(before *want) sched.Want {
	return sched.Want{ID: w.id, Class: w.class, Kind: w.kind, Root: w.fault.Root, Cost: w.cost(before)}
}

// abandon forgets a call; wants that nobody else waits for are cancelled.
func (l *loop) abandon(ctx context.Context, c *call) {
	var cancelled sched.WantCancelled
	for _, w := range c.wants {
		if l.wants[w.id] != w {
			continue
		}
		w.waiters = slices.DeleteFunc(w.waiters, func(o waiter) bool { return o.call == c })
		if len(w.waiters) == 0 {
			l.forget(w)
			cancelled.IDs = append(cancelled.IDs, w.id)
		}
	}
	if len(cancelled.IDs) > 0 {
		l.step(ctx, cancelled)
	}
}

// giveUp ends the queries that wait for what no peer can serve.
func (l *loop) giveUp(ctx context.Context) {
	var ended []*call
	for _, id := range l.sched.Unserved(time.Now(), sched.RPC) {
		for _, waiter := range l.wants[id].waiters {
			if c := waiter.call; c.session.query && !slices.Contains(ended, c) {
				ended = append(ended, c)
			}
		}
	}
	for _, c := range ended {
		c.err = fmt.Errorf("none of %d connected peers has it: %w", len(l.peers), trie.ErrUnavailable)
		l.abandon(ctx, c)
		close(c.done)
	}
}

func (l *loop) forget(w *want) {
	delete(l.wants, w.id)
	delete(l.byKey, w.key())
}

// satisfy wakes those who wait for a want, except that those who wait for whole paths go
// on to the next node if there is one; it returns new wants for these. A hint does not go
// on where the peer was asked for the next node and did not have it.
func (l *loop) satisfy(ctx context.Context, w *want, d delivery, r *reply) (further []sched.Want) {
	l.forget(w)
	w.blob = d.blob
	if len(w.waiters) > 0 {
		w.waiters[0].call.count(d.stats) // what came is counted once
	}
	for _, o := range w.waiters {
		c, rounds := o.call, o.before+w.sends-o.base
		c.rounds = max(c.rounds, rounds)
		c.open--
		lacked := c.hint && d.depth == 0 && !r.cut
		if c.whole && d.next != nil && !lacked {
			if next, fresh := l.want(ctx, c, nodeTarget(*d.next), rounds); fresh {
				further = append(further, next.scheduled(nil))
			}
		}
		for _, slot := range d.storage {
			doubtful := r.cut && r.long
			lacked := c.hint && slot.depth == 0 && !doubtful && !r.byHash
			if c.whole && slot.next != nil && !lacked {
				if next, fresh := l.want(ctx, c, nodeTarget(*slot.next), rounds); fresh {
					further = append(further, next.scheduled(nil))
				}
			}
		}
		c.notify()
	}
	w.waiters = nil
	return further
}
