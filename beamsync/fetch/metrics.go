// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// metrics are the metrics of the fetcher.
type metrics struct {
	faults         *prometheus.CounterVec   // class
	trips          *prometheus.CounterVec   // class
	wait           *prometheus.HistogramVec // class
	requests       *prometheus.CounterVec   // kind, result
	nodes          prometheus.Counter
	codes          prometheus.Counter
	bytes          *prometheus.CounterVec // kind
	unmatched      prometheus.Counter
	hedges         prometheus.Counter
	duplicateBytes prometheus.Counter
	inflight       prometheus.Gauge
	wants          prometheus.Gauge
	oldest         prometheus.Gauge
}

// newMetrics registers the metrics, unless reg is nil.
func newMetrics(reg prometheus.Registerer, serving func() int) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		faults: counters("beam_faults_total", "Reads of state that needed the network.", "class"),
		trips:  counters("beam_round_trips_total", "Sequential round trips that sessions waited for.", "class"),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "beam_fault_wait_seconds",
			Help:    "Time that a call waited for state from the network.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14), // 5 ms to 41 s
		}, []string{"class"}),
		requests:       counters("beam_requests_total", "Wire requests that have ended.", "kind", "result"),
		nodes:          counter("beam_nodes_total", "Verified trie nodes received."),
		codes:          counter("beam_codes_total", "Verified contract codes received."),
		bytes:          counters("beam_bytes_total", "Bytes of nodes, codes, headers, bodies and access lists received.", "kind"),
		unmatched:      counter("beam_unmatched_blobs_total", "Blobs received that were not requested."),
		hedges:         counter("beam_hedges_total", "Duplicates of requests in flight, sent to other peers: hedges, races, probes."),
		duplicateBytes: counter("beam_duplicate_bytes_total", "Bytes of nodes and codes that arrived when no caller waited for them any longer."),
		inflight:       gauge("beam_inflight_requests", "State requests in flight."),
		wants:          gauge("beam_wants", "Nodes and codes that callers wait for."),
		oldest:         gauge("beam_urgent_wait_seconds", "Age of the oldest urgent want, 0 if there is none."),
	}
	reg.MustRegister(m.wait, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "beam_serving_peers", Help: "Connected peers that have sent verified state.",
	}, func() float64 { return float64(serving()) }))
	for _, c := range sched.Classes() { // so that they are seen before the first event
		m.faults.WithLabelValues(c.String())
		m.trips.WithLabelValues(c.String())
		m.wait.WithLabelValues(c.String())
	}
	return m
}
