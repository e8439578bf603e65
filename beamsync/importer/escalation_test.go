// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestEscalation: what repeats is logged once, then louder at growing intervals; progress begins the time anew, and what
// occurs during progress is not logged again.
func TestEscalation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e escalation
		first, louder := 0, []time.Duration(nil)
		repeat := func(d time.Duration) {
			for range d / (8 * time.Second) {
				o := e.note("kind", time.Now())
				if o.first {
					first++
				}
				if o.louder {
					louder = append(louder, o.lasts)
				}
				time.Sleep(8 * time.Second)
			}
		}
		repeat(2 * time.Hour)
		if first != 1 || len(louder) < 5 || len(louder) > 8 || louder[0] > 64*time.Second {
			t.Fatalf("two hours: %d first, louder at %v", first, louder)
		}
		if lasted := e.end(); lasted < 2*time.Hour-time.Minute {
			t.Errorf("it lasted %v", lasted)
		}
		louder = nil
		for range 100 { // a block every slot, while one waits
			repeat(16 * time.Second)
			if lasted := e.end(); lasted != 0 {
				t.Fatalf("progress after %v", lasted)
			}
		}
		if first != 1 || louder != nil {
			t.Errorf("during progress: %d first, louder at %v", first, louder)
		}
		time.Sleep(forgetAfter + time.Second)
		repeat(16 * time.Second)
		if first != 2 {
			t.Errorf("a new occurrence is not logged")
		}
	})
}
