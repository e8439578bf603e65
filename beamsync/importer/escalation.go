// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"sync"
	"time"
)

const (
	// escalateAfter is how long a kind of trouble may last before it is logged again, louder.
	escalateAfter = time.Minute
	// escalateLimit is the longest time between two lines of a kind. The times between double up to it.
	escalateLimit = time.Hour
	// forgetAfter is how long a kind must not occur to be logged as a new one. Consensus clients repeat a call every slot.
	forgetAfter = 5 * time.Minute
)

// The kinds of trouble, in addition to the stages of jobs.
const (
	troubleUnavailable = "state or ancestors unavailable"
	troubleUnknownHead = "unknown head"
)

// escalation decides what is logged of trouble that repeats without progress: one line when a kind begins, then louder
// ones with its duration, at growing intervals. The duration begins with the last import of a block.
type escalation struct {
	mu       sync.Mutex
	progress time.Time // when a block was imported last
	kinds    map[string]*trouble
}

// trouble is what repeats.
type trouble struct {
	since    time.Time
	last     time.Time // when it was noted last
	next     time.Time // when it is logged again
	interval time.Duration
	times    int
}

// occurrence is one note of a kind of trouble.
type occurrence struct {
	first  bool          // of its kind: log it
	louder bool          // it lasts: log it as a warning, with the duration
	lasts  time.Duration // since the first one
	times  int
}

// note records that a kind of trouble occurs, which began at since.
func (e *escalation) note(kind string, since time.Time) occurrence {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.kinds[kind]
	first := t == nil || now.Sub(t.last) > forgetAfter
	if first {
		if since.Before(e.progress) {
			since = e.progress
		}
		t = &trouble{since: since, next: since.Add(escalateAfter), interval: escalateAfter}
		if e.kinds == nil {
			e.kinds = make(map[string]*trouble)
		}
		e.kinds[kind] = t
	}
	t.last = now
	t.times++
	o := occurrence{first: first, louder: !now.Before(t.next), lasts: now.Sub(t.since).Round(time.Second), times: t.times}
	if o.louder {
		t.interval = min(2*t.interval, escalateLimit)
		t.next = now.Add(t.interval)
	}
	return o
}

// end records that a block was imported. It returns how long what was logged louder has lasted; zero: there was nothing.
func (e *escalation) end() (longest time.Duration) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.progress = now
	for _, t := range e.kinds {
		if t.interval > escalateAfter {
			longest = max(longest, now.Sub(t.since).Round(time.Second))
		}
		t.since, t.next, t.interval, t.times = now, now.Add(escalateAfter), escalateAfter, 0
	}
	return longest
}
