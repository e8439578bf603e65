// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

// offeredEth lists the offered versions of eth in order.
func offeredEth() []uint { return slices.Sorted(maps.Keys(ethVersions)) }

// agreed reports whether both ends of a connection support the protocol.
func (s satellite) agreed(gp *gethp2p.Peer) bool { return gp.RunningCap(s.name, []uint{s.version}) }

// protocols lists what the server offers, with the functions that run a connection.
func (h *Host) protocols(ctx context.Context, candidates enode.Iterator) []gethp2p.Protocol {
	var protocols []gethp2p.Protocol
	for _, s := range satellites {
		offer := gethp2p.Protocol{
			Name: s.name, Version: s.version, Length: s.length,
			Run: func(gp *gethp2p.Peer, rw gethp2p.MsgReadWriter) error {
				return h.runSatellite(ctx, s.protocol, gp, rw)
			},
			NodeInfo: func() any { return &SatelliteInfo{Version: s.version} },
			PeerInfo: func(id enode.ID) any { return h.satelliteInfo(id, s.version) },
		}
		switch {
		case s.protocol == protoSnap:
			offer.Attributes = []enr.Entry{&snapENR{}}
		case h.cfg.Witnesses == nil && (s.protocol != protoBeam || h.cfg.Data == nil && h.cfg.Swarm == nil):
			continue
		}
		protocols = append(protocols, offer)
	}
	for _, version := range offeredEth() {
		protocols = append(protocols, gethp2p.Protocol{
			Name: eth.ProtocolName, Version: version, Length: ethVersions[version],
			Run: func(gp *gethp2p.Peer, rw gethp2p.MsgReadWriter) error {
				return h.runEth(ctx, gp, rw, version)
			},
			NodeInfo:       h.ethInfo,
			PeerInfo:       h.peerInfo,
			DialCandidates: candidates,
			Attributes:     []enr.Entry{forkEntry(h.cfg.Chain)},
		})
	}
	return protocols
}

// runEth runs a connection on the goroutine of its eth protocol, once the streams of the
// agreed satellites have arrived.
func (h *Host) runEth(ctx context.Context, gp *gethp2p.Peer, rw gethp2p.MsgReadWriter, version uint) error {
	pending := h.pendingLinks.of(gp)
	defer h.pendingLinks.end(gp)
	link := Link{
		ID: gp.ID().String(), Version: version, Name: gp.Fullname(), Dialed: !gp.Inbound(), Pinned: gp.StaticDialed() || gp.Trusted(), Eth: rw,
		Close: func(reason gethp2p.DiscReason) { gp.Disconnect(reason) },
	}
	for _, s := range satellites {
		if !s.agreed(gp) {
			continue
		}
		select {
		case *link.slot(s.protocol) = <-pending.streams[s.protocol]: // the server starts all protocols at the same time
		case <-ctx.Done():
			return gethp2p.DiscQuitting
		}
	}
	if link.Snap == nil && version != eth66 && !link.Pinned && h.tooManyStateless() {
		return gethp2p.DiscTooManyPeers
	}
	err := NewPeer(link, h.peerCfg).Run(ctx)
	h.reportStrange(&link, err, time.Now())
	h.log.Debug("Connection closed", "peer", fmt.Sprintf("%.16s", link.ID), "name", gp.Fullname(), "err", err)
	return err
}

// runSatellite hands a satellite's stream to runEth and waits until that returns.
func (h *Host) runSatellite(ctx context.Context, proto protocol, gp *gethp2p.Peer, rw gethp2p.MsgReadWriter) error {
	if !gp.RunningCap(eth.ProtocolName, offeredEth()) {
		return gethp2p.DiscUselessPeer
	}
	pending := h.pendingLinks.of(gp)
	pending.streams[proto] <- rw
	select {
	case <-pending.done:
	case <-ctx.Done():
	}
	return nil
}
