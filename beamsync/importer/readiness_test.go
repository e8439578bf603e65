// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// TestReadinessOfPublicNetwork: the genesis block of a public network is never served, and what the consensus client
// names shows in the lag at once, before any block was executed.
func TestReadinessOfPublicNetwork(t *testing.T) {
	inBubbleOn(t, newNetwork(t, params.MergedTestChainConfig, 60), 30, func(f *fixture) {
		check := func(when string, want Readiness, lag uint64) {
			t.Helper()
			got := f.importer.Readiness()
			if want.Reason = got.Reason; got != want || got.Ready == (got.Reason != "") || f.importer.lag() != lag {
				f.t.Errorf("%s: %+v, lag %d", when, got, f.importer.lag())
			}
		}
		check("at the start", Readiness{NoHead: true}, 0)
		if vitals := f.importer.Vitals(); vitals.Called {
			f.t.Errorf("at the start: %+v", vitals)
		}
		f.set(100*time.Millisecond, true)
		f.payload(f.at(50), time.Millisecond)
		check("after the first payload", Readiness{NoHead: true, Target: 50}, 50)
		_, _ = f.choose(f.at(50).Hash(), common.Hash{}, common.Hash{}, time.Millisecond)
		check("after the first forkchoice", Readiness{NoHead: true, Target: 50}, 50)
		f.set(100*time.Millisecond, false)
		f.follow(50, 50)
		check("at the head", Readiness{Ready: true, Within: true, Head: 50, Target: 50}, 0)
		time.Sleep(time.Hour)
		if vitals := f.importer.Vitals(); !vitals.Called || vitals.Silence < time.Hour || vitals.HeadAge < time.Hour {
			f.t.Errorf("after an hour of silence: %+v", vitals)
		}
	}, func(cfg *Config) { cfg.Public = true })
}

// TestReadiness walks a node through its life: it is ready before the first forkchoice, and whenever the chosen head is
// executed or the next block.
func TestReadiness(t *testing.T) {
	inImporterBubble(t, 60, 30, func(f *fixture) {
		check := func(when string, ready, within bool, target uint64) {
			t.Helper()
			if got := f.importer.Readiness(); got.Ready != ready || got.Within != within || got.Target != target || ready == (got.Reason != "") {
				f.t.Errorf("%s: %+v", when, got)
			}
		}
		check("at genesis", true, true, 0)
		f.payload(f.orphanOn(f.at(1), rand.New(rand.NewPCG(1, 1)), 50), time.Millisecond)
		check("after a payload that nobody chose", true, true, 0)
		f.set(100*time.Millisecond, true)
		f.payload(f.at(50), time.Millisecond)
		_, _ = f.choose(f.at(50).Hash(), common.Hash{}, common.Hash{}, time.Millisecond)
		check("chosen, not executed", false, false, 50)
		f.set(100*time.Millisecond, false)
		f.follow(50, 51)
		check("at the head", true, true, 51)
		f.set(100*time.Millisecond, true)
		f.payload(f.at(52), time.Millisecond)
		_, _ = f.choose(f.at(52).Hash(), common.Hash{}, common.Hash{}, time.Millisecond)
		check("the next block is pending", true, true, 51)
		f.payload(f.at(55), time.Millisecond)
		_, _ = f.choose(f.at(55).Hash(), common.Hash{}, common.Hash{}, time.Millisecond)
		check("four blocks behind", false, true, 55)
		_, _ = f.choose(common.Hash{1}, common.Hash{}, common.Hash{}, time.Millisecond)
		check("unknown head", false, true, 55)
		time.Sleep(time.Hour)
		status := f.importer.Status()
		if status.Waiting == nil || time.Since(status.Waiting.Since) < time.Hour {
			f.t.Errorf("after an hour of silence: %+v", status.Waiting)
		}
		log := f.log.String()
		for _, line := range []string{"Block is still being imported", "No block was imported for long"} {
			if lines := strings.Count(log, line); lines == 0 || lines > 20 {
				f.t.Errorf("%q is logged %d times in an hour", line, lines)
			}
		}
	})
}
