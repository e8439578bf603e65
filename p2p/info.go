// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// EthInfo is the eth entry of a peer in admin_peers: go-ethereum's fields and our own.
type EthInfo struct {
	Version    uint        `json:"version"`
	Earliest   uint64      `json:"earliestBlock"`
	Latest     uint64      `json:"latestBlock"`
	LatestHash common.Hash `json:"latestBlockHash"`
	Latency    string      `json:"latency,omitempty"` // moving average, such as "31ms"
}

// SatelliteInfo is the entry of snap, wit and beam in admin_peers and admin_nodeInfo.
type SatelliteInfo struct {
	Version uint `json:"version"`
}

// PeersInfo is the result of admin_peers: all connections, including those in the handshake.
func (h *Host) PeersInfo() []*gethp2p.PeerInfo {
	if server := h.running(); server != nil {
		return server.PeersInfo()
	}
	return []*gethp2p.PeerInfo{}
}

// NodeInfo is the result of admin_nodeInfo.
func (h *Host) NodeInfo() *gethp2p.NodeInfo {
	if server := h.running(); server != nil {
		return server.NodeInfo()
	}
	self := h.Self()
	return &gethp2p.NodeInfo{Name: h.cfg.Name, ID: self.ID().String(), Enode: self.URLv4(), Protocols: map[string]any{eth.ProtocolName: h.ethInfo()}}
}

func (h *Host) ethInfo() any {
	return &eth.NodeInfo{
		Network: h.cfg.NetworkID,
		Genesis: h.cfg.Chain.Genesis().Hash(),
		Config:  h.cfg.Chain.Config(),
		Head:    h.cfg.Chain.CurrentHeader().Hash(),
	}
}

// peerInfo and satelliteInfo return nil, which means "handshake", before the peer has joined.
func (h *Host) peerInfo(id enode.ID) any {
	p := h.peer(id.String())
	if p == nil {
		return nil
	}
	info := &EthInfo{Version: p.Version(), Earliest: p.Earliest()}
	info.Latest, info.LatestHash = p.Head()
	if latency := p.Latency(); latency > 0 {
		info.Latency = latency.Round(100_000).String() // to 0.1 ms
	}
	return info
}

func (h *Host) satelliteInfo(id enode.ID, version uint) any {
	if h.peer(id.String()) == nil {
		return nil
	}
	return &SatelliteInfo{Version: version}
}
