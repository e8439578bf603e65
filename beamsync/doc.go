// SPDX-License-Identifier: LGPL-3.0-or-later

// Package beamsync is the folder of Beam Sync: it makes a node usable at the head of the chain
// before it has the state. The node executes the blocks that the consensus client names at once,
// and gets from peers what they read and what it does not store. Meanwhile it collects the rest
// of the state, until it is a full node.
//
// The folder has a package for each part. Their comments define the nouns:
//
//   - importer: payloads and fork choice to an executed chain; pivot, catch-up, phases.
//   - prefetch: what a block will read, before it is executed: access lists, keys that its
//     transactions name, speculation.
//   - fetch: state, headers, bodies and access lists from peers; wants, sessions, verification.
//   - sched: which want is requested from which peer, and when; hedges, states of a peer. Pure.
//   - backfill: the state that no block touched; ranges, complete subtrees, the swarm.
//   - history: headers, bodies and receipts below the first executed block.
//   - warmup: the state that the next blocks are likely to read, because recent ones did.
//   - witness: what blocks read, as hints given to and requested from other Sunbeam nodes.
//   - peer: the interfaces of a peer, and what a peer is penalized for.
//
// Who imports whom (internal/archtest holds it):
//
//	importer, warmup   witness           fetch        backfill     history
//	   |                |    |           |    |           |           |
//	   v                |    |           v    |           |           |
//	prefetch <----------+    |         sched  |           |           |
//	                         v                v           v           v
//	                       peer <-----------------------------------------
//
// In addition to these edges, importer, warmup and history import chain; importer, warmup, prefetch and witness import
// evm; all but history, sched and peer import trie. What a package needs of another one in the
// same row, it takes as an interface of its own; internal/node connects them.
//
// docs/architecture.md follows a block, a fault and the phases through all of them. Terms are in
// docs/glossary.md.
package beamsync
