// SPDX-License-Identifier: LGPL-3.0-or-later

// Package trie reads Ethereum state of which some trie nodes are not in the local store yet.
//
// It provides a state database for go-ethereum's EVM in which a missing trie node is a fault: a
// read that blocks until the node is fetched and verified.
//
// # Nouns
//
//   - A trie node is addressed by its owner (the account hash for a storage trie, the zero hash
//     for the account trie), its path (nibbles from the root of that trie) and the keccak256 of
//     its encoding. Only the hash proves a blob.
//   - A [Store] reads local storage: memory, then disk. A node that is not there is a miss, not an
//     error. A [Cache] is a store in memory in front of one on disk.
//   - A [Source] answers what every store missed, usually over the network. A [Fault] names the
//     whole key being read, so that the source can fetch the rest of the path in one round trip.
//   - A [StateDatabase] is the state under one root for one execution. It carries the error latch
//     of that execution.
//   - A [PartialState] is the state under one root as far as a store has it. It never fetches: a
//     [Fallback] supplies placeholder values, and what was missing is recorded for a prefetch.
//   - [Descend] and [Children] decode a node. [Follow] verifies the nodes of a response from the
//     parent down. [EncodePath] and [DecodePath] translate paths to and from the wire.
//   - A [CompleteStore] keeps nodes by owner and path, each only together with its whole subtree.
//     A [Walker] completes one state in it: it says what it needs ([Need]) and takes what was
//     delivered. [Leaves] of a range of keys are proved by rebuilding ([Rebuild]) whole subtrees
//     to the hash that the parent names.
//   - A [ServedState] reads nodes, leaf ranges and proofs of one state for other nodes.
//
// # The way of a fault
//
// A read descends one level at a time:
//
//	state.StateDB -> Reader -> Store (memory -> Hot -> Complete) -> Source (fault)
//	                   ^                                              |
//	                   +------- decode, compare keccak256 ------------+
//
// # Invariants
//
//   - No lock is held across a fetch. A fault blocks the goroutine that hit it and no other.
//   - The first failed fetch of an execution sets its latch. From then on every read of that
//     execution fails at once. StateDB swallows reader errors, and Code has none to return, so the
//     result of an execution counts only if the latch is unset afterwards (see [StateDatabase.Err]).
//   - A blob whose keccak256 is not the wanted hash is never decoded as a node.
//
// # Rules of the complete-subtree store
//
// A node is in a [CompleteStore] only if its whole subtree is: all nodes below it, and under an
// account leaf also the storage trie and the code of the account. The [Walker] keeps this promise
// across crashes and across any sequence of target states by four rules:
//
//  1. Children first: a node is written after everything below it, in the same or a later batch.
//  2. Invalidate before overwriting: a stored node whose hash is not the wanted one is deleted
//     before anything below it is written. The walk comes down from the root, so all its ancestors
//     are deleted before it. Otherwise a storage trie that changes and changes back could match an
//     old hash above a half-written subtree.
//  3. A stored node with the wanted hash is complete, and the walk skips it. The presence of the
//     state root is completion. There is no other bookkeeping.
//  4. What the new version of a node does not refer to is deleted by key range: a subtree is one
//     range of paths, and so is all storage under a prefix of account hashes. A node is deleted
//     before the storage that it vouches for.
//
// A store may keep flat state beside the nodes: the value of each leaf by owner and key, as go-ethereum's path database
// does. It is part of what is below a node: a node is in the store only if the flat state has exactly the
// leaves below its path. One more rule keeps that:
//
//  5. A leaf is written before the nodes above it, and deleted after the nodes that vouched for it. Where the store has no node
//     at or below a wanted path, it may have leaves that an interrupted walk wrote: they are deleted first.
//
// So the presence of the state root is completion of the flat state as well, and nothing has to be derived afterwards.
//
// docs/architecture.md ("Stores") says where these stores are in the node.
package trie
