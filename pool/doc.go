// SPDX-License-Identifier: LGPL-3.0-or-later

// Package pool is the transaction pool and the propagation of transactions.
//
// It runs go-ethereum's two pools (core/txpool: legacypool for plain transactions, blobpool for
// those with blobs, EIP-4844) and its transaction fetcher (eth/fetcher) on a state of which parts
// may be missing locally.
//
// # Nouns
//
//   - A [Pool] is on one head at a time: transactions are validated against the accounts of their
//     senders under the state root of that head.
//   - The account cache has those accounts. They are read before go-ethereum's pools look at them.
//     There is one cache per head.
//   - The follower moves the pool to another head: it fills a new account cache with the accounts
//     of all pooled senders, then resets both pools.
//   - The assembler puts together the blob transactions of eth/72 peers, which come without their
//     blobs, and the cells of these (EIP-8070), with go-ethereum's fetcher and buffer of cells.
//   - A [Peer] is one connection. For each peer the pool keeps a bounded set of the hashes that the
//     peer has, so that no transaction is sent to it twice.
//
// The way of a transaction:
//
//	user  --Send--------------------------------+
//	peer  --Received, or fetched as Announced---+--> stateless rules --> account cache --> legacypool or blobpool
//	                                                                       |  ^                 |
//	                                              miss: read the account --+  |                 v
//	                                              of the sender, a fault -----+      some peers get it in full,
//	                                                                                 the others its hash
//
// # Invariants
//
//   - A missing trie node never looks like an empty account. StateDB hides the errors of reads, so
//     go-ethereum's pools never read a state that can fail: they read the account cache, and no
//     transaction reaches them before the account of its sender is in it. An account that cannot
//     be read is [ErrUnavailable], which says nothing about the transaction.
//   - No lock is held while an account is read. Adding transactions and moving to another head
//     read memory only.
//   - The importer never waits for the pool: head events are drained at once.
//   - The work and memory that a peer can cause are bounded: incoming messages by bytes,
//     announcements by go-ethereum's fetchers, outgoing ones by count, cells that wait for their
//     transaction by bytes, verification of blobs and reads of accounts by concurrency and
//     duration.
//   - Cells are verified against commitments and proofs before their transaction enters the pool.
//   - Blob transactions on disk are dropped because of the state, never because the state could
//     not be read.
//
// The rules of propagation are go-ethereum's (eth/handler.go): plain transactions of at most 4 KiB
// are sent in full to the square root of the peers, and their hashes to the others; larger ones
// and those with blobs are announced only. Errors are go-ethereum's own, unwrapped, so that users
// see the texts that they know.
package pool
