// SPDX-License-Identifier: LGPL-3.0-or-later

// Package mockcl is a consensus client as far as an execution client can see one: it
// decides which block is the head and says so over the Engine API.
//
// The nouns:
//
//   - A [Client] is the Engine API of one node, called as a consensus client calls it:
//     with a JWT, the methods of the fork, and the time limits of the specification.
//   - A [Payload] is one block on the Engine API, with the fork choice that goes with it.
//   - A [Builder] makes blocks: a real geth builds them from given transactions, without those time limits.
//   - A [Chain] is the slot clock: each slot it has one block built and hands it to all
//     [Follower]s, which deliver it to their nodes.
//   - A [Record] tells what became of one block at one node, and how long it took.
//
// How a follower behaves, as real consensus clients do: blocks are handed over in order;
// SYNCING is no error, the chain is followed optimistically and asked about again with
// the next block or a slot later; VALID for a block makes its ancestors valid.
//
//	Chain --slot--> Builder (geth) --Payload--> Follower --newPayload, forkchoiceUpdated--> node
//	                                               +--Record--> caller
//
// Recorded calls of other chains are replayed by [ReadCalls] and [Client.Send].
package mockcl
