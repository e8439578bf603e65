// SPDX-License-Identifier: LGPL-3.0-or-later

package bench_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

func backfillOptions(t *testing.T) bench.BackfillOptions {
	return bench.BackfillOptions{
		TestbedOptions: bench.TestbedOptions{
			State: stategen.Spec{Accounts: 2000, Senders: 50, Contracts: 5, Codes: 3, Slots: 3000, Largest: 1000},
			RTT:   10 * time.Millisecond, Slot: time.Second, Gas: 1_000_000, CacheDir: t.TempDir(),
		},
		Peers: 1, Until: "full", Timeout: 2 * time.Minute,
	}
}

// TestBackfill lets a real node become full from real geths, and a geth by its own means.
func TestBackfill(t *testing.T) {
	var out, progress bytes.Buffer
	opts := backfillOptions(t)
	opts.JSON, opts.Progress = true, &progress
	if !testing.Short() {
		opts.Peers, opts.Versus, opts.Kills, opts.Alone = 2, "geth", 1, true
		opts.State, opts.RTT = bench.BackfillState(60_000, 150_000), 50*time.Millisecond // to be killed on the way takes some seconds of it
	}
	result, err := bench.Backfill(t.Context(), opts, &out)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &progress)
	}
	if !result.Full || !result.Verified || result.Valid != result.Blocks || result.Blocks == 0 || result.FirstValidSeconds <= 0 {
		t.Errorf("%+v\n%s", result, &progress)
	}
	if result.Accounts < 2000 || result.Slots < 2900 || result.Codes < 3 || result.AccountNodes < 2000 {
		t.Errorf("too little: %+v", result)
	}
	if opts.Versus != "" && (result.GethSeconds <= 0 || result.GethBytes < 100_000 || result.Kills != 1 || result.P95Alone <= 0) {
		t.Errorf("%+v\n%s", result, &progress)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var printed map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &printed); err != nil || printed["verified"] != true {
		t.Errorf("last line %q: %v", lines[len(lines)-1], err)
	}
}

func TestBadBackfillOptions(t *testing.T) {
	for what, change := range map[string]func(*bench.BackfillOptions){
		"peers":  func(o *bench.BackfillOptions) { o.Peers = 0 },
		"slot":   func(o *bench.BackfillOptions) { o.Slot = 0 },
		"kills":  func(o *bench.BackfillOptions) { o.Kills = -1 },
		"gas":    func(o *bench.BackfillOptions) { o.Gas = 1 },
		"versus": func(o *bench.BackfillOptions) { o.Versus = "nethermind" },
		"until":  func(o *bench.BackfillOptions) { o.Until = "" },
		"state":  func(o *bench.BackfillOptions) { o.State.Accounts = 0 },
		"slots":  func(o *bench.BackfillOptions) { o.State.Largest = 1_000_000 },
	} {
		opts := backfillOptions(t)
		change(&opts)
		if _, err := bench.Backfill(t.Context(), opts, new(bytes.Buffer)); err == nil {
			t.Errorf("bad %s: no error", what)
		}
	}
}

func TestBackfillState(t *testing.T) {
	for _, c := range [][2]int{{1_000_000, 3_000_000}, {100, 300}, {200_000, 0}} {
		spec := bench.BackfillState(c[0], c[1])
		if err := spec.Check(); err != nil || spec.Accounts != c[0] || spec.SlotsOf(0) != uint64(c[1]/3) {
			t.Errorf("%v: %+v, %v", c, spec, err)
		}
	}
}
