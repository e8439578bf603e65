// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import "github.com/prometheus/client_golang/prometheus"

// How a block of the past was used; values of a label.
const (
	usedRead     = "read"     // its mentions were counted
	usedReplayed = "replayed" // it was executed again
	usedListed   = "listed"   // its access list told what it touched
	usedFailed   = "failed"   // neither was possible
)

// metrics are the metrics of a Warmup.
type metrics struct {
	blocks    *prometheus.CounterVec // used
	addresses prometheus.Counter
	bytes     prometheus.Counter
	pauses    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		blocks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_warmup_blocks_total", Help: "Blocks below the first executed one that the warm-up read, replayed or took the access list of.",
		}, []string{"used"}),
		addresses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_warmup_addresses_total", Help: "Accounts that the warm-up has requested with their code.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_warmup_bytes_total", Help: "Bytes of trie nodes and codes that the warm-up fetched.",
		}),
		pauses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_warmup_pauses_total", Help: "How often the warm-up stopped for a block.",
		}),
	}
	for _, used := range []string{usedRead, usedReplayed, usedListed, usedFailed} {
		m.blocks.WithLabelValues(used)
	}
	if reg != nil {
		reg.MustRegister(m.blocks, m.addresses, m.bytes, m.pauses)
	}
	return m
}
