// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Config{})
		want := func(when string, idle, inWork bool) {
			t.Helper()
			if f.Urgent(false) != idle || f.Urgent(true) != inWork {
				t.Errorf("%s: urgent is %v, with a block in work %v, want %v and %v", when, f.Urgent(false), f.Urgent(true), idle, inWork)
			}
		}
		want("at the start", false, true)
		f.urgent.begin()
		f.urgent.begin()
		want("while two wait", true, true)
		time.Sleep(time.Second)
		f.urgent.end()
		want("while one waits", true, true)
		time.Sleep(stuckAfter)
		want("while one waits in vain", false, false)
		f.urgent.end()
		want("just after", false, true)
	})
}
