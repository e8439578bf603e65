// SPDX-License-Identifier: LGPL-3.0-or-later

// Package sched decides which want is requested from which peer, and when.
//
// It is a pure state machine. [Scheduler.Step] takes the time and one [Event] and returns
// the [Action] values to carry out. It starts no goroutine, reads no clock, sends nothing
// and logs nothing, and the same events always give the same actions. The caller is the
// shell around it: it sends the requests, verifies the replies, keeps the timer, and
// reports what happened as the next event.
//
// # Nouns
//
//   - A [Want] is the interest of a caller in one trie node, with the nodes below it on the
//     path to a key, or in one contract code. The scheduler knows its class, kind, state root
//     and cost. It does not know which node or code it is.
//   - A request is one exchange with one peer. It holds wants of one kind under one state
//     root. It is in flight from its [Send] until a reply, a failure or its deadline.
//   - A reply is useful if it satisfies a want, and empty if it holds no item. It is cut if
//     the limits of the server ended it early, and invalid if it holds an item that is wrong
//     or was not requested.
//   - A hedge is a request for wants that are in flight to another peer. A race is hedges to
//     several peers at once. A probe is a small hedge that tests a peer.
//   - A back-off keeps one peer from requests under one root for a while, because it served
//     nothing there. It is not a penalty: peers prune state, are busy, or lag by a block.
//   - An avoidance keeps one want from one peer for a while, because a request to the peer
//     did not satisfy it.
//   - A blame tells the caller that a peer misbehaved. The caller decides about a penalty.
//
// # The life of a want
//
//	WantAdded --> queued --Send--> in flight, 1 request --Send--> in flight, more requests
//	                 ^                      |                                |
//	                 +----------------------+--------------------------------+
//	                   no request left: each one failed, was empty or cut, or its peer left
//
// A want is forgotten when it is satisfied or cancelled, in any of these states. The
// scheduler itself never gives a want up: the want waits until a back-off or avoidance ends
// or a peer joins. Only the caller cancels it. A request whose wants are all forgotten stays
// in flight until it ends, because the peer is busy with it all the same.
//
// # Dispatch
//
// Higher classes are sent first: urgent, rpc, predictive, background. Lower classes leave a
// part of each peer's pipe free. Background wants are sent to no peer that has an urgent or
// rpc want in flight, to none at all while an urgent want waits for capacity, and to the
// fastest quarter of the trusted peers only if the others do not satisfy them.
//
// Wants are sent in the Step that queues them, as far as peers have capacity; they are not
// held back to fill a request. The wants of one class, kind and root form a batch. A batch is
// cut by cost into requests, which are spread over the trusted peers with the lowest
// expected time to reply. If the best peer has no capacity, its share waits for it.
//
// The window of a peer, its limit of requests in flight, is what keeps it busy for one round
// trip and what it serves in half a second more. So a batch takes one round trip even with
// one peer. The budget of a peer, its limit on the cost of a request, shrinks with a cut
// reply and grows with complete ones.
//
// # The life of a peer
//
// A peer is in one of five states, which tell how far it is trusted:
//
//	state       meaning                     is sent                       leaves by
//	----------  --------------------------  ----------------------------  ------------------------------
//	untried     no request to it has ended  races, probes, last resort    useful reply: trusted or slow
//	                                                                      timeout: timing out
//	                                                                      other end: probing
//	probing     served nothing yet, or its  races, probes, last resort    useful reply: trusted or slow
//	            score is too low                                          timeout: timing out
//	trusted     serves, in 1 s or less      queued wants, hedges; a       round trip above 1 s: slow
//	                                        probe if far from the best    score too low: probing
//	                                        and not measured for long     timeout: timing out
//	slow        serves, in more than 1 s    as trusted if no peer is      round trip of 1 s or less: trusted
//	                                        untried; otherwise probes,    score too low: probing
//	                                        last resort                   timeout: timing out
//	timing out  a request timed out since   races, probes, last resort    useful reply: trusted or slow
//	            its newest reply                                          other reply: back to trusted or
//	                                                                      slow if it served before and
//	                                                                      its score allows, or probing
//
// The score is the smoothed share of requests that were useful. Useful replies, empty replies
// without credit, broken exchanges and timeouts change it, and one useful reply lifts it to
// what a trusted peer needs. The round trip is smoothed too, so it may take several fast
// replies to leave slow.
//
// Last resort means: the peer is sent queued wants and hedges only if no trusted peer can be
// sent them, because there is none, or all back off under the root, lack the kind, or are
// avoided by the want.
//
// Probes go out in addition to requests to trusted peers. A peer has one at a time, at intervals that
// double from a second to a minute until it serves. So an unknown peer can show what it is
// worth, and no want depends on it.
//
// In addition to the state, which holds for the whole peer, three limits keep requests from it:
//
//	limit         holds for         is sent            ends by
//	------------  ----------------  -----------------  -------------------------------------------
//	back-off      one root          other roots        its time (250 ms, doubles up to 8 s), a useful
//	                                                   reply under the root, a newer head
//	unsupported   one kind          the other kind     a new connection
//	disconnected  the connection    nothing            PeerLeft, which follows
//
// A peer that served a root gives three empty replies under it without a back-off: it lacks
// the wants, not the root. A peer that sends an invalid reply is blamed once, and the
// scheduler forgets it as if it had left. Bans are the caller's: it reports no join of a banned peer.
//
// # Hedging
//
// An urgent or rpc want is hedged in three cases. Others are not.
//
//   - It is at a trusted peer, and the request is slow: longer in flight than 95 % of the
//     requests to that peer took, and a quarter more, or much longer than the fastest trusted
//     peer takes. The hedge goes to another trusted peer, up to three in all. The number of
//     such hedges in flight is bounded.
//   - It is at peers that are not trusted while another peer is. The hedge goes to the
//     trusted one as soon as the requests are slow, or at once if the request that the want
//     was queued for has failed and only hedges are left.
//   - No peer is trusted. The want is raced by two to six peers, fewer the more it costs. The
//     next peer replaces one that fails, until a reply is useful.
//
// The first useful reply satisfies the want. The other requests end by their own replies.
//
// # Invariants
//
// Each invariant is written at the field that it holds for. In tests, check verifies all of
// them after every Step: in scripts of events and expected actions (testdata), in random runs
// and in fuzzing. The ones to know:
//
//   - A want is in one queue or in at least one request, never in both.
//   - A want is in flight to a peer at most once.
//   - A request is in flight exactly if its peer counts it, and never past its deadline.
//   - A peer has at most its window of requests in flight when one is added.
//   - The state of a peer agrees with its score, round trip and served roots.
package sched
