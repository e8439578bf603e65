// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"time"

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
	missed  prometheus.Gauge
	gas     prometheus.Counter
	geths   gethNames
}

// gethNames are what dashboards made for geth read about blocks, in nanoseconds and, for mgasps, in Mgas/s.
type gethNames struct{ inserts, execution, write, mgasps prometheus.Summary }

// newMetrics makes the metrics of an importer. What it says at each scrape takes no lock.
func newMetrics(reg prometheus.Registerer, i *Importer) *metrics {
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
		missed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_catch_up_blocks", Help: "Blocks that a full node executes, or executes again, before it reaches the state that it needs.",
		}),
	}
	m.gas = prometheus.NewCounter(prometheus.CounterOpts{Name: "beam_executed_gas_total", Help: "Gas used by the blocks that were executed and are valid."})
	m.geths = gethNames{
		inserts:   summary("chain_inserts", "Nanoseconds from the start of a block's execution until it is stored."),
		execution: summary("chain_execution", "Nanoseconds of a block's execution and validation."),
		write:     summary("chain_write", "Nanoseconds to store a block and its state."),
		mgasps:    summary("chain_mgasps", "Mgas/s of a block, from the start of its prefetch to the end of its execution."),
	}
	for _, outcome := range []evm.Outcome{evm.Valid, evm.Invalid, evm.Incomplete} {
		m.imports.WithLabelValues(outcome.String())
	}
	for _, reason := range []string{pivotLag, pivotUnconnected} {
		m.pivots.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.imports, m.phases, m.pivots, m.reorgs, m.pending, m.missed, m.gas,
			m.geths.inserts, m.geths.execution, m.geths.write, m.geths.mgasps,
			value("beam_full", "1 if blocks are executed on complete state, 0 while beaming.", func() float64 { return float64(i.Phase()) }),
			value("beam_head_block", "Number of the canonical, executed head.",
				func() float64 { return float64(i.cfg.Chain.CurrentHeader().Number.Uint64()) }),
			value("beam_head_lag_blocks", "Blocks between the newest known block and the executed head.", func() float64 { return float64(i.lag()) }),
			value("beam_head_age_seconds", "Age of the head by its timestamp.", func() float64 { return i.headAge().Seconds() }),
			value("beam_engine_silence_seconds", "Time since the consensus client sent a payload or a forkchoice, or since the start if it sent none.",
				func() float64 { return time.Since(i.lastCall()).Seconds() }))
	}
	return m
}

// executed counts a valid block: its gas, the time from the start of the prefetch to the end of the execution, of which
// execution is a part, and the time to store it.
func (m *metrics) executed(gas uint64, took, execution, write time.Duration) {
	m.gas.Add(float64(gas))
	m.geths.inserts.Observe(float64(took + write))
	m.geths.execution.Observe(float64(execution))
	m.geths.write.Observe(float64(write))
	if took > 0 {
		m.geths.mgasps.Observe(float64(gas) / 1e6 / took.Seconds())
	}
}

// summary has the quantiles that geth shows.
func summary(name, help string) prometheus.Summary {
	return prometheus.NewSummary(prometheus.SummaryOpts{
		Name: name, Help: help,
		Objectives: map[float64]float64{0.5: 0.05, 0.75: 0.025, 0.95: 0.01, 0.99: 0.001, 0.999: 0.0001, 0.9999: 0.00001},
	})
}

// value is a gauge that is computed at each scrape.
func value(name, help string, get func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, get)
}
