// SPDX-License-Identifier: LGPL-3.0-or-later

package metrics

import "github.com/prometheus/client_golang/prometheus"

// EIP2159 has the values of the metrics that EIP-2159 defines for all clients. The functions
// are called at each scrape and must not block.
type EIP2159 struct {
	Height    func() uint64 // canonical head, as eth_blockNumber
	BestKnown func() uint64 // highest block available anywhere, the head if synced
	Peers     func() int    // connected peers, as net_peerCount
	PeerLimit int
}

// Register adds the metrics to a registry. Names and kinds are EIP-2159's.
func (c EIP2159) Register(registerer prometheus.Registerer) error {
	gauges := []struct {
		name, help string
		value      func() float64
	}{
		{"ethereum_blockchain_height", "The current height of the canonical chain.", func() float64 { return float64(c.Height()) }},
		{"ethereum_best_known_block_number", "The estimated highest block available.", func() float64 { return float64(max(c.BestKnown(), c.Height())) }},
		{"ethereum_peer_count", "The current number of peers connected.", func() float64 { return float64(c.Peers()) }},
		{"ethereum_peer_limit", "The maximum number of peers this node allows to connect.", func() float64 { return float64(c.PeerLimit) }},
	}
	for _, g := range gauges {
		if err := registerAll(registerer, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value)); err != nil {
			return err
		}
	}
	return nil
}
