// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// metrics are the metrics of a History.
type metrics struct {
	blocks    prometheus.Counter
	bytes     *prometheus.CounterVec // kind
	oldest    prometheus.Gauge
	remaining prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		blocks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_history_blocks_total", Help: "Blocks with receipts collected behind the first executed block.",
		}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_history_bytes_total", Help: "Bytes of headers, bodies and receipts collected behind the first executed block.",
		}, []string{"kind"}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_history_oldest_block", Help: "Number of the block from which on all blocks and receipts up to the head are held.",
		}),
		remaining: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_history_remaining_blocks", Help: "Blocks between the oldest one held and the lowest one wanted.",
		}),
	}
	for _, kind := range []string{peer.KindHeaders, peer.KindBodies, peer.KindReceipts} {
		m.bytes.WithLabelValues(kind)
	}
	if reg != nil {
		reg.MustRegister(m.blocks, m.bytes, m.oldest, m.remaining)
	}
	return m
}

// headersReceived counts headers.
func (m *metrics) headersReceived(headers []*types.Header) {
	for _, header := range headers {
		m.bytes.WithLabelValues(peer.KindHeaders).Add(float64(header.Size()))
	}
}
