// SPDX-License-Identifier: LGPL-3.0-or-later

// Package fetch gets state and chain data from peers and verifies it by hash.
//
// # Nouns
//
//   - A fault ([trie.Fault]) is a read of state that the local store cannot answer. A want is the
//     interest of callers in one missing trie node, with the path below it to a key, or in one
//     contract code. Callers that want the same share one want.
//   - The [Fetcher] turns wants into requests. Which want goes to which peer, and when, is decided by
//     the pure package sched. The Fetcher is the shell around it.
//   - A [Session] is the [trie.Source] of one execution or RPC call. It gives its wants their class
//     (urgent, rpc, predictive, background) and counts what they took.
//   - A hint is a want that may be wrong ([Session.Hint]). It is dropped when a peer that serves the
//     state does not have it.
//   - A query is one question about the chain: headers, bodies, receipts, access lists. Queries need
//     no scheduler: each one picks peers by itself from the connected ones.
//   - A request is one exchange with one peer. Scheduler and queries may have several in
//     flight for one want or question; all but the first are hedges.
//
// # The life of a want
//
//	trie.StateDatabase --fault--> Session --call--> loop --event--> sched.Step
//	      ^                                         |  ^                 |
//	      |                                         |  +-- reply ---+   Send
//	      +-- wake -- trie.Local <-- keccak256 <-- exchange <-- Peer.TrieNodes
//
// A call posts its targets to the loop, which makes wants of those that are new. The scheduler
// answers with requests. Each request has a goroutine of its own, which asks for all nodes on the
// path to the key in one round trip, verifies the reply and writes what is true to the local store.
// The loop then wakes the callers. If a path goes deeper than was requested, the rest of it is the
// next want of the same callers. A want ends when it is satisfied or when its last caller gives up.
//
// # The life of a query
//
// A query asks the peer that is expected to answer first. If that one is slow, a second one is
// asked, and so on. A peer that had nothing, or failed, is asked again after a back-off. The first
// valid answer ends the query, and cancels its other requests. Queries for old blocks
// ([Fetcher.OldBodies]) are for history, which can wait: they are not hedged, leave the fastest peer
// to others, and respect the back-offs of the book.
//
// # Invariants
//
//   - Only keccak256 makes a blob true. A reply is matched from the wanted node down, by hash and
//     never by position. What else it holds is invalid, because under one state root there is one
//     node at a path. The peer is banned then, by the [peer.Book] that all users of peers share.
//   - Verified data is in the local store before its callers wake.
//   - An empty reply proves nothing. Other peers are asked, and after a back-off the same one. Only
//     the caller's context ends a want.
//   - The loop goroutine alone touches wants, requests and the scheduler. No lock is held, and
//     nothing waits in the loop, while something is fetched.
//   - A banned peer is in neither the scheduler nor a query, whoever reported it.
//   - A wait of a block or query for state or chain data is logged with its reason after two
//     seconds, and again every five.
package fetch
