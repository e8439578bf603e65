// SPDX-License-Identifier: LGPL-3.0-or-later

// Package warmup fetches the state that the next blocks are likely to read, before they come.
//
// A node that has just begun to beam holds what its own few blocks read. But blocks read again what blocks before them
// read: of what a block of mainnet touches, 60 % was touched in the last 8 blocks, 70 % in the last 32, 81 % in the last 256. So the
// blocks below the first executed one tell what to fetch. The chain backfill (package history) brings them first, newest
// first; this package reads them from the chain and requests no block itself.
//
// # Nouns
//
//   - The base is the block with which the node began to beam. The past is the window of [Window] blocks below it.
//   - A mention is an address that a block or its receipts name without being run: senders, recipients, contracts that
//     log or were made, access lists, authorizations, withdrawals, the coinbase. See mentions.go.
//   - The tally counts mentions, with more weight for newer blocks. It gives the order in which accounts are fetched. See tally.go.
//   - A replay executes a block of the past once more, on its parent's state, to learn which slots it reads; that fetches them as
//     well. A block access list (EIP-7928) says the same without an execution. See replay.go.
//   - The budget is how many bytes of trie nodes and codes may be fetched in all.
//
// # The way of the past
//
//	history --> chain --> mentions --> tally --> accounts and codes at the head's root --+
//	              |                                                                      v
//	              +--> replay, or access list --> what it touched, at the head's root --> Session --> local store
//
// The newest blocks come first: 8 are read, the accounts that they mention often are fetched with their codes, and the 8 are
// replayed. Then that is done with all of the window, of which no more than 32 are replayed. What is mentioned seldom comes last.
//
// # Why this cannot change an outcome
//
// It only fetches trie nodes and codes under hashes, as a prefetch does. A block or receipt that lied, which the roots in
// its header exclude, would cost bytes.
//
// # Invariants
//
//   - Whatever is being done ends when a block is being imported, and begins again after it. What was fetched until then stays.
//   - All wants have class background.
//   - Nothing is requested once the budget is spent. What is in flight then is abandoned.
//   - It ends: when all is done, when the budget is spent, and when the node no longer beams.
package warmup
