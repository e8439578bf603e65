// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import "time"

// bucket is a token bucket that holds one second of its rate. Its level may fall below zero: the size of a
// response is known only when it has come.
type bucket struct {
	rate, level float64
	at          time.Time
}

func newBucket(rate uint64) *bucket {
	return &bucket{rate: float64(rate), level: float64(rate), at: time.Now()}
}

// wait is the time until the bucket admits a request.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.level = min(b.rate, b.level+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	if b.level > 0 {
		return 0
	}
	return time.Duration((1 - b.level) / b.rate * float64(time.Second))
}

// spend takes n bytes; a negative n gives them back.
func (b *bucket) spend(n int) { b.level -= float64(n) }
