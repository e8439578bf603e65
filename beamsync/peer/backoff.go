// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import "time"

// The delay after the first failure in a row, and its limit. An honest peer that is restarted or
// overloaded is back within seconds, and a peer that stays silent costs one request in 8 s.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 8 * time.Second
)

// Backoff is a delay that doubles with each failure in a row: 250 ms, 500 ms and so on up to 8 s.
// The zero value has no failure. It is not safe for concurrent use.
type Backoff struct {
	since    time.Time // when the newest failure was counted
	until    time.Time // after since
	failures int       // in a row
}

// Fail counts a failure at now of a request that was sent at sent. Requests that were in flight
// together count once: a request sent before the newest failure was counted changes nothing.
func (b *Backoff) Fail(now, sent time.Time) {
	if b.failures > 0 && sent.Before(b.since) {
		return
	}
	b.failures++
	b.since, b.until = now, now.Add(min(firstBackoff<<min(b.failures-1, 10), maxBackoff))
}

// Until is when the next request may be sent; zero or past: now.
func (b *Backoff) Until() time.Time { return b.until }
