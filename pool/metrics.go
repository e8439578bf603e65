// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import "github.com/prometheus/client_golang/prometheus"

// What was dropped, a closed set of label values.
const (
	droppedIncoming = "incoming" // transactions: too many wait to be added
	droppedOutgoing = "outgoing" // transactions and announcements for a slow peer
)

type poolMetrics struct {
	accounts    prometheus.Counter
	unavailable prometheus.Counter
	dropped     *prometheus.CounterVec // what
}

// newMetrics registers the metrics; with a nil registerer they are not exported.
func newMetrics(reg prometheus.Registerer, stats func() (pending, queued int)) *poolMetrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	m := &poolMetrics{
		accounts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_pool_accounts_total", Help: "Accounts of senders read for the transaction pool.",
		}),
		unavailable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_pool_unavailable_total", Help: "Accounts of senders that could not be read in time.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_pool_dropped_total", Help: "Messages from peers, and transactions and announcements to peers, dropped because too many waited.",
		}, []string{"what"}),
	}
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "beam_pool_pending_transactions", Help: "Pooled transactions that can be executed now.",
	}, func() float64 { n, _ := stats(); return float64(n) })
	queued := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "beam_pool_queued_transactions", Help: "Pooled transactions that wait for earlier ones.",
	}, func() float64 { _, n := stats(); return float64(n) })
	reg.MustRegister(m.accounts, m.unavailable, m.dropped, pending, queued)
	return m
}
