package importer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// Closed label sets of the importer's metrics.
const (
	phaseCollect = "collect"
	phaseExecute = "execute"
	phaseCommit  = "commit"

	pivotLag         = "lag"         // the newest head got further ahead than the lag allows
	pivotUnconnected = "unconnected" // a chain that meets nothing executed within the lag
)

type importerMetrics struct {
	imports *prometheus.CounterVec   // outcome
	phases  *prometheus.HistogramVec // phase
	pivots  *prometheus.CounterVec   // reason
	reorgs  prometheus.Counter
	pending prometheus.Gauge
	head    prometheus.Gauge
	lag     prometheus.Gauge
	full    prometheus.Gauge
	missed  prometheus.Gauge
}

func newImporterMetrics(reg prometheus.Registerer) *importerMetrics {
	m := &importerMetrics{
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
			Name: "beam_pending_blocks", Help: "Blocks in work that have no outcome yet.",
		}),
		head: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_head_block", Help: "Number of the canonical, executed head.",
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_head_lag_blocks", Help: "Blocks between the newest known block and the executed head.",
		}),
		full: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_full", Help: "1 if blocks are executed on complete state, 0 while beaming.",
		}),
		missed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_catch_up_blocks", Help: "Blocks that a full node has still to execute, or to execute again, to get to a state it wants.",
		}),
	}
	for _, outcome := range []evm.Outcome{evm.Valid, evm.Invalid, evm.Incomplete} {
		m.imports.WithLabelValues(outcome.String())
	}
	for _, reason := range []string{pivotLag, pivotUnconnected} {
		m.pivots.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.imports, m.phases, m.pivots, m.reorgs, m.pending, m.head, m.lag, m.full, m.missed)
	}
	return m
}
