// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import "github.com/prometheus/client_golang/prometheus"

// What a consensus client got when it asked for a payload.
const (
	deliveredFull    = "full"    // with transactions
	deliveredEmpty   = "empty"   // without
	deliveredNothing = "nothing" // the state of the empty block was missing
	deliveredUnknown = "unknown" // no payload has the ID
)

type metrics struct {
	started       prometheus.Counter
	delivered     *prometheus.CounterVec
	leftOut       prometheus.Counter
	roundSeconds  prometheus.Histogram
	verifySeconds prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	buckets := []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5}
	m := &metrics{
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_payloads_started_total", Help: "Payloads that a consensus client asked to build.",
		}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_payloads_delivered_total",
			Help: "Requests for built payloads, by what was returned: full, empty, nothing or unknown.",
		}, []string{"payload"}),
		leftOut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_payload_left_out_total", Help: "Transactions that a round of building left out because their state was not local.",
		}),
		roundSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "beam_payload_round_seconds", Help: "Time to build one block with transactions.", Buckets: buckets,
		}),
		verifySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "beam_payload_verify_seconds", Help: "Time to execute a built block again to verify it.", Buckets: buckets,
		}),
	}
	for _, kind := range []string{deliveredFull, deliveredEmpty, deliveredNothing, deliveredUnknown} {
		m.delivered.WithLabelValues(kind)
	}
	if registerer != nil {
		registerer.MustRegister(m.started, m.delivered, m.leftOut, m.roundSeconds, m.verifySeconds)
	}
	return m
}
