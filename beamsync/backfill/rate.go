package backfill

import (
	"time"
)

// bucket limits a rate: what is spent must have flown in before, a second's worth at most.
type bucket struct {
	rate, level float64
	at          time.Time
}

func newBucket(rate uint64) *bucket {
	return &bucket{rate: float64(rate), level: float64(rate), at: time.Now()}
}

// wait is how long it takes until something may be spent.
func (k *bucket) wait(now time.Time) time.Duration {
	if k.rate == 0 {
		return 0
	}
	k.level = min(k.rate, k.level+now.Sub(k.at).Seconds()*k.rate)
	k.at = now
	if k.level > 0 {
		return 0
	}
	return time.Duration((1 - k.level) / k.rate * float64(time.Second))
}

func (k *bucket) spend(n int) { k.level -= float64(n) }
