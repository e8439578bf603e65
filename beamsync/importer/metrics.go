// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// Closed label sets of the importer's metrics.
const (
	phasePrefetch = "prefetch"
	phaseExecute  = "execute"
	phaseCommit   = "commit"

	pivotLag         = "lag"         // the newest head got further ahead than the lag allows
	pivotUnconnected = "unconnected" // the block has no executed ancestor within the lag
)

type metrics struct {
	imports *prometheus.CounterVec   // outcome
	phases  *prometheus.HistogramVec // phase
	pivots  *prometheus.CounterVec   // reason
	reorgs  prometheus.Counter
	pending prometheus.Gauge
	head    prometheus.Gauge
	lag     prometheus.Gauge
	missed  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, phase func() Phase) *metrics {
	m := &metrics{
		imports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_imports_total", Help: "Blocks by the outcome of their import.",
		}, []string{"outcome"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "beam_import_seconds", Help: "Time per block by phase of its import.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 15),
		}, []string{"phase"}),
		pivots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_pivots_total", Help: "Times that execution skipped to the newest head, by reason.",
		}, []string{"reason"}),
		reorgs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_reorgs_total", Help: "Forkchoice updates that dropped canonical blocks.",
		}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_pending_blocks", Help: "Blocks that are being imported.",
		}),
		head: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_head_block", Help: "Number of the canonical, executed head.",
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_head_lag_blocks", Help: "Blocks between the newest known block and the executed head.",
		}),
		missed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_catch_up_blocks", Help: "Blocks that a full node executes, or executes again, before it reaches the state that it needs.",
		}),
	}
	for _, outcome := range []evm.Outcome{evm.Valid, evm.Invalid, evm.Incomplete} {
		m.imports.WithLabelValues(outcome.String())
	}
	for _, reason := range []string{pivotLag, pivotUnconnected} {
		m.pivots.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.imports, m.phases, m.pivots, m.reorgs, m.pending, m.head, m.lag, m.missed,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "beam_full", Help: "1 if blocks are executed on complete state, 0 while beaming.",
			}, func() float64 { return float64(phase()) }))
	}
	return m
}
