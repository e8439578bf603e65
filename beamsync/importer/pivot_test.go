// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// TestPivot: too far behind, the work in hand is dropped and the newest head executed.
func TestPivot(t *testing.T) {
	inImporterBubble(t, 40, 10, func(f *fixture) {
		f.follow(10, 10)
		f.set(100*time.Millisecond, true)
		f.want("stalled", f.payload(f.at(11), time.Second), Syncing)
		f.want("stalled", f.payload(f.at(12), time.Second), Syncing)
		f.set(100*time.Millisecond, false)
		f.set(10*time.Second, false) // block 11 would take minutes
		begun := make(chan Outcome, 1)
		go func() { begun <- f.payload(f.at(35), time.Hour) }()
		f.want("far ahead", <-begun, Valid)
		synctest.Wait()
		f.pivoted(pivotLag)
		if log := f.log.String(); !strings.Contains(log, "dropped=2") || strings.Count(log, "superseded by a newer head") != 2 {
			t.Errorf("the log does not say what was dropped:\n%s", log)
		}
		if status, err := f.choose(f.at(35).Hash(), common.Hash{}, common.Hash{}, time.Minute); err != nil || status.Status != Valid {
			t.Fatalf("head after the pivot: %v %v", status.Status, err)
		}
		f.head(f.at(35))
		f.set(time.Millisecond, false)
		f.follow(36, 40)
	})
}

// TestPivotUnconnected: a chain without an executed ancestor within the lag causes a pivot.
func TestPivotUnconnected(t *testing.T) {
	inImporterBubble(t, 12, 2, func(f *fixture) {
		f.follow(10, 11)
		f.want("side chain", f.payload(f.side[2], time.Hour), Valid)
		f.pivoted(pivotUnconnected)
		f.follow(12, 12)
	})
}

// pivoted expects one pivot, for that reason, or none.
func (f *fixture) pivoted(why string) {
	f.t.Helper()
	for _, reason := range []string{pivotLag, pivotUnconnected} {
		want := 0
		if reason == why {
			want = 1
		}
		if n := testutil.ToFloat64(f.importer.metrics.pivots.WithLabelValues(reason)); n != float64(want) {
			f.t.Errorf("%v pivots for %q counted, want %d", n, reason, want)
		}
		if n := strings.Count(f.log.String(), "Pivoted to the newest head\" reason="+reason+" "); n != want {
			f.t.Errorf("%d pivots for %q in the log, want %d:\n%s", n, reason, want, f.log)
		}
	}
}

// TestForgottenStates: blocks whose states no peer has any more are cancelled when they are too far behind.
// Otherwise they would occupy all slots.
func TestForgottenStates(t *testing.T) {
	inImporterBubble(t, 60, 10, func(f *fixture) {
		f.follow(50, 50)
		for number := 38; number > 38-2*maxExecutions; number -= 2 {
			f.mu.Lock()
			f.gone = append(f.gone, f.at(number-1).Root())
			f.mu.Unlock()
			f.want("old block", f.payload(f.at(number), time.Minute), Syncing)
		}
		if pending := f.importer.Status().Pending; len(pending) != maxExecutions {
			t.Fatalf("pending: %+v", pending)
		}
		f.follow(51, 60)
		synctest.Wait()
		if pending := f.importer.Status().Pending; len(pending) != 0 {
			t.Errorf("still pending: %+v", pending)
		}
	})
}

// TestStalledNetwork: when no peer answers for two slots, blocks are late, and nothing is skipped.
func TestStalledNetwork(t *testing.T) {
	const slot = 12 * time.Second
	inImporterBubble(t, 16, DefaultMaxLag, func(f *fixture) {
		f.follow(10, 11)
		f.set(0, true)
		time.AfterFunc(25*time.Second, func() { f.set(100*time.Millisecond, false) })
		for number := 12; number <= 13; number++ {
			f.want("stalled", f.payload(f.at(number), 8*time.Second), Syncing)
			if status, err := f.choose(f.at(number).Hash(), common.Hash{}, common.Hash{}, time.Second); err != nil || status.Status != Syncing {
				f.t.Fatal(status, err)
			}
			if lag, want := f.importer.lag(), uint64(number-11); lag != want {
				f.t.Errorf("lag %d at block %d, want %d", lag, number, want)
			}
			time.Sleep(slot - 9*time.Second)
		}
		began := time.Now()
		f.follow(14, 16)
		if took := time.Since(began); took > slot {
			f.t.Errorf("caught up after %v", took)
		}
		for number := 12; number <= 16; number++ {
			if status := f.chain.Status(f.at(number).Hash()); status != chain.Executed {
				f.t.Errorf("block %d was skipped", number)
			}
		}
		f.pivoted("")
	})
}
