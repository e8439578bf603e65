// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"time"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// knowledge is the snapshot that a plan is made from.
type knowledge struct {
	now      time.Time
	yields   bool          // give way to a block that is being executed: see [walk.yields]
	rateWait time.Duration // until the rate limit admits a request; 0: it admits one now

	ranges   candidate // for a range
	nodeData candidate // for nodes by hash

	rangePeers    int       // connected peers that may serve ranges
	emptyPeers    int       // of these, the ones whose last answer for the target's root was empty
	dataPeers     int       // connected peers that serve nodes by hash and no ranges
	unservedSince time.Time // since when there is no range peer and the walk goes node by node; zero: that is not so

	inFlight      int  // needs of the walker
	lookups       int  // calls of StateSource
	divided       bool // the parts of the state are divided with swarm peers
	swarmInFlight int  // requests to swarm peers
}

// candidate is the peer that a request of one kind may go to.
type candidate struct {
	peer  *rangePeer // nil: none now
	again time.Time  // when the first back-off ends; zero: no peer backs off
}

// onlyNodeData says whether all peers serve nodes by hash and no ranges.
func (k *knowledge) onlyNodeData() bool { return k.rangePeers == 0 && k.dataPeers > 0 }

// actionKind is the kind of an [action].
type actionKind int

const (
	// actWait sets the timer to at. The reason, if there is one, is why requests are withheld.
	actWait actionKind = iota
	// actAdvance lets the walker visit local nodes and name what it needs.
	actAdvance
	// actAskRange offers peer for a range.
	actAskRange
	// actAskNodeData offers peer for nodes by hash.
	actAskNodeData
	// actLookUp offers StateSource for nodes and codes.
	actLookUp
	// actStall says why nothing is in flight. It applies if the walker needs nothing that is offered.
	actStall
	// actByNodes lets the walk go node by node from then on. It applies as actStall does.
	actByNodes
	// actAskSwarm requests delegated parts from a swarm peer. It applies after all others.
	actAskSwarm
)

// action is one thing to do next.
type action struct {
	kind   actionKind
	peer   *rangePeer // of actAskRange and actAskNodeData
	at     time.Time  // of actWait and actByNodes
	reason string     // of actWait and actStall
}

// serves says whether an action offers what a need asks for.
func (a action) serves(kind trie.NeedKind) bool {
	switch a.kind {
	case actAskRange:
		return kind != trie.NeedNodes && kind != trie.NeedCodes
	case actAskNodeData:
		return kind == trie.NeedNodes
	case actLookUp:
		return kind == trie.NeedNodes || kind == trie.NeedCodes
	}
	return false
}

// plan decides what the walk may do now. It is a pure function of the snapshot, and is good for one request: that
// changes what is known. The actions are in the order in which they are tried.
func plan(k knowledge) (actions []action) {
	if k.yields && k.ranges.peer == nil {
		return []action{{kind: actWait, at: k.now.Add(busyPoll), reason: "for a block that is being executed"}}
	}
	ranges, limited := k.limit(k.ranges)
	nodeData, alsoLimited := k.limit(k.nodeData)
	reason := ""
	if limited || alsoLimited {
		reason = "for the rate limit"
	}
	if at := earlier(ranges.again, nodeData.again); !at.IsZero() {
		actions = append(actions, action{kind: actWait, at: at, reason: reason})
	}
	lookups := k.mayLookUp(nodeData.peer != nil)
	if ranges.peer == nil && !lookups && k.unservedSince.IsZero() && !k.divided {
		return actions // the walker has local work only where requests would come of it
	}
	actions = append(actions, action{kind: actAdvance})
	if ranges.peer != nil {
		actions = append(actions, action{kind: actAskRange, peer: ranges.peer})
	}
	if lookups && nodeData.peer != nil {
		actions = append(actions, action{kind: actAskNodeData, peer: nodeData.peer})
	}
	if lookups {
		actions = append(actions, action{kind: actLookUp})
	}
	if reason == "" && ranges.peer == nil && k.inFlight == 0 {
		actions = append(actions, k.stall()...)
	}
	if k.divided && !k.yields && k.rateWait == 0 && k.swarmInFlight < maxSwarmRequests {
		actions = append(actions, action{kind: actAskSwarm})
	}
	return actions
}

// limit applies the rate limit to a candidate. limited says that it is what keeps the peer from being asked.
func (k *knowledge) limit(c candidate) (_ candidate, limited bool) {
	if c.peer == nil || k.rateWait == 0 {
		return c, false
	}
	return candidate{again: k.now.Add(k.rateWait)}, true
}

// mayLookUp says whether nodes and codes may be requested. If all peers serve nodes by hash and no ranges, nodes go to
// them only. If there are no peers at all, StateSource is asked for a first node, which finds a complete local state, and
// for more if that lasts.
func (k *knowledge) mayLookUp(nodeData bool) bool {
	switch {
	case k.yields || k.lookups >= maxLookupCalls:
		return false
	case k.onlyNodeData():
		return nodeData
	}
	return k.unservedSince.IsZero() || k.now.Sub(k.unservedSince) > rangeRetry
}

// stall finds out why nothing is in flight. Without peers that serve ranges, the walk goes node by node: that visits the
// local nodes, perhaps a whole state.
func (k *knowledge) stall() []action {
	switch {
	case k.onlyNodeData():
		return []action{{kind: actStall, reason: "for a peer that has the state"}}
	case k.rangePeers == 0 && k.unservedSince.IsZero():
		return []action{{kind: actStall, reason: "for peers"}, {kind: actByNodes, at: k.now}}
	case k.rangePeers == 0:
		return []action{{kind: actStall, reason: "for peers"}}
	case k.emptyPeers == k.rangePeers:
		return []action{{kind: actStall, reason: "for a peer that has the state"}}
	}
	return []action{{kind: actStall, reason: "for the back-off of peers that failed"}}
}

// earlier returns the earlier one of two times, of which zero ones do not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
