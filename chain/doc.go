// SPDX-License-Identifier: LGPL-3.0-or-later

// Package chain is the block tree of a node, and the canonical branch of it that the consensus
// client chose.
//
// # Nouns
//
//   - A block is known when its header and body are stored, executed when it was executed on
//     its parent's state and matches every commitment of its header, rejected when it broke a
//     consensus rule. See [Status].
//   - The canonical chain is the branch of the head, as an index from number to hash. A node that
//     starts by beam sync has its lower end in the middle: between genesis and the tail is a gap.
//   - The tail is the lowest header that the head reaches by parent hashes. Below it (except for
//     genesis) the index is undefined: the store may have entries there from an earlier run, but
//     it is not proved that they are ancestors of the head.
//   - Oldest is the lowest block from which on, up to the head, all bodies and receipts are
//     stored: tail <= oldest <= head.
//   - History is the blocks below the first executed block. They are added downward from there
//     ([Chain.AddHistory]), so that there is no hole above Oldest. Their proof is the hashes in
//     the headers above them. They do not count as executed.
//   - A [Segment] is a detached segment: the part of an earlier canonical chain below a pivot. When the
//     canonical chain grows down to a block of it, by hash, tail and oldest move to its lower ends.
//
// A node that started at 900 and fetched 100 headers for BLOCKHASH:
//
//	genesis   (gap)     tail            oldest         finalized  safe   head
//	   0 . . . . . . . . 800 -headers-- 900 =blocks+receipts= 940 == 950 == 960
//	                                                           \
//	                                                            941' - 942'  (side branch)
//
// # Invariants
//
//   - The head is executed. [Chain.SetHead] moves head, index, transaction lookups, tail and
//     oldest in one atomic [Update], so that a crash leaves the old head or the new one.
//   - State is written before the block: the caller of [Chain.Commit] has stored the new trie
//     nodes already. Losing them costs round trips, never correctness.
//   - Invalid blocks are cached in memory only, and their number is bounded: after a restart a
//     block may be validated again.
package chain
