// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"time"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the package's counters, shared by all peers of a node.
type Metrics struct {
	received       [messageCount]prometheus.Counter // bytes by message, before compression
	sent           [messageCount]prometheus.Counter
	requests       *prometheus.CounterVec   // by message and outcome
	seconds        *prometheus.HistogramVec // by message
	served         *prometheus.CounterVec   // by message
	items          *prometheus.CounterVec   // by message
	empty          *prometheus.CounterVec   // by message
	protocolErrors *prometheus.CounterVec   // by kind
	dropped        prometheus.Counter       // gossip dropped because the queue was full
	rateLimited    prometheus.Counter       // requests delayed by the rate limit of their peer
	eth            prometheus.Gauge
	snap           prometheus.Gauge
}

// Outcomes of a request, as beam_p2p_requests_total labels them.
const (
	outcomeOK        = "ok"
	outcomeCancelled = "cancelled"
	outcomeGone      = "gone"
)

// NewMetrics registers the package's metrics. reg may be nil.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	bytes := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"message"})
	}
	received := bytes("beam_p2p_received_bytes_total", "Payload bytes received from peers, by message.")
	sent := bytes("beam_p2p_sent_bytes_total", "Payload bytes sent to peers, by message.")
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_p2p_requests_total", Help: "Requests to peers, by message and outcome.",
		}, []string{"message", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "beam_p2p_request_seconds", Help: "Time from sending a request to its response, by message.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"message"}),
		served: bytes("beam_p2p_served_total", "Requests of peers that were answered, by message."),
		items:  bytes("beam_p2p_served_items_total", "Items (headers, bodies, leaves, nodes, codes) sent in answers, by message of the request."),
		empty:  bytes("beam_p2p_served_empty_total", "Requests of peers that got an empty answer because the node lacks the data, by message."),
		rateLimited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_p2p_rate_limited_total", Help: "Requests of peers delayed because the peer exceeded its rate limit.",
		}),
		protocolErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_p2p_protocol_errors_total", Help: "Peers disconnected for a protocol error, by kind.",
		}, []string{"kind"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_p2p_dropped_gossip_total", Help: "Transaction messages dropped because the peer's queue was full.",
		}),
		eth: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_eth_peers", Help: "Connected peers.",
		}),
		snap: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_snap_peers", Help: "Connected peers that serve state (snap/1).",
		}),
	}
	for i := range message(messageCount) {
		m.received[i] = received.WithLabelValues(i.String())
		m.sent[i] = sent.WithLabelValues(i.String())
	}
	for k := range Kind(kindCount) {
		m.protocolErrors.WithLabelValues(k.String())
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{received, sent, m.requests, m.seconds, m.served, m.items, m.empty, m.protocolErrors, m.dropped, m.rateLimited, m.eth, m.snap} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// requested counts a request that has ended.
func (m *Metrics) requested(msg message, outcome string, took time.Duration) {
	m.requests.WithLabelValues(msg.String(), outcome).Inc()
	if outcome == outcomeOK {
		m.seconds.WithLabelValues(msg.String()).Observe(took.Seconds())
	}
}

// answered counts an answer to a peer and its items.
func (m *Metrics) answered(msg message, packet any) {
	m.served.WithLabelValues(msg.String()).Inc()
	if n := itemsIn(packet); n > 0 {
		m.items.WithLabelValues(msg.String()).Add(float64(n))
	} else {
		m.empty.WithLabelValues(msg.String()).Inc()
	}
}

// itemsIn counts the items of a reply without empty entries.
func itemsIn(packet any) (n int) {
	switch reply := packet.(type) {
	case *eth.BlockHeadersRLPPacket:
		return len(reply.BlockHeadersRLPResponse)
	case *eth.BlockBodiesRLPPacket:
		return len(reply.BlockBodiesRLPResponse)
	case *receiptsReply69:
		return len(reply.List)
	case *receiptsReply70:
		return len(reply.List)
	case *accessListsReply:
		for _, list := range reply.List {
			n += min(1, len(list)-1) // the empty string is one byte
		}
	case *eth.PooledTransactionsRLPPacket:
		return len(reply.PooledTransactionsRLPResponse)
	case *cellsReply:
		return len(reply.Hashes)
	case *snap.TrieNodesPacket:
		for _, node := range reply.Nodes {
			n += min(1, len(node))
		}
	case *nodeDataPacket:
		return len(reply.Blobs)
	case *snap.ByteCodesPacket:
		return len(reply.Codes)
	case *snap.AccountRangePacket:
		return len(reply.Accounts)
	case *snap.StorageRangesPacket:
		for _, slots := range reply.Slots {
			n += len(slots)
		}
	case *subtreesPacket:
		for _, leaves := range reply.Leaves {
			n += len(leaves)
		}
	case *witnessHashesPacket:
		return len(reply.Hashes)
	case *witnessKeysPacket:
		return min(1, len(reply.Keys)-1) // the empty list is one byte
	}
	return n
}

// joined and left update the peer gauges.
func (m *Metrics) joined(p *Peer) { m.count(p, 1) }
func (m *Metrics) left(p *Peer)   { m.count(p, -1) }

func (m *Metrics) count(p *Peer, by float64) {
	m.eth.Add(by)
	if p.ServesState() {
		m.snap.Add(by)
	}
}
