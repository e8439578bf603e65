// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/internal/page"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

// newPage makes the server of the status page, if it is wanted.
func (n *Node) newPage() {
	c := &n.cfg.Page
	if c.Enabled {
		n.page = page.NewServer(page.Config{Addr: hostPort(c.Addr, c.Port), VHosts: c.VHosts, State: n.pageState, Log: n.log})
	}
}

// pageState is what the status page shows. It is called once a second while somebody looks, and waits for nothing.
func (n *Node) pageState() page.State {
	status := beam{n}.status()
	s := page.State{
		Version: Version(), Network: status.Network, Phase: status.Phase, Ready: status.Ready, Waits: waits(&status),
		Head: status.Head, Newest: status.Newest,
		History: page.History{Share: status.History.Share, Oldest: status.Oldest, ETA: status.History.ETA},
		Totals:  page.Totals{Valid: status.Totals.Valid, Invalid: status.Totals.Invalid, Incomplete: status.Totals.Incomplete},
		Disk:    page.Disk{Hot: status.HotBytes, Free: n.disk.FreeBytes(), Stores: pageStores(n.disk.Sizes()), LogIndex: status.LogIndex.Bytes},
		Blocks:  n.pageBlocks(), Peers: n.pagePeers(),
	}
	if status.Backfill != nil {
		s.Backfill = pageBackfill(status.Backfill, n.backfill.Have())
	}
	return s
}

// pageStores are the sizes of stores that are not empty, the largest first.
func pageStores(sizes map[string]uint64) []page.Store {
	stores := []page.Store{}
	for name, bytes := range sizes {
		if bytes > 0 {
			stores = append(stores, page.Store{Name: name, Bytes: bytes})
		}
	}
	slices.SortFunc(stores, func(a, b page.Store) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name)) })
	return stores
}

// waits says in words what the node and its parts wait for.
func waits(s *beamStatus) (words []string) {
	add := func(text string) {
		if text != "" {
			words = append(words, strings.ToUpper(text[:1])+text[1:]+".")
		}
	}
	add(s.Reason)
	if w := s.Waiting; w != nil && (w.Number > 0 || s.Checks["client"].OK) { // its silence is a reason already
		text := "waiting for the " + w.For
		if w.Number > 0 {
			text = fmt.Sprintf("block %d waits for %s", w.Number, w.For)
		}
		add(fmt.Sprintf("%s since %v", text, time.Since(w.Since).Round(time.Second)))
	}
	if s.Backfill != nil && s.Backfill.Waiting != "" {
		add("the rest of the state waits " + s.Backfill.Waiting)
	}
	return words
}

func pageBackfill(p *backfill.Progress, have backfill.Have) *page.Backfill {
	b := &page.Backfill{
		Share: p.Share, ETA: p.ETA.Seconds(), ETALow: p.ETALow.Seconds(), ETAHigh: p.ETAHigh.Seconds(), Rate: p.Rate, Bytes: p.Bytes, Remaining: p.Remaining,
		Accounts: p.Accounts, Slots: p.Slots, Codes: p.Codes, Restarts: p.Restarts,
		Map: common.Bytes2Hex(have.Accounts[:]), Large: []page.Contract{},
	}
	for i, account := range have.Large {
		b.Large = append(b.Large, page.Contract{Account: account.Hex(), Map: common.Bytes2Hex(have.LargeSlices[i][:])})
	}
	return b
}

func (n *Node) pageBlocks() []page.Block {
	blocks := []page.Block{}
	for _, r := range n.importer.Recent() {
		blocks = append(blocks, page.Block{
			Number: r.Number, Hash: r.Hash.Hex(), Outcome: r.Outcome, Txs: r.Transactions, Gas: r.GasUsed,
			Millis: millis(r.Took), Waited: millis(r.Fetched.Wait), Guessed: millis(r.Speculated), Run: millis(r.Executed), Written: millis(r.Written),
			Faults: r.Fetched.Faults, Trips: r.Fetched.Trips, Nodes: r.Fetched.Nodes, Codes: r.Fetched.Codes, Bytes: r.Fetched.Bytes,
		})
	}
	return blocks
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (n *Node) pagePeers() []page.Peer {
	joined := make(map[string]*p2p.Peer)
	for _, peer := range n.host.Peers() {
		joined[peer.ID()] = peer
	}
	peers := []page.Peer{}
	for _, connection := range n.host.PeersInfo() {
		peer := joined[connection.ID]
		if peer == nil {
			continue // in the handshake
		}
		head, _ := peer.Head()
		received, sent := peer.Traffic()
		peers = append(peers, page.Peer{
			ID: peer.ID(), Name: connection.Name, Inbound: connection.Network.Inbound, Head: head,
			Latency: millis(peer.Latency()), Gives: gives(peer, head), Received: received, Sent: sent,
		})
	}
	slices.SortFunc(peers, func(a, b page.Peer) int { return cmp.Or(cmp.Compare(b.Received, a.Received), cmp.Compare(a.ID, b.ID)) })
	return peers
}

// gives says in words what a peer can give.
func gives(peer *p2p.Peer, head uint64) []string {
	words := []string{fmt.Sprintf("blocks %d to %d", peer.Earliest(), head)}
	if peer.ServesState() {
		words = append(words, "state by ranges")
	}
	if peer.ServesNodeData() {
		words = append(words, "state by hash")
	}
	if peer.ServesSubtrees() {
		words = append(words, "parts of the state (Sunbeam)")
	}
	return words
}
