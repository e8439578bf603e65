// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import gethp2p "github.com/ethereum/go-ethereum/p2p"

// statelessSlack is how many more peers without state the node accepts than peers that serve
// state. Beam Sync depends on the latter, so they must find free slots (go-ethereum's value).
const statelessSlack = 5

// MakeRoom disconnects a useless peer if another one could take its slot, and reports whether
// it did. It keeps static and trusted peers, and other Sunbeam nodes: they may have no state yet
// but collect it.
func (h *Host) MakeRoom(id string) bool {
	p := h.peer(id)
	if p == nil || p.link.Pinned || p.link.Beam != nil || !h.slotsTaken(p) {
		return false
	}
	p.fail(gethp2p.DiscUselessPeer)
	return true
}

func (h *Host) tooManyStateless() bool {
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

// dialShare is the part of all slots that the server fills by dialing: one in three
// (go-ethereum's default).
const dialShare = 3

// slotsTaken reports whether all slots that another peer could take instead of p are taken. Nobody dials into the slots that are
// left for dialing, so an inbound peer's slot is one of the others.
func (h *Host) slotsTaken(p *Peer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	dialed, inbound := 0, 0
	for _, other := range h.peers {
		switch {
		case other.link.Pinned:
		case other.link.Dialed:
			dialed++
		default:
			inbound++
		}
	}
	dialSlots := max(h.cfg.MaxPeers/dialShare, 1)
	return len(h.peers) >= h.cfg.MaxPeers || p.link.Dialed && dialed >= dialSlots || !p.link.Dialed && inbound >= h.cfg.MaxPeers-dialSlots
}
