// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// describe names the actions of a plan.
func describe(k knowledge) string {
	var names []string
	for _, a := range plan(k) {
		switch a.kind {
		case actWait:
			names = append(names, strings.TrimSpace(fmt.Sprintf("wait %v %s", a.at.Sub(k.now), a.reason)))
		case actAdvance:
			names = append(names, "advance")
		case actAskRange:
			names = append(names, "range from "+a.peer.ID())
		case actAskNodeData:
			names = append(names, "nodes from "+a.peer.ID())
		case actLookUp:
			names = append(names, "look up")
		case actStall:
			names = append(names, "stall "+a.reason)
		case actByNodes:
			names = append(names, fmt.Sprintf("by nodes since %v", a.at.Sub(k.now)))
		case actAskSwarm:
			names = append(names, "swarm")
		}
	}
	return strings.Join(names, ", ")
}

// TestPlan: what the walk does next, and in which order of preference.
func TestPlan(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a, b := &rangePeer{RangePeer: &rangeServer{id: "a"}}, &rangePeer{RangePeer: &rangeServer{id: "b"}}
	for _, test := range []struct {
		name string
		know func(k *knowledge) // changes: a range peer that is free
		want string
	}{
		{"a free range peer", func(*knowledge) {}, "advance, range from a, look up"},
		{"no more lookups", func(k *knowledge) { k.lookups = maxLookupCalls }, "advance, range from a"},
		{"another peer backs off", func(k *knowledge) { k.ranges.again = now.Add(time.Second) }, "wait 1s, advance, range from a, look up"},
		{"rate limit", func(k *knowledge) { k.rateWait = 2 * time.Second }, "wait 2s for the rate limit, advance, look up"},
		{"rate limit after a back-off", func(k *knowledge) { k.rateWait, k.ranges.again = 2*time.Second, now.Add(time.Second) }, "wait 2s for the rate limit, advance, look up"},
		{"rate limit, all windows are full", func(k *knowledge) { k.rateWait, k.ranges.peer, k.inFlight = time.Second, nil, 1 }, "advance, look up"},
		{"all windows are full", func(k *knowledge) { k.ranges.peer, k.inFlight = nil, 20 }, "advance, look up"},
		{"all windows are full, and no more lookups", func(k *knowledge) { k.ranges.peer, k.inFlight, k.lookups = nil, 20, maxLookupCalls }, ""},
		{"all peers back off", func(k *knowledge) { k.ranges = candidate{again: now.Add(time.Second)} }, "wait 1s, advance, look up, stall for the back-off of peers that failed"},
		{"all peers lack the state", func(k *knowledge) { k.ranges, k.emptyPeers = candidate{again: now.Add(time.Second)}, 1 }, "wait 1s, advance, look up, stall for a peer that has the state"},

		{"no peers", func(k *knowledge) { k.ranges.peer, k.rangePeers = nil, 0 }, "advance, look up, stall for peers, by nodes since 0s"},
		{"no peers, one node in flight", func(k *knowledge) { k.ranges.peer, k.rangePeers, k.inFlight, k.lookups = nil, 0, 1, 1 }, "advance, look up"},
		{"no peers for a while", func(k *knowledge) { k.ranges.peer, k.rangePeers, k.unservedSince = nil, 0, now.Add(-time.Second) }, "advance, stall for peers"},
		{"no peers for long", func(k *knowledge) { k.ranges.peer, k.rangePeers, k.unservedSince = nil, 0, now.Add(-rangeRetry-1) }, "advance, look up, stall for peers"},

		{"range and data peers", func(k *knowledge) { k.nodeData.peer, k.dataPeers = b, 1 }, "advance, range from a, nodes from b, look up"},
		{"data peers only", func(k *knowledge) { *k = knowledge{now: now, nodeData: candidate{peer: b}, dataPeers: 1} }, "advance, nodes from b, look up, stall for a peer that has the state"},
		{"data peers only, busy", func(k *knowledge) { *k = knowledge{now: now, dataPeers: 1, inFlight: 2} }, ""},
		{"data peers only, rate limit", func(k *knowledge) {
			*k = knowledge{now: now, nodeData: candidate{peer: b}, dataPeers: 1, rateWait: time.Second}
		}, "wait 1s for the rate limit"},
		{"the earlier back-off", func(k *knowledge) { k.ranges.again, k.nodeData.again = now.Add(2*time.Second), now.Add(time.Second) }, "wait 1s, advance, range from a, look up"},

		{"a block", func(k *knowledge) { k.yields, k.ranges.peer = true, nil }, "wait 20ms for a block that is being executed"},
		{"a block, and a peer far away", func(k *knowledge) { k.yields = true }, "advance, range from a"},
		{"a block, and a swarm", func(k *knowledge) { k.yields, k.divided = true, true }, "advance, range from a"},

		{"a swarm", func(k *knowledge) { k.divided = true }, "advance, range from a, look up, swarm"},
		{"a swarm at its limit", func(k *knowledge) { k.divided, k.swarmInFlight = true, maxSwarmRequests }, "advance, range from a, look up"},
		{"a swarm, rate limit", func(k *knowledge) { k.divided, k.rateWait = true, time.Second }, "wait 1s for the rate limit, advance, look up"},
		{"a swarm, all windows are full", func(k *knowledge) {
			k.divided, k.ranges.peer, k.inFlight, k.lookups = true, nil, 20, maxLookupCalls
		}, "advance, swarm"},
	} {
		k := knowledge{now: now, ranges: candidate{peer: a}, rangePeers: 1}
		test.know(&k)
		if got := describe(k); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
