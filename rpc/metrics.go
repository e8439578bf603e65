// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are this package's. The duration of each method is in go-ethereum's registry (rpc_duration_*).
type metrics struct {
	engineRequests    *prometheus.CounterVec // by method and status
	blobs             *prometheus.CounterVec // by result
	stateQueries      *prometheus.CounterVec // by outcome
	stateQuerySeconds prometheus.Histogram

	subscriptions   prometheus.Gauge
	filters         prometheus.Gauge
	slowConnections prometheus.Counter
	limitExceeded   *prometheus.CounterVec // by limit
}

// Limits that a request can exceed.
const (
	limitSubscriptions = "subscriptions" // open on a connection or on the node
	limitFilters       = "filters"       // open on the node
	limitLogs          = "logs"          // in one response
	limitFetches       = "fetches"       // of state from peers, by a call or a caller
)

// Results of a request for a blob.
const (
	blobsFound   = "found"
	blobsMissing = "missing" // not in the pool
)

// Outcomes of a state query.
const (
	outcomeOK          = "ok"          // a result, or an error of the request itself
	outcomeUnavailable = "unavailable" // state could not be fetched
	outcomeBusy        = "busy"        // no slot within the timeout
)

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		engineRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_engine_requests_total",
			Help: "newPayload and forkchoiceUpdated requests, by method and returned payload status.",
		}, []string{"method", "status"}),
		blobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_engine_blobs_total",
			Help: "Blobs that the consensus client requested by getBlobs, by result: found, missing (not in the pool).",
		}, []string{"result"}),
		stateQueries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_rpc_state_queries_total",
			Help: "JSON-RPC state queries by outcome: ok (a result, or an error of the request itself), unavailable (state could not be fetched), busy (too many concurrent queries).",
		}, []string{"outcome"}),
		stateQuerySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "beam_rpc_state_query_seconds",
			Help:    "Duration of JSON-RPC state queries, including the fetches of missing state.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_rpc_subscriptions",
			Help: "Open subscriptions of all connections. One with many addresses and topics counts as several.",
		}),
		filters: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_rpc_filters",
			Help: "Open filters that clients poll. One with many addresses and topics counts as several.",
		}),
		slowConnections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_rpc_slow_connections_total",
			Help: "Connections closed because their client did not keep up with head events.",
		}),
		limitExceeded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_rpc_limit_exceeded_total",
			Help: "JSON-RPC requests refused by a limit: subscriptions (open), filters (open), logs (in one response), fetches (of state from peers, by a call or a caller).",
		}, []string{"limit"}),
	}
	if registerer != nil {
		registerer.MustRegister(m.engineRequests, m.blobs, m.stateQueries, m.stateQuerySeconds,
			m.subscriptions, m.filters, m.slowConnections, m.limitExceeded)
	}
	return m
}

func (m *metrics) observeStateQuery(outcome string, start time.Time) {
	m.stateQueries.WithLabelValues(outcome).Inc()
	m.stateQuerySeconds.Observe(time.Since(start).Seconds())
}
