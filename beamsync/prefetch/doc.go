// SPDX-License-Identifier: LGPL-3.0-or-later

// Package prefetch fetches the state that a block is going to read, before the block is
// executed.
//
// A node in Beam Sync executes blocks without having their state. Each read of state that is
// not in the local store is a fault: the execution stops until a peer has sent the missing trie
// nodes. A block has thousands of reads, and one round trip to a peer for each of them takes
// minutes. So what counts is the number of sequential round trips, and this package keeps it low:
// it finds out early what the block reads and requests as much of that as possible at the same
// time.
//
// # Nouns
//
//   - Static keys are the accounts and storage slots that a block names without being run:
//     senders, recipients, coinbase, withdrawals, EIP-2930 access lists, EIP-7702 authorities,
//     and the system contracts. Slots that are likely to be read, by the selector of the call
//     and the code of similar contracts, go with the recipients. See statickeys.go.
//   - A block access list (EIP-7928) names every account and slot that a block reads or writes.
//     The header commits to it. A block that comes with its list is not run at all. See
//     accesslist.go.
//   - A run is one speculative execution, of the transactions of one sender (a group) or of the
//     whole block, on the local part of the parent's state. A read of missing state does not
//     block the run: it gets the last value seen in an earlier block or a placeholder, and is
//     recorded as missing. Control flow depends little on most values, so the run mostly goes on
//     to read what the real execution reads.
//   - A round is a run, or one in each [evm.Mode], and the wait for some of what it missed. Then
//     the next round goes further, with real values in place of placeholders. The number of
//     rounds is the depth of the data dependency in the block, not the number of its reads. A run
//     executes only transactions that missed something before, or read something else now: the
//     runs of a block share an [evm.Progress]. See rounds.go.
//   - A batch is what goes out at once: the missing nodes, codes and headers of all runs that
//     ended within one batch window, each of them once. See batch.go.
//   - Required means read by a run, whose next round waits for it. Predicted means likely to be
//     read; it is fetched as well, and nothing waits for it.
//
// # The way of a block
//
//	            +-- access list? yes --> all keys --> codes, siblings of deleted nodes --+
//	block ------+                                                                        |
//	            +-- no --> static keys ------------------------+                         |
//	                  |                                        v                         v
//	                  +--> group runs --missing--> batch --> Hinter.Hint --> peers --> local store
//	                         ^      |                                                    |
//	                         |      +-- nothing missing --> whole-block run, new root    |
//	                         +---------------- some of it arrived -----------------------+
//
// A group starts its next round as soon as some of what it missed has arrived. The whole block
// is run when all groups are done, because transactions of different senders affect each other,
// and a few times before that, when only a few groups are left. Its run includes the deletion of
// keys from the tries, which reads siblings that no transaction reads.
//
// # Why this cannot change an outcome
//
// Everything that this package does is a hint. It writes no state and returns no value that the
// execution uses; the only effect is that verified nodes, codes and headers get into the local
// store. They are stored under the hash that they were requested by, so a guess that is wrong
// costs bytes and nothing else. What is missed here is a fault in the execution, which waits for
// it. Errors of speculation are not reported as errors of the block. A prefetch that fails, is
// cancelled or finds nothing leaves the outcome as it is: the tests fail, empty and truncate all
// hints, of valid and invalid blocks, and compare.
//
// # Limits
//
// A group has at most maxRounds rounds. At most GOMAXPROCS runs of one block execute at the same
// time. Each node, code and header is requested once for a block, by whichever run misses it first.
package prefetch
