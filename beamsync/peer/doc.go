// SPDX-License-Identifier: LGPL-3.0-or-later

// Package peer is what the packages that send requests to peers have in common: the interfaces of
// a connection, the names of results, and the book of what peers did.
//
// # Nouns
//
//   - A [Peer] is one connection. A call of one of its methods is one wire request. It neither
//     retries nor verifies anything beyond the shape of the message: only the caller knows what
//     is true. [StatePeer], [DataPeer] and [ChainPeer] are the parts of it that single users need.
//   - A user is a package that sends requests: fetch (trie nodes, codes, headers, bodies, access
//     lists, and for history old bodies and receipts), backfill (ranges and subtrees), witness
//     (hints).
//   - The id of a peer names its node, not its connection: it is the devp2p node id, the hash of
//     the node's public key. It is the same after a reconnect.
//   - A penalty ([Blame]) is a record of misbehaviour with a reason. Only [BlameInvalid], which
//     takes a proof, has a ban as its consequence.
//   - A ban keeps a peer from all users for [BanTime]. If the operator named the peer, or nobody else serves what it
//     served, it begins with a minute and doubles.
//   - A back-off ([Backoff]) keeps a peer for a short time from requests that can wait. It is not
//     a penalty: honest peers are busy, prune, restart, and lose packets.
//   - An exclusion keeps a peer from one kind of request for as long as a ban lasts, because what
//     it said was of no use and cannot be proven wrong: a hint that names keys no block read.
//   - The [Book] holds bans, exclusions and back-offs by id. There is one in a node.
//
// # The way of a report
//
//	          Blame(invalid)          OnBan: every user forgets the peer
//	user A ------------------> Book ------------------------------------> users A, B, C
//	       --- TimedOut ------>   |
//	       --- Refused, Exclude   +--- Blamer: the host closes the connection
//	       --- Served -------->
//	          RetryAt, Banned
//	user B <------------------ Book
//
// A user reports how each request ended, and consults the book before it sends one and when a
// peer joins.
//
// # Rules
//
//   - A ban takes proof: data with a wrong hash, a range whose rebuilt root is not the wanted one,
//     something that was not requested, a list that breaks its format. Time-outs, refusals and
//     empty replies never lead to a ban, however many there are.
//   - A back-off belongs to one kind of request. Peers that serve trie nodes may fail at ranges,
//     and a useful reply of one kind says nothing about another kind.
//   - If a request timed out and the peer sent nothing useful of any kind while it was in flight,
//     the whole peer backs off: the link or the peer is stuck. Any useful reply ends that.
//   - Back-offs delay what can wait: backfill, old blocks. A request that a block or an RPC call
//     waits for only prefers other peers, so the only peer is asked at once. State requests follow
//     the scheduler (package sched), which has its own view of peers that time out.
//   - One [Schedule] for all kinds but subtrees: 250 ms after the first failure, doubled by each one in a row, 8 s at
//     most. Requests for subtrees are large and have other sources: 8 s to 64 s. Requests that were in flight together count
//     as one failure.
//   - Nothing about an absent block or root enters the book: an empty reply under one root, or for
//     one block, stays with whoever asked for it.
//   - The book is bounded, so that peers cannot fill memory by reconnecting under new ids. It
//     lives as long as the process.
package peer
