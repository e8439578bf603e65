// Package sched decides which want goes to which peer, and when.
//
// It is a pure state machine: [Scheduler.Step] takes the time and one event and
// returns the actions to carry out. It starts no goroutine, reads no clock, sends
// and logs nothing, and the same events give the same actions. The fetcher of
// package beamsync is its shell.
//
// The nouns:
//
//   - A [Want] is interest in one trie node (with what hangs below it on the way to
//     a key) or one code. The scheduler knows its class, the state root that it is
//     asked under and its cost; not what it is.
//   - A request is one wire exchange with one peer: wants of one kind under one root.
//   - A peer is relied upon once it answered usefully, until it fails too often; not if it takes
//     long and there are others of which nothing is known.
//   - A hedge is a copy of a request in flight, to another peer, because that is slow. A race is
//     copies to several at once, while no peer is relied upon. A probe is a copy of a part of one,
//     to find out about a peer that is not.
//   - A back-off keeps a peer from being asked under one root for a while, because it
//     answered with nothing (or not at all) there. It is no verdict: peers are pruned,
//     overloaded or a block behind.
//   - An avoidance does the same for one want: the peer answered others beside it.
//
// A want's way:
//
//	WantAdded -> queued --Send--> in flight (1 request) --Hedge--> in flight (several requests)
//	               ^                  |                                |
//	               +-- failed, empty, cut, peer left (no request left) +
//	                                  |
//	                  satisfied or cancelled: forgotten
//
// Rules:
//
//   - Higher classes go first: urgent, rpc, predictive, background. Lower ones leave
//     part of every window free, and background takes no slot of a peer that an urgent
//     want waits for, nor of the fastest peers when there are others.
//   - Nothing waits for company. What is queued for one root and kind when a Step ends
//     goes out at once, cut by cost into as few requests as peers' budgets allow, to
//     the peers that are expected to answer first, and of these to those relied upon.
//   - A peer may have more requests in flight than keep it busy during a round trip: as many as
//     it works off in half a second, and no more than it has shown to bear. So a batch costs one
//     trip, also with one peer.
//   - Nobody waits for a peer of which nothing is known, or nothing good, where there is another.
//   - A want is never given up. It waits for a back-off to end or for a peer to join;
//     whoever asked decides when to cancel.
//   - A liar is blamed once and never asked again.
//   - A request that nobody waits for any longer keeps its slot until it is answered
//     or its deadline passes: the peer is busy with it all the same.
//
// Invariants are written at the fields that they hold for, and check verifies them.
package sched
