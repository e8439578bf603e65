// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"cmp"
	"runtime"
	"strings"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/internal/metrics"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

// registerMetrics registers what belongs to no part of the node alone.
func (n *Node) registerMetrics(registerer prometheus.Registerer) error {
	head := func() uint64 { return n.chain.CurrentHeader().Number.Uint64() }
	standard := metrics.EIP2159{
		Height:    head,
		BestKnown: n.importer.Newest,
		Peers:     func() int { return len(n.host.Peers()) },
		PeerLimit: n.cfg.P2P.MaxPeers,
	}
	if err := standard.Register(registerer); err != nil {
		return err
	}
	number := func(header *types.Header) uint64 {
		if header == nil {
			return 0
		}
		return header.Number.Uint64()
	}
	heads := metrics.Heads{
		Block: head, Header: head, Receipt: head,
		Safe:      func() uint64 { return number(n.chain.Safe()) },
		Finalized: func() uint64 { return number(n.chain.Finalized()) },
		ChainID:   n.chain.Config().ChainID.String(),
	}
	if err := heads.Register(registerer); err != nil {
		return err
	}
	if err := metrics.RegisterProcess(registerer); err != nil {
		return err
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "beam_build_info", Help: "1; the labels say what runs.",
		ConstLabels: prometheus.Labels{
			"version": Version(), "commit": cmp.Or(commit(), "unknown"), "go": runtime.Version(), "go_ethereum": gethVersion(), "network": n.network.name,
		},
	}, func() float64 { return 1 })
	return cmp.Or(registerer.Register(build), registerer.Register(peerCounts{n.host.Peers, prometheus.NewDesc(
		"beam_peers", "Connected peers, by who opened the connection and by the client name that they give.", []string{"direction", "client"}, nil)}))
}

// peerCounts counts the peers at each scrape; it implements prometheus.Collector.
type peerCounts struct {
	peers func() []*p2p.Peer
	desc  *prometheus.Desc
}

// clients are the values of the label; a name is that of the first one that it contains.
var clients = []string{"geth", "nethermind", "besu", "erigon", "reth", "ethrex", "nimbus", "sunbeam", "other"} //nolint:gochecknoglobals // never written

func clientOf(name string) string {
	name = strings.ToLower(name)
	for _, client := range clients {
		if strings.Contains(name, client) {
			return client
		}
	}
	return "other"
}

// Describe implements prometheus.Collector.
func (c peerCounts) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector.
func (c peerCounts) Collect(metrics chan<- prometheus.Metric) {
	inbound, outbound := make(map[string]int), make(map[string]int)
	for _, peer := range c.peers() {
		if peer.Inbound() {
			inbound[clientOf(peer.Name())]++
		} else {
			outbound[clientOf(peer.Name())]++
		}
	}
	for _, client := range clients {
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(inbound[client]), "in", client)
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(outbound[client]), "out", client)
	}
}
