// Package pool keeps the transactions that wait to be included, and passes them on.
//
// It is go-ethereum's own two pools (core/txpool: legacypool for plain transactions, blobpool
// for those with blobs, EIP-4844) and its transaction fetcher (eth/fetcher) on a state that
// need not be there.
//
// The nouns:
//
//   - A [Pool] stands on one head: transactions are judged by the accounts of their senders
//     under that head's state root.
//   - The ledger is those accounts, read before go-ethereum's pools look at them. There is one
//     per head.
//   - To follow is to move the pool to another head: a new ledger with the accounts of all
//     pooled senders, then the reset of both pools.
//   - A [Peer] is one connection; what is known of a peer is a bounded set of the hashes that
//     it has, so that nothing is told twice.
//
// A transaction goes through like this:
//
//	user  --Send--------------------------------+
//	peer  --Received, or fetched as Announced---+--> rules without state --> ledger --> legacypool or blobpool
//	                                                                          |  ^            |
//	                                                 miss: read the account --+  |            v
//	                                                 of the sender, a fault -----+     peers: a few get it whole,
//	                                                                                   the others its hash
//
// Invariants:
//
//   - A missing trie node never looks like an empty account. StateDB swallows the errors of
//     reads, so go-ethereum's pools never see a state whose reads could fail: they see the
//     ledger, and no transaction reaches them before its sender's account is in there. One
//     that cannot be read is [ErrUnavailable] and says nothing about the transaction.
//   - No lock is held while an account is read. Transactions enter the pools, and the pools
//     move to another head, on what is in memory.
//   - The importer never waits for the pool: news of heads are drained at once.
//   - What a peer can make us hold and do is bounded: messages waiting by bytes, announcements by
//     go-ethereum's fetcher, what waits to be told to it by count, reads of accounts by their
//     number at the same time and their duration.
//   - Blob transactions on disk are dropped because of what the state says, never because it could
//     not be read.
//
// Rules of propagation are go-ethereum's (eth/handler.go): plain transactions of at most 4 KiB go
// whole to the square root of the peers, their hashes to the others; larger ones and those with
// blobs are announced only. Errors are go-ethereum's own, unwrapped, so that users read what they
// know.
package pool
