// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import "time"

// Schedule is how long the back-offs after failures last.
type Schedule struct {
	First time.Duration // after the first failure in a row; each further one doubles it
	Most  time.Duration // the longest one
}

// An honest peer that is restarted or overloaded is back within seconds, and a peer that stays silent costs one
// request in 8 s. Requests for subtrees are large and have other sources: a peer that fails at them is left alone for longer.
const (
	firstBackoff        = 250 * time.Millisecond
	maxBackoff          = 8 * time.Second
	firstSubtreeBackoff = 8 * time.Second
	maxSubtreeBackoff   = 64 * time.Second
)

// scheduleOf is the schedule for a kind of request.
func scheduleOf(kind string) Schedule {
	if kind == KindSubtrees {
		return Schedule{firstSubtreeBackoff, maxSubtreeBackoff}
	}
	return Schedule{firstBackoff, maxBackoff}
}

// Backoff is a delay that doubles with each failure in a row, by its schedule. The zero value has no failure and
// the usual schedule: 250 ms, 500 ms and so on up to 8 s. It is not safe for concurrent use.
type Backoff struct {
	Schedule Schedule  // zero: the usual one
	since    time.Time // when the newest failure was counted
	until    time.Time // after since
	failures int       // in a row
	excluded bool      // set by [Book.Exclude]
}

// Fail counts a failure at now of a request that was sent at sent. Requests that were in flight
// together count once: a request sent before the newest failure was counted changes nothing.
func (b *Backoff) Fail(now, sent time.Time) {
	if b.failures > 0 && sent.Before(b.since) {
		return
	}
	if b.Schedule == (Schedule{}) {
		b.Schedule = scheduleOf("")
	}
	b.failures++
	b.since, b.until = now, now.Add(min(b.Schedule.First<<min(b.failures-1, 10), b.Schedule.Most))
}

// Until is when the next request may be sent; zero or past: now.
func (b *Backoff) Until() time.Time { return b.until }
