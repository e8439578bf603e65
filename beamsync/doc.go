// Package beamsync makes a node usable at the head of the chain before it has the state.
//
// It executes the blocks that the consensus client names at once, and gets from peers
// what they read and what the node does not hold.
//
// The nouns:
//
//   - A fault is a read that needed the network; a want is a caller's interest in what it
//     missed, a trie node or a code, with a class: urgent (a block waits), rpc, predictive
//     (a guess), background.
//   - A [Peer] is one connection. It neither retries nor verifies: a call is one wire
//     request.
//   - The [Fetcher] turns wants into requests to peers. What goes to whom, and when, is
//     decided by the pure package sched; the Fetcher is the shell that carries it out,
//     verifies replies, keeps them, and wakes callers. Headers, bodies and access lists
//     come through it as well.
//   - A [Session] is the [trie.Source] of one execution or RPC call. It gives its wants
//     their class and counts what they took.
//   - The [Collector] gets what a block will read before it is executed: by its access list, which
//     comes with the block or, while it begins without, from peers (eth/71),
//     or by rounds of speculation on a [trie.Guess]. [Witnesses] ask other nodes of our kind what
//     they read. All of that is hints ([Session.Hint]): it saves trips and decides nothing.
//   - The [Importer] turns payloads and forkchoice updates into an executed chain: every
//     block is Valid, Invalid, or Incomplete, which says nothing about the block.
//   - The [Backfill] collects the state that no block touched, as ranges of leaves from
//     [RangePeer]s, until a whole state is in Solid. It gives way to blocks. Nodes of our own kind that do
//     the same are fellows ([FellowPeer]): they divide the parts among themselves, so that each one comes
//     from full peers once and from a fellow otherwise (docs/adr/0013).
//   - A full node executes on complete states ([Full]) and needs none of that: [Importer.HandOver] makes one
//     of a beaming node between two blocks. It catches up with what it missed, or lost in a kill, by executing it.
//   - [History] collects headers, bodies and receipts behind the first executed block,
//     downward and checked against the headers. It gives way to everything.
//
// A fault goes through like this:
//
//	trie.StateDatabase --fault--> Session --want--> Fetcher loop --event--> sched.Step
//	      ^                                             |  ^                     |
//	      |                                             |  +-- Responded --------+ Send
//	      +-- wake -- trie.Local <-- keccak256 <-- wire goroutine <-- Peer.TrieNodes
//
// Invariants:
//
//   - Only keccak256 makes a blob true. A reply is matched from the wanted node down, by
//     hash and never by position. What it holds beside that is a lie, because under one
//     state root there is one node at a path; the peer is blamed and not asked again.
//   - What is true is in the local store before its callers wake.
//   - An empty reply proves nothing. Others are asked, and after a back-off the same peer;
//     only the caller's context ends a want.
//   - The loop goroutine alone touches wants, requests and the scheduler. No lock is held
//     and nothing waits in the loop while something is fetched.
//   - Waiting is never silent: after two seconds it is logged with its reason, and
//     again every five.
package beamsync
