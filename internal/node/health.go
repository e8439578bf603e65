// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"fmt"
	"strings"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/internal/health"
)

const (
	// silentAfter is how long the consensus client may send nothing before a node is not ready: five slots.
	silentAfter = time.Minute
	// staleAfter is how old the head of a public network may be: ten slots, more than are missed in a row.
	staleAfter = 2 * time.Minute
)

// public says whether the network is one that --network names, with a block in nearly every slot.
func (n *Node) public() bool { return knownNetwork(n.network.name) != nil }

// health says whether the node works. It is called at each request of a monitor, and waits for nothing. What
// [importer.Readiness] says comes first; the rest is what makes it doubtful that it stays true. The age of the head and
// the number of peers say nothing on a network of one's own, where blocks come when somebody wants one.
func (n *Node) health() health.Report {
	ready := n.importer.Readiness()
	report := health.Report{Live: n.stalled(), Head: ready.Head, Target: ready.Target}
	report.Add("head", ready.Reason)
	vitals := n.importer.Vitals()
	report.Add("client", clientTrouble(vitals, n.driver()))
	report.Add("disk", n.disk.Trouble())
	if n.public() {
		report.Add("age", ageTrouble(ready, vitals))
		report.Add("peers", n.peerTrouble())
	}
	return report
}

// driver is who chooses the head: the beacon node of --beacon.api, whose light client is our own, or else a consensus client.
func (n *Node) driver() string {
	if len(n.cfg.Beacon.API) > 0 {
		return "beacon API " + strings.Join(withoutCredentials(n.cfg.Beacon.API), ", ")
	}
	return "consensus client"
}

func clientTrouble(vitals importer.Vitals, driver string) string {
	switch silence := vitals.Silence.Round(time.Second); {
	case silence <= silentAfter:
		return ""
	case !vitals.Called:
		return fmt.Sprintf("the %s sent nothing since the start %v ago", driver, silence)
	default:
		return fmt.Sprintf("the %s sent nothing for %v", driver, silence)
	}
}

func ageTrouble(ready importer.Readiness, vitals importer.Vitals) string {
	switch {
	case ready.NoHead:
		return "no block was executed yet"
	case vitals.HeadAge <= staleAfter:
		return ""
	}
	return fmt.Sprintf("the head is %v old", vitals.HeadAge.Round(time.Second))
}

// peerTrouble says what peers do not give that the node needs: state while it beams, otherwise a connection.
func (n *Node) peerTrouble() string {
	peers, able := n.countPeers()
	switch {
	case peers == 0:
		return "no peers"
	case n.full() != nil || n.fetcher.Serving() > 0:
		return ""
	case able == 0:
		return fmt.Sprintf("none of %d peers has state", peers)
	case n.fetcher.Waiting():
		return fmt.Sprintf("none of %d peers has served state yet", peers)
	}
	return ""
}

// countPeers returns how many peers are connected, and how many of them have a protocol for state.
func (n *Node) countPeers() (peers, able int) {
	for _, peer := range n.host.Peers() {
		peers++
		if peer.ServesState() || peer.ServesNodeData() {
			able++
		}
	}
	return peers, able
}
