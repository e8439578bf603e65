// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"sync/atomic"
	"time"
)

// stuckAfter is after which time without any reply a wait does not block background work any more: peers do not have
// what it wants, so leaving the network to it is of no use.
const stuckAfter = 10 * time.Second

// urgency says whether blocks wait for the network. It is safe for concurrent use.
type urgency struct {
	open atomic.Int32 // waits that have not ended
	last atomic.Int64 // when one began or ended, Unix nanoseconds
}

func (u *urgency) begin() { u.change(1) }

func (u *urgency) end() { u.change(-1) }

func (u *urgency) change(n int32) {
	u.last.Store(time.Now().UnixNano())
	u.open.Add(n)
}

// Urgent says whether a block waits for state from the network, or would wait for processors: one that
// is inWork has both for itself, because what runs at the same time makes each of its trips longer.
func (f *Fetcher) Urgent(inWork bool) bool {
	if f.urgent.open.Load() == 0 {
		return inWork
	}
	return time.Since(time.Unix(0, f.urgent.last.Load())) < stuckAfter
}

// Served returns how many trie nodes and codes peers have sent that were proved.
func (f *Fetcher) Served() uint64 { return f.served.Load() }

// Serving returns how many connected peers have sent trie nodes or codes that were proved.
func (f *Fetcher) Serving() int { return int(f.serving.Load()) }

// Pulse is when the loop turned last, which it does every second; before that the start.
func (f *Fetcher) Pulse() time.Time { return time.Unix(0, f.pulse.Load()) }

// Waiting says whether a block or a query waits for state from the network.
func (f *Fetcher) Waiting() bool { return f.waiting.Load() > 0 }
