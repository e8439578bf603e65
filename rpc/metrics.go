package rpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meters is what this package measures. The duration of every method is in
// go-ethereum's registry already.
type meters struct {
	engine  *prometheus.CounterVec // by method and status
	states  *prometheus.CounterVec // by outcome
	seconds prometheus.Histogram
}

func newMeters(registerer prometheus.Registerer) *meters {
	m := &meters{
		engine: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_engine_requests_total",
			Help: "Engine API calls that carry a block or a fork choice, by method and by the status answered.",
		}, []string{"method", "status"}),
		states: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_rpc_state_queries_total",
			Help: "JSON-RPC state queries: ok (answered or refused on its merits), unavailable (state could not be had), busy (no slot).",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "beam_rpc_state_query_seconds",
			Help:    "Time of JSON-RPC state queries, faults included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.engine, m.states, m.seconds)
	}
	return m
}

func (m *meters) state(outcome string, start time.Time) {
	m.states.WithLabelValues(outcome).Inc()
	m.seconds.Observe(time.Since(start).Seconds())
}
