// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"sync"
	"time"
)

// waits limits the log lines of queries that wait: one a kind, whatever their number, and less and less often until one of
// them is answered.
type waits struct {
	mu    sync.Mutex
	kinds map[string]*waitingKind
}

// waitingKind is the queries of one kind that run now.
type waitingKind struct {
	queries int
	logged  time.Time
	quiet   time.Duration // until the next line
}

func newWaits() *waits { return &waits{kinds: make(map[string]*waitingKind)} }

// enter counts a query until leave is called.
func (w *waits) enter(kind string) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[kind]
	if k == nil {
		k = new(waitingKind)
		w.kinds[kind] = k
	}
	k.queries++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		k.queries--
	}
}

// answered says that a query of a kind got what it wanted.
func (w *waits) answered(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[kind]
	k.quiet = min(k.quiet, slowLogEvery)
}

// due says whether a line is to be logged for a kind, and how many queries it speaks for. A query of the kind
// must be running: it has entered and not left.
func (w *waits) due(kind string, now time.Time) (queries int, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[kind]
	if now.Sub(k.logged) < k.quiet {
		return 0, false
	}
	k.logged, k.quiet = now, longer(k.quiet)
	return k.queries, true
}

// longer is the time from a log line of what waits to the next one, after the time before it: slowLogEvery, then twice as long each
// time, at most quietLimit.
func longer(quiet time.Duration) time.Duration {
	return min(max(slowLogEvery, 2*quiet), quietLimit)
}
