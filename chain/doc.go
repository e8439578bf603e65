// Package chain is the tree of blocks that a node knows, and the one branch of it
// that its consensus client chose.
//
// The nouns:
//
//   - A block is known when its header and body are held, executed when it was run on
//     its parent's state and every commitment of its header was met, rejected when it
//     broke a rule of consensus. See [Status].
//   - The canonical chain is the branch of the head, as an index from number to hash.
//     A node that beams in starts it in the middle: between genesis and the tail is a
//     gap of which nothing is known.
//   - The tail is the lowest header that the head reaches by parent hashes. Below it
//     (genesis apart) the index says nothing, even if the store has entries there from
//     an earlier run: whether those are ancestors of the head is not proved.
//   - Oldest is the lowest block from which on, up to the head, all bodies and receipts
//     are held: tail <= oldest <= head.
//   - History is what lies below the first executed block. It is added from there downward
//     (AddHistory), so that Oldest never claims a hole. It is vouched for by the hashes in
//     the headers above it, and is not called executed.
//   - A [Span] is what a pivot left behind of the chain before it. When history arrives at a
//     block of it, by hash, tail and oldest jump over all of it.
//
// One picture of a node that beamed in at 900 with 100 headers fetched for BLOCKHASH:
//
//	genesis   (gap)     tail            oldest         finalized  safe   head
//	   0 . . . . . . . . 800 -headers-- 900 =blocks+receipts= 940 == 950 == 960
//	                                                           \
//	                                                            941' - 942'  (side branch)
//
// Ordering rules:
//
//   - The head is executed. SetHead moves head, index, transaction lookups, tail and
//     oldest in one atomic [Update], so that a crash leaves the old head or the new.
//   - State is written before the block: who calls Commit has put the new trie nodes
//     into their store already. Losing those costs round trips, never correctness.
//
// Rejections live in memory only and are bounded: a restart may judge a block again.
package chain
