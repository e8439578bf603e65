// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"testing"
	"time"
)

// TestFirstRequestTimesOut: a peer whose first request timed out has a window that fits its distance once it replies, as any other
// peer has.
func TestFirstRequestTimesOut(t *testing.T) {
	t.Parallel()
	windows := make(map[bool]int)
	for _, late := range []bool{false, true} {
		p := newPeer("far", false)
		now := time.Unix(1_000_000, 0)
		if late {
			p.becomeTimingOut(5 * time.Second)
		}
		const rtt, service = 200 * time.Millisecond, 10 * time.Millisecond
		for i := range 16 { // sent together, served one after another
			queued := time.Duration(i) * service
			p.sample(now.Add(rtt+queued), &request{peer: p, sent: now, queued: queued})
		}
		p.windowLimit = maxWindow
		if p.minRTT != rtt {
			t.Errorf("after a time-out (%v) the lowest round trip is %v", late, p.minRTT)
		}
		windows[late] = p.pipe()
	}
	if windows[true] != windows[false] || windows[true] < int(200/10) {
		t.Errorf("pipe of %d requests after a time-out, %d otherwise", windows[true], windows[false])
	}
}
