// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import "github.com/prometheus/client_golang/prometheus"

// metrics are the metrics of the backfill.
type metrics struct {
	share, inflight, peers, swarmPeers               prometheus.Gauge
	accounts, slots, codes, nodes, bytes, swarmBytes prometheus.Counter
	restarts, discarded, discardedBytes              prometheus.Counter
	requests                                         *prometheus.CounterVec   // kind, result
	took                                             *prometheus.HistogramVec // kind
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "beam_backfill_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "beam_backfill_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		share:      gauge("share", "Part of the state that is there, estimated by its leaves, 0 to 1. It does not fall."),
		inflight:   gauge("inflight_requests", "Requests of the backfill in flight."),
		peers:      gauge("peers", "Peers that may serve ranges."),
		swarmPeers: gauge("swarm_peers", "Other Sunbeam nodes that have some of the state or collect it."),
		accounts:   counter("accounts_total", "Accounts received, or visited because something had changed."),
		slots:      counter("slots_total", "Storage slots received, or visited because something had changed."),
		codes:      counter("codes_total", "Contract codes received."),
		nodes:      counter("nodes_total", "Trie nodes written."),
		bytes:      counter("bytes_total", "Bytes of leaves and proofs received."),
		swarmBytes: counter("swarm_bytes_total", "Bytes of leaves, proofs and codes received from other Sunbeam nodes."),
		restarts:   counter("restarts_total", "Restarts of the walk with a newer root."),

		discarded:      counter("discarded_responses_total", "Responses that were true but of no use: samples of peers that had served nothing yet, or too late."),
		discardedBytes: counter("discarded_bytes_total", "Bytes of the responses in beam_backfill_discarded_responses_total."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_backfill_requests_total", Help: "Finished requests of the backfill.",
		}, []string{"kind", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "beam_backfill_request_seconds", Help: "Time from a request of the backfill to its response.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 12), // 5 ms to 10 s
		}, []string{"kind"}),
	}
	reg.MustRegister(m.requests, m.took)
	return m
}
