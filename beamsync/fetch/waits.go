// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"sync"
	"time"
)

// waits limits the log lines of queries that wait: one a kind every slowLogEvery, whatever their number.
type waits struct {
	mu    sync.Mutex
	kinds map[string]*waitingKind
}

// waitingKind is the queries of one kind that run now.
type waitingKind struct {
	queries int
	logged  time.Time
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

// due says whether a line is to be logged for a kind, and how many queries it speaks for. A query of the kind
// must be running: it has entered and not left.
func (w *waits) due(kind string, now time.Time) (queries int, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[kind]
	if now.Sub(k.logged) < slowLogEvery {
		return 0, false
	}
	k.logged = now
	return k.queries, true
}
