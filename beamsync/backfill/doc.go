// SPDX-License-Identifier: LGPL-3.0-or-later

// Package backfill completes the state. While a node executes blocks on the few trie nodes that they read, the
// backfill downloads the rest of one recent state, until all of it is on disk and the node can become a full node.
//
// The nouns:
//
//   - A [Target] is the state to complete: a state root, the number of its block, and a seed.
//   - A walk is one attempt to complete one target. It wraps a [trie.Walker], which descends from the root, skips complete
//     subtrees and names what it needs.
//   - A need ([trie.Need]) is what the walker lacks: a range of accounts or slots, the storage of small accounts, single nodes,
//     or codes.
//   - A range is a run of consecutive leaves of one trie. The walker rebuilds the subtree from it and compares the
//     root with the hash that the parent names.
//   - A range peer ([RangePeer]) serves leaves over snap/1. A data peer ([peer.DataPeer]) serves nodes by hash over eth/66.
//     Full peers are both of them: they serve whole states and take no part in a division.
//   - A part ([trie.Part]) is a slice of the accounts, with their storage and code, or a slice of one large storage trie.
//   - The swarm is the set of connected Sunbeam nodes. A swarm peer ([SwarmPeer]) announces which parts it has ([Have]).
//   - A division assigns each part to one member of the swarm. Needs in parts that others are to deliver are delegated:
//     the walker sets them aside until a swarm peer has the part.
//
// # The life of a walk
//
//	Recent --target--> walk --Next--> need --> range peer | data peer | StateSource | swarm peer
//	                    ^                                      |
//	                    |                               response, verified
//	                    +-- Deliver, Give, Found <-------------+
//	                    |
//	                    +--> CompleteStore: children first
//
// The goroutine of [Backfill.Run] owns the walk. It repeats one step: take a snapshot of what is known, plan, carry out.
// The plan is a pure function (plan.go). It names the free peer, applies the rate limit and the limits in flight, and says what the
// walk waits for. The shell (dispatch.go) asks the walker for a need of the offered kinds and sends it off in a goroutine of its own.
// Responses come back on one channel. Ranges are verified in parallel and pass that channel a second time.
//
// The order of the scan is that of the Beam Sync specification: from the seed upward, wrapping at the end, all storage of
// an account before the next account. The seed is the hash of the latest block whose number is a multiple of 100.
// So all fresh nodes scan the same keys at the same time.
//
// How many requests are in flight to a range peer follows from its measured times (Little's law, peers.go). A peer that fails
// or answers with nothing backs off for a time that doubles, and is a stranger from then on, as each new peer is: it is asked for
// a sample of what a proven peer is asked for. As long as no peer is proven all strangers race for one need. A proven peer that is
// late loses the need to another one that has nothing to do. Without range peers the walk goes node by node: from data
// peers if there are any, otherwise through the [StateSource], which also finds a state that is local already.
//
// # Yielding to blocks
//
// Blocks come first. While Config.Busy says so, the backfill makes no requests to near peers, to swarm peers or to the
// StateSource, and verifies one response at a time at most. A far peer is idle for most of a block's round trips, and gets up to
// half of its window. If the node is busy without end, the backfill makes requests to all for one second in six: once the state is
// complete, blocks do not wait for the network any more.
//
// # Restarts and completion
//
// Peers serve the last 128 states, so a target does not last. The walk restarts with the head's state when a new scan is due (five
// blocks after each seed block), when the root is 110 blocks old, when its block is not canonical any more, or when no
// peer has the state. A restart costs little: complete subtrees that did not change are skipped, and the nodes
// that blocks changed are in the local store. A kill is a restart.
//
// A walk ends when the root is in the store. Then [Backfill.Done] is closed, and [Backfill.Complete] names the
// target. The caller enables go-ethereum's path database on it and executes the blocks since. If that fails,
// it calls Run again.
//
// # The swarm
//
// Nodes that scan the same keys at the same time would all request the same ranges from full peers. The swarm avoids that
// (docs/adr/0013). Each node announces its target and its complete parts whenever they change (docs/wit.md, beam/2).
// division.go assigns parts by rendezvous hashing of part and node ID, so nodes that see the same members agree without
// further messages. Each node requests its own parts from full peers, and all others as subtrees from a swarm peer that
// has announced them. A subtree that the swarm peer refuses (it collects another root) is opened one level: its node comes
// from full peers by hash, its children are requested from the swarm peer again. A node that starts a walk
// adopts the target of a swarm peer if that block was executed here and is at most 32 blocks old.
//
// An announcement is a hint, and each way to abuse it has an end:
//
//   - A peer is a stranger until it has served a subtree, and again after two time-outs in a row. A stranger is asked for one
//     subtree at a time. When a walk has waited for strangers for a second in all, their claims keep no part from full peers,
//     and what they were asked for is taken back.
//   - The walk waits for swarm peers only as long as that pays (patience.go). Then it takes parts over from slow ones.
//   - Invalid data bans the peer.
//   - A peer that times out backs off for 8 to 64 seconds, also after a reconnect.
//   - A peer that refuses too much of what it announces is ignored.
//   - A peer that completes no part for ten seconds, while this node completes eight, is no member until it does.
//   - Endgame: after three idle seconds the node requests parts of other members from full peers, more in each
//     round, from the end of the scan. Parts of members that make progress follow after thirty.
//
// # Invariants
//
//   - Only the walker writes, and children first: a node is in the store only together with its whole subtree. So "the root is in
//     the store" is all that has to be recorded about completion.
//   - While the walk runs, every need returns to the walker exactly once, whatever becomes of its requests (task.go).
//   - No need depends on a stranger while another peer of its kind serves.
//   - Everything is verified by keccak256 before it reaches the walker. A response with anything else is invalid.
//   - An empty response proves nothing: the peer backs off, and others are asked.
//   - A part that an available and proven swarm peer has is not requested from full peers, unless swarm peers are too slow.
//   - Without swarm peers nothing is delegated, and the walk is the same as if there were no swarm.
//   - Execution never depends on the swarm.
//   - The walk never waits without a reason that [Progress] shows.
package backfill
