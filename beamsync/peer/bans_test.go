// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// penalties records what a Blamer is told.
type penalties struct {
	mu   sync.Mutex
	list []string
}

func (p *penalties) Blame(id string, reason Blame, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, fmt.Sprintf("%s %s: %s", id, reason, detail))
}

func TestBanEndsAndIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told penalties
		registry := prometheus.NewRegistry()
		b := NewBook(BookConfig{Blamer: &told, Registerer: registry})
		var left []string
		b.OnBan(func(id string) {
			if !b.Banned(id) {
				t.Error("OnBan comes before the ban")
			}
			left = append(left, id)
		})
		for range 3 { // three replies show the same fault
			b.Blame("a", BlameInvalid, "wrong hash")
		}
		b.Blame("a", BlameTimeout, "late")
		b.Blame("b", BlameUseless, "nothing")
		if !b.Banned("a") || b.Banned("b") || b.Banned("c") {
			t.Error("not exactly a is banned")
		}
		if want := []string{"a invalid: wrong hash", "b useless: nothing"}; !slices.Equal(told.list, want) {
			t.Errorf("the blamer was told %q, want %q", told.list, want)
		}
		if !slices.Equal(left, []string{"a"}) {
			t.Errorf("OnBan was called for %q", left)
		}
		if got := testutil.ToFloat64(b.penalties.WithLabelValues("invalid")); got != 1 {
			t.Errorf("%v penalties for invalid data", got)
		}
		time.Sleep(time.Nanosecond)
		b.Served("b", KindState) // so a is not needed
		time.Sleep(BanTime - 2*time.Nanosecond)
		if !b.Banned("a") {
			t.Error("the ban ended early")
		}
		time.Sleep(time.Nanosecond)
		if b.Banned("a") {
			t.Error("the ban did not end")
		}
		b.Blame("a", BlameInvalid, "again")
		if !b.Banned("a") || len(left) != 2 {
			t.Error("a peer whose ban ended was not banned again")
		}
	})
}

// TestBansOfNeededPeers: a peer that may be the only one, or that the operator named, comes back after a minute, then two, at last an hour.
func TestBansOfNeededPeers(t *testing.T) {
	serve := func(id, kind string) func(*Book) {
		return func(b *Book) { b.Served(id, kind) }
	}
	nothing := func(*Book) {}
	for _, c := range []struct {
		name          string
		before, after func(*Book) // the first ban
		needed        bool
	}{
		{"nobody serves", nothing, nothing, true},
		{"another served before", serve("other", KindState), nothing, true},
		{"another serves", nothing, serve("other", KindState), false},
		{"another serves the same", serve("banned", KindState), serve("other", KindState), false},
		{"another serves something else", serve("banned", KindState), serve("other", KindBodies), true},
		{"its own late replies", serve("banned", KindState), serve("banned", KindState), true},
	} {
		for _, static := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, static %v", c.name, static), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := NewBook(BookConfig{Static: func(id string) bool { return static && id == "banned" }})
					c.before(b)
					for n := range 8 {
						time.Sleep(time.Nanosecond)
						b.Blame("banned", BlameInvalid, "wrong hash")
						time.Sleep(time.Nanosecond)
						c.after(b)
						want := BanTime
						if c.needed || static {
							want = min(time.Minute<<n, BanTime)
						}
						time.Sleep(want - 2)
						if !b.Banned("banned") {
							t.Fatalf("ban %d ended before %v", n+1, want)
						}
						time.Sleep(time.Nanosecond)
						if b.Banned("banned") {
							t.Fatalf("ban %d lasts longer than %v", n+1, want)
						}
					}
					time.Sleep(3 * BanTime)
					b.Blame("banned", BlameInvalid, "wrong hash")
					time.Sleep(time.Nanosecond)
					c.after(b)
					time.Sleep(time.Minute)
					if b.Banned("banned") != (!c.needed && !static) {
						t.Error("a ban long after the others is not the first one again")
					}
				})
			})
		}
	}
}

