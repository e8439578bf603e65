package p2p

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

// statelessSlack is by how many peers without snap those with it may be outnumbered: we
// live on state, so that others must not take all the places (go-ethereum's value).
const statelessSlack = 5

// spokenEth are the versions of eth that we offer, in order.
func spokenEth() []uint { return slices.Sorted(maps.Keys(ethVersions)) }

// runsSnap says whether both ends of a connection speak snap/1.
func runsSnap(gp *gethp2p.Peer) bool {
	return gp.RunningCap(snap.ProtocolName, []uint{snap.SNAP1})
}

// protocols are what the server offers and how it runs a connection.
func (h *Host) protocols(ctx context.Context, candidates enode.Iterator) []gethp2p.Protocol {
	protocols := []gethp2p.Protocol{{
		Name: snap.ProtocolName, Version: snap.SNAP1, Length: snapLength,
		Run:        func(gp *gethp2p.Peer, rw gethp2p.MsgReadWriter) error { return h.runSnap(ctx, gp, rw) },
		NodeInfo:   func() any { return &snap.NodeInfo{} },
		PeerInfo:   h.snapInfo,
		Attributes: []enr.Entry{&snapENR{}},
	}}
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

// runEth runs a connection from its eth side, once snap is there too if it was agreed on.
func (h *Host) runEth(ctx context.Context, gp *gethp2p.Peer, rw gethp2p.MsgReadWriter, version uint) error {
	meeting := h.meetings.of(gp)
	defer h.meetings.end(gp)
	link := Link{
		ID: gp.ID().String(), Version: version, Eth: rw,
		Close: func(reason gethp2p.DiscReason) { gp.Disconnect(reason) },
	}
	if runsSnap(gp) {
		select {
		case link.Snap = <-meeting.snap: // both sides are started at the same time
		case <-ctx.Done():
			return gethp2p.DiscQuitting
		}
	}
	if link.Snap == nil && !gp.Trusted() && !gp.StaticDialed() && h.manyStateless() {
		return gethp2p.DiscTooManyPeers
	}
	err := NewPeer(link, h.peerCfg).Run(ctx)
	h.log.Debug("Connection over", "peer", fmt.Sprintf("%.16s", link.ID), "name", gp.Fullname(), "err", err)
	return err
}

// runSnap lends the snap side of a connection to its eth side.
func (h *Host) runSnap(ctx context.Context, gp *gethp2p.Peer, rw gethp2p.MsgReadWriter) error {
	if !gp.RunningCap(eth.ProtocolName, spokenEth()) {
		return gethp2p.DiscUselessPeer
	}
	meeting := h.meetings.of(gp)
	meeting.snap <- rw
	select {
	case <-meeting.done:
	case <-ctx.Done():
	}
	return nil
}

func (h *Host) manyStateless() bool {
	var with, without int
	for _, p := range h.Peers() {
		if p.ServesState() {
			with++
		} else {
			without++
		}
	}
	return without > with+statelessSlack
}

// meetings pair the two protocols of a connection, which the server runs in two
// goroutines.
type meetings struct {
	mu   sync.Mutex
	open map[*gethp2p.Peer]*meeting
}

type meeting struct {
	snap chan gethp2p.MsgReadWriter // capacity 1
	done chan struct{}              // closed when the eth side is over
}

func (m *meetings) of(gp *gethp2p.Peer) *meeting {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = make(map[*gethp2p.Peer]*meeting)
	}
	if m.open[gp] == nil {
		m.open[gp] = &meeting{snap: make(chan gethp2p.MsgReadWriter, 1), done: make(chan struct{})}
	}
	return m.open[gp]
}

func (m *meetings) end(gp *gethp2p.Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.open[gp].done)
	delete(m.open, gp)
}
