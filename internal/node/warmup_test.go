// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestWarmup: a beaming node warms up after its first block, unless its budget is zero; then there is no warm-up at all.
func TestWarmup(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 3, 0)
	for megabytes, want := range map[int]float64{0: 0, 128: 1} {
		registry := prometheus.NewRegistry()
		cfg := withGenesis(t, localConfig(t), genesis)
		cfg.Beam.Backfill, cfg.Beam.WarmupMB = false, megabytes
		made, err := newNode(cfg, discard, registry, registry)
		check(t, err)
		n := run(t, made)
		bring(t, n, blocks...)
		if on := n.warmup != nil; on != (megabytes > 0) {
			t.Errorf("%d MB: warm-up: %t", megabytes, on)
		}
		for deadline := time.Now().Add(20 * time.Second); counted(t, registry, "beam_warmup_blocks_total") < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no block was read")
			}
		}
		n.stop(t)
	}
}

// counted adds up the series of a counter, 0 if there is none.
func counted(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	families, err := registry.Gather()
	check(t, err)
	for _, family := range families {
		if family.GetName() == name {
			for _, series := range family.GetMetric() {
				sum += series.GetCounter().GetValue()
			}
		}
	}
	return sum
}