// TestFailuresNeverBan: whatever an honest peer does not do, it is not banned.
func TestFailuresNeverBan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(BookConfig{})
		b.OnBan(func(id string) { t.Errorf("%s was banned", id) })
		for range 10_000 {
			sent := time.Now()
			time.Sleep(time.Second)
			b.TimedOut("a", KindState, sent)
			b.Refused("a", KindRanges, sent)
			b.Exclude("a", KindWitnessKeys)
			b.Blame("a", BlameTimeout, "late")
			b.Blame("a", BlameUseless, "nothing")
			if until := time.Until(b.RetryAt("a", KindState)); until > maxBackoff {
				t.Fatalf("a back-off of %v", until)
			}
		}
		if b.Banned("a") {
			t.Error("it is banned")
		}
	})
}

func TestBackoffSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(BookConfig{})
		wait := func(kind string) time.Duration { return max(0, time.Until(b.RetryAt("a", kind))) }
		for _, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 8000} {
			first, second := time.Now(), time.Now()
			time.Sleep(time.Millisecond)
			b.Refused("a", KindRanges, first)
			b.Refused("a", KindRanges, second) // they were in flight together
			if got := wait(KindRanges); got != want*time.Millisecond {
				t.Errorf("backs off for %v, want %v ms", got, int64(want))
			}
			if got := wait(KindBodies); got != 0 {
				t.Errorf("another kind backs off for %v", got)
			}
			time.Sleep(wait(KindRanges))
		}
		b.Served("a", KindBodies)
		b.Refused("a", KindRanges, time.Now())
		if got := wait(KindRanges); got != maxBackoff {
			t.Errorf("backs off for %v after a useful reply of another kind", got)
		}
		b.Served("a", KindRanges)
		if got := wait(KindRanges); got != 0 {
			t.Errorf("backs off for %v after a useful reply", got)
		}
		b.Refused("a", KindRanges, time.Now())
		if got := wait(KindRanges); got != firstBackoff {
			t.Errorf("the next back-off is %v", got)
		}
	})
}

// TestSilentPeer: a time-out of one user delays the others if nothing at all came meanwhile.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(BookConfig{})
		wait := func(id, kind string) time.Duration { return max(0, time.Until(b.RetryAt(id, kind))) }
		sent := time.Now()
		time.Sleep(5 * time.Second)
		b.Served("busy", KindRanges)
		b.TimedOut("busy", KindReceipts, sent)
		b.TimedOut("silent", KindReceipts, sent)
		for _, c := range []struct {
			id, kind string
			want     time.Duration
		}{
			{"busy", KindReceipts, firstBackoff},
			{"busy", KindRanges, 0},
			{"busy", KindState, 0},
			{"silent", KindReceipts, firstBackoff},
			{"silent", KindRanges, firstBackoff},
			{"silent", KindState, firstBackoff},
			{"other", KindReceipts, 0},
		} {
			if got := wait(c.id, c.kind); got != c.want {
				t.Errorf("%s backs off from %s for %v, want %v", c.id, c.kind, got, c.want)
			}
		}
		b.Served("silent", KindState)
		if wait("silent", KindRanges) != 0 || wait("silent", KindReceipts) != firstBackoff {
			t.Error("a useful reply ends the back-off of the whole peer, and only that")
		}
	})
}

func TestExclusion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(BookConfig{})
		b.Exclude("a", KindWitnessKeys)
		if got := time.Until(b.RetryAt("a", KindWitnessKeys)); got != BanTime {
			t.Errorf("excluded for %v", got)
		}
		if !b.RetryAt("a", KindState).IsZero() || b.Banned("a") {
			t.Error("other requests are affected")
		}
	})
}

// TestBookIsBounded: 100,000 ids do not fill memory, and the newest bans hold.
func TestBookIsBounded(t *testing.T) {
	b := NewBook(BookConfig{})
	id := func(i int) string { return fmt.Sprintf("%064x", i) }
	const ids = 100_000
	for i := range ids {
		b.TimedOut(id(i), KindState, time.Now())
		b.Blame(id(i), BlameInvalid, "wrong hash")
	}
	if b.bans.Len() != maxBans || b.records.Len() != maxRecords {
		t.Errorf("%d bans, %d records", b.bans.Len(), b.records.Len())
	}
	if !b.Banned(id(ids-maxBans)) || !b.Banned(id(ids-1)) || b.Banned(id(ids-maxBans-1)) {
		t.Error("not the oldest bans were dropped")
	}
	for i := range ids { // failures of other peers do not displace bans
		b.Refused(id(ids+i), KindState, time.Now())
	}
	if !b.Banned(id(ids - maxBans)) {
		t.Error("records displaced a ban")
	}
}
