// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"testing"
	"time"
)

// TestWindowFollowsThePeer: whatever the window was before, it becomes as large as the peer's time allows, and no larger.
func TestWindowFollowsThePeer(t *testing.T) {
	const trip, late = 100 * time.Millisecond, 12 * time.Millisecond // the usual request takes longer than the quickest one
	for _, test := range []struct {
		name        string
		handling    time.Duration // of a response, one after another
		least, most int
	}{
		{"far and quick", 5 * time.Millisecond, rangeWindow, rangeWindow},
		{"a tenth of the trip", 10 * time.Millisecond, 11, 14},
		{"a third of the trip", 33 * time.Millisecond, 4, 5},
		{"slower than the trip", 300 * time.Millisecond, fairWindow, fairWindow},
	} {
		p := &rangePeer{served: true, minTime: trip, interval: 150 * time.Millisecond} // slow until now
		now := time.Unix(0, 0)
		for range 500 {
			window := p.window()
			interval := max(test.handling, (trip+late)/time.Duration(window))
			now = now.Add(interval)
			p.inFlight = window - 1
			p.measure(now, max(trip, interval*time.Duration(window)))
			p.minTime = trip // now and then a request meets no other
		}
		if window := p.window(); window < test.least || window > test.most {
			t.Errorf("%s: a window of %d, want %d to %d", test.name, window, test.least, test.most)
		}
	}
}
