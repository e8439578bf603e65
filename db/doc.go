// SPDX-License-Identifier: LGPL-3.0-or-later

// Package db is the storage of a node on disk.
//
//	<datadir>/geth/LOCK             held while a process has the directory open
//	<datadir>/geth/chaindata        Chain: go-ethereum's rawdb schema, and a few keys of our own
//	<datadir>/geth/chaindata/ancient  go-ethereum's frozen blocks, read if there are any
//	<datadir>/geth/chaindata/ancient/state  Full: state histories, for reorgs below the state on disk
//	<datadir>/geth/triedb/merkle.journal    Full: the states in memory, written by an orderly shutdown
//	<datadir>/geth/damage.json      what is damaged and not repaired yet, see Damage
//	<datadir>/geth/beam-hot/<n>     Hot: one database per generation, n counts up
//
// # Nouns
//
//   - [Chain] stores blocks, receipts, the canonical index, markers and contract code. It
//     implements the Store of package chain.
//   - [Hot] stores trie nodes by hash: a size-limited cache in two generations. A read looks into
//     the young generation, then into the old one, and a node found in the old one is promoted to
//     the young one. When the young generation is full, the old one is deleted and a new young
//     one begins. Each generation is a database of its own, so that deleting it means removing a
//     directory; a deletion by key range would cost LevelDB a tombstone for every node. Losing
//     Hot costs round trips, never correctness.
//   - [Complete] is the complete-subtree store: parts of one state, in go-ethereum's path scheme
//     in chaindata (A<path>, O<owner><path>). A node is in it only if its whole subtree is; the
//     rules are in the comment of package trie. A [CompleteWriter] writes changes in order, so
//     that the store after a crash is the store at an earlier moment.
//   - [Full] replaces Hot and Complete once a state is complete: go-ethereum's path database on the
//     same keys, with the states of the newest 128 blocks in memory above the one on disk.
//   - The first failure of a disk ends all writing: see [DB.Run]. go-ethereum's readers return no
//     error, so a failed read looks like a miss to their callers. From that moment every write is
//     refused, so that nothing is stored that follows from a failed read.
//
// # Damage
//
// A database can lose content without an error: LevelDB repairs itself when a table is gone. Full compares
// hashes, reports what is missing or wrong ([DB.DamageFound]) and is not believed any more ([DB.MarkDamaged]).
// [DB.DiscardIncomplete] makes Complete obey its rules again. docs/adr/0014 has the reasons.
//
// # Keys of our own in chaindata
//
// Stock go-ethereum must be able to open chaindata later. It ignores these keys:
//
//	sunbeam-schema                      -> version of this layout, 8 bytes big endian
//	sunbeam-executed-<number><hash>     -> 0x01: executed by this node and valid
//	sunbeam-safe                        -> hash of the safe block
//	sunbeam-span                        -> tail and oldest block (see package chain), 8 bytes each
//	sunbeam-phase                       -> "full" from the switch to full mode on; absent while beaming
//	sunbeam-flat                        -> 0x01: the flat state is kept together with the trie nodes
//	sunbeam-spans                       -> detached segments (see package chain): tail, oldest, top, 8 bytes each, repeated
//
// # Crash safety
//
// Every change of the chain is one batch. Batches are not synced to the disk one by one. After
// kill -9, LevelDB has lost nothing; Pebble, which writes its log a moment later, may have lost the
// last batches. After a power failure both may have. Batches are lost from the end, so the store
// is consistent as of an earlier moment. Close and a change of the phase sync: see sync.go for
// LevelDB. Hot and chaindata may lose different times: a block may be stored whose nodes Hot has
// lost, which are fetched again.
//
// # Ancients
//
// go-ethereum's freezer is an array that starts at block 0, and rawdb.Open refuses a chain that
// starts in the middle. While there is a gap (see package chain), all blocks stay in the key-value
// database and no freezer runs; an existing one is opened for reading. When all history is
// collected (--history.chain all), stock go-ethereum opens the directory of a full node and
// continues from it. Before, it refuses with "ancient chain segments already extracted".
package db
