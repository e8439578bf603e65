// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"testing"
	"time"
)

// TestPatience: whatever swarm peers deliver, a walk takes at most an eighth more than it would take without them, and the time
// before the first delivery.
func TestPatience(t *testing.T) {
	t.Parallel()
	const rate = 1000 // bytes per second of full peers
	for _, share := range []int{0, 1, 10, 100, 1000, 5000} {
		now := time.Unix(1_000_000, 0)
		var p patience
		const whole = 100_000
		got := 0
		began := now
		for got < whole {
			waits := p.left() > 0 && got > whole/10 // has work of its own at first
			p.observe(now, !waits, waits)
			now = now.Add(100 * time.Millisecond)
			if waits {
				p.received(share/10, true) // bytes per second of swarm peers
				got += share / 10
			} else {
				p.received(rate/10, false)
				got += rate / 10
			}
			p.observe(now, false, false)
		}
		alone := time.Duration(whole/rate) * time.Second
		if took := now.Sub(began); took > alone*9/8+firstPatience+time.Second {
			t.Errorf("with %d bytes per second of swarm peers: %v instead of %v", share, took, alone)
		}
	}
	var p patience
	now := time.Unix(1_000_000, 0)
	p.observe(now, false, true)
	p.observe(now.Add(firstPatience/2), false, false)
	p.observe(now.Add(time.Hour), false, false)
	if p.received(1, true); p.left() != firstPatience/2 || p.unpaid != 0 {
		t.Errorf("%v left after a delivery", p.left())
	}
	if p.leftForStrangers() != firstPatience/2 || p.left() != firstPatience/2 {
		t.Errorf("%v left, %v for strangers", p.left(), p.leftForStrangers())
	}
}
