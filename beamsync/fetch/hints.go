// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"slices"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// onlyHints says whether wants are guesses and nothing else: a peer that has none of them is not
// without state.
func (l *loop) onlyHints(ids []sched.WantID) bool {
	for _, id := range ids {
		if w := l.wants[id]; w != nil && slices.ContainsFunc(w.waiters, func(o waiter) bool { return !o.call.hint }) {
			return false
		}
	}
	return true
}

// dropHints lets calls that are hints go without what a peer did not have; it returns the wants
// that nobody else waits for. If that says little, because the reply was cut or the peer
// may have nothing under that root at all, they are asked for again, but not for ever.
func (l *loop) dropHints(r *reply, stateless bool) (dropped []sched.WantID) {
	for _, id := range r.unsatisfied {
		w := l.wants[id]
		if w == nil {
			continue
		}
		cut := r.cut && r.long
		if cut {
			w.cuts++
		}
		if stateless && w.sends < hintTries || cut && w.cuts < hintSends {
			continue
		}
		w.waiters = slices.DeleteFunc(w.waiters, func(o waiter) bool {
			if !o.call.hint {
				return false
			}
			o.call.open--
			o.call.notify()
			return true
		})
		if len(w.waiters) == 0 {
			l.forget(w)
			dropped = append(dropped, w.id)
		}
	}
	return dropped
}
