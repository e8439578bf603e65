// SPDX-License-Identifier: LGPL-3.0-or-later

// Package witness exchanges with other Sunbeam nodes what blocks read, so that a node fetches the
// state of a block in three round trips, before execution finds out what it needs.
//
// # Nouns
//
//   - A witness is the trie nodes and codes that executing one block needs. Its keys are the
//     accounts, slots, codes and paths that lead to them ([trie.Touched]). Keys are some 50 kB for
//     a mainnet block; the nodes are megabytes.
//   - A record is the keys of a block that was executed here. The [Exchange] keeps those of the
//     newest blocks and serves them: as keys (beam/2) and as node hashes (wit/0). docs/wit.md
//     specifies both.
//   - A hint is the keys that a peer sent for a block that is not executed here yet.
//
// # The life of a hint
//
//	block --> Hint: WitnessKeys from 3 peers --first valid--> Collect: accounts --> codes, storage
//	                                                                  through a session of the fetcher
//	block executed --> Record: keys kept, the hint rated
//
// The peers whose hints were useful most often are asked first. A peer that has not executed the
// block yet is asked again until 900 ms have passed. What the hint names is fetched from whoever has it, as
// hints of the fetcher, concurrently with the prefetcher, which may want the same.
//
// # Invariants
//
//   - A hint decides nothing: each node that it leads to is verified from the state root down. A
//     wrong one costs bytes.
//   - A hint is bounded by what the gas of the block allows to read, before it is held.
//   - A malformed or too large list of keys is invalid data: the peer is banned, for all users of
//     the [peer.Book]. A hint that named mostly what the block did not read cannot be proven wrong:
//     the peer is excluded from hints.
//   - Blocks never wait for hints: [Exchange.Collect] runs concurrently with the execution.
package witness
