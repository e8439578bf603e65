package p2p

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

// statelessSlack is by how many peers without state that serve it may be outnumbered: we
// live on state, so that others must not take all the places (go-ethereum's value).
const statelessSlack = 5

// spokenEth are the versions of eth that we offer, in order.
func spokenEth() []uint { return slices.Sorted(maps.Keys(ethVersions)) }

// runBy says whether both ends of a connection speak the protocol.
func (s satellite) runBy(gp *gethp2p.Peer) bool { return gp.RunningCap(s.name, []uint{s.version}) }

// protocols are what the server offers and how it runs a connection.
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
	for _, version := range spokenEth() {
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

// runEth runs a connection from its eth side, once the satellites that were agreed on are
// there too.
func (h *Host) runEth(ctx context.Context, gp *gethp2p.Peer, rw gethp2p.MsgReadWriter, version uint) error {
	meeting := h.meetings.of(gp)
	defer h.meetings.end(gp)
	link := Link{
		ID: gp.ID().String(), Version: version, Dialed: !gp.Inbound(), Kept: gp.StaticDialed() || gp.Trusted(), Eth: rw,
		Close: func(reason gethp2p.DiscReason) { gp.Disconnect(reason) },
	}
	for _, s := range satellites {
		if !s.runBy(gp) {
			continue
		}
		select {
		case *link.slot(s.protocol) = <-meeting.streams[s.protocol]: // all are started at the same time
		case <-ctx.Done():
			return gethp2p.DiscQuitting
		}
	}
	if link.Snap == nil && version != eth66 && !link.Kept && h.manyStateless() {
		return gethp2p.DiscTooManyPeers
	}
	err := NewPeer(link, h.peerCfg).Run(ctx)
	h.log.Debug("Connection over", "peer", fmt.Sprintf("%.16s", link.ID), "name", gp.Fullname(), "err", err)
	return err
}

// runSatellite lends a satellite's side of a connection to its eth side.
func (h *Host) runSatellite(ctx context.Context, proto protocol, gp *gethp2p.Peer, rw gethp2p.MsgReadWriter) error {
	if !gp.RunningCap(eth.ProtocolName, spokenEth()) {
		return gethp2p.DiscUselessPeer
	}
	meeting := h.meetings.of(gp)
	meeting.streams[proto] <- rw
	select {
	case <-meeting.done:
	case <-ctx.Done():
	}
	return nil
}

func (h *Host) manyStateless() bool {
	var with, without int
	for _, p := range h.Peers() {
		if p.ServesState() || p.ServesNodeData() {
			with++
		} else {
			without++
		}
	}
	return without > with+statelessSlack
}

// dialShare is the part of all places that are filled by dialing, one in so many (go-ethereum's default).
const dialShare = 3

// crowded says whether all places are taken that another peer could have instead of p.
func (h *Host) crowded(p *Peer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	dialed := 0
	for _, other := range h.peers {
		if other.link.Dialed && !other.link.Kept {
			dialed++
		}
	}
	return len(h.peers) >= h.cfg.MaxPeers || p.link.Dialed && dialed >= max(h.cfg.MaxPeers/dialShare, 1)
}

// meetings bring the protocols of a connection together, which the server runs in a
// goroutine each.
type meetings struct {
	mu   sync.Mutex
	open map[*gethp2p.Peer]*meeting
}

type meeting struct {
	streams [protocolCount]chan gethp2p.MsgReadWriter // of the satellites; capacity 1
	done    chan struct{}                             // closed when the eth side is over
}

func (m *meetings) of(gp *gethp2p.Peer) *meeting {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = make(map[*gethp2p.Peer]*meeting)
	}
	if m.open[gp] == nil {
		fresh := &meeting{done: make(chan struct{})}
		for _, s := range satellites {
			fresh.streams[s.protocol] = make(chan gethp2p.MsgReadWriter, 1)
		}
		m.open[gp] = fresh
	}
	return m.open[gp]
}

func (m *meetings) end(gp *gethp2p.Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.open[gp].done)
	delete(m.open, gp)
}
