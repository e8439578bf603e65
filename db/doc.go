// Package db is what Sunbeam keeps on disk.
//
//	<datadir>/geth/LOCK             held while a process has the directory open
//	<datadir>/geth/chaindata        Chain: go-ethereum's rawdb schema, plus a few keys of ours
//	<datadir>/geth/chaindata/ancient  go-ethereum's frozen blocks, read if there are any
//	<datadir>/geth/chaindata/ancient/state  Full: state histories, for reorgs below what is on disk
//	<datadir>/geth/triedb/merkle.journal    Full: what was in memory when the process ended in order
//	<datadir>/geth/beam-hot/<n>     Hot: one database per generation, n counts up
//
// The nouns:
//
//   - [Chain] holds blocks, receipts, the canonical index, markers and contract code. It
//     is the chain package's Store.
//   - [Hot] holds trie nodes by hash: a cache of bounded size in two generations. Reads look
//     into the young one, then the old one; what is found in the old one moves to the young
//     one. When the young one is full, the old one is deleted whole and a new young one
//     begins. Each generation is a database of its own, so deleting one is removing a
//     directory: by key range it would cost LevelDB a tombstone for every node.
//   - [Solid] holds complete parts of one state, in go-ethereum's path scheme in chaindata
//     (A<path>, O<owner><path>): a node only if everything under it is there. Its changes are
//     written in order ([SolidWriter]), so a crash leaves it as it was at an earlier moment.
//   - [Full] takes the place of Hot and Solid once a state is complete: go-ethereum's path database
//     on the same keys, with the states of the newest 128 blocks in memory above the one on disk.
//   - The first failure of a disk is its end: see [DB.Run]. A read that fails looks like a
//     miss to its caller where there is no error to return, so from that moment on every write is
//     refused, and nothing is concluded from what was not read.
//
// # Keys of ours in chaindata
//
// Stock go-ethereum must be able to open chaindata later. It ignores these:
//
//	sunbeam-schema                      -> version of this layout, 8 bytes big endian
//	sunbeam-executed-<number><hash>     -> 0x01: executed by this node and good
//	sunbeam-safe                        -> hash of the safe block
//	sunbeam-span                        -> tail and oldest block (see package chain), 8 bytes each
//	sunbeam-phase                       -> "full" from the hand-over on; absent while beaming
//	sunbeam-spans                       -> what pivots left behind: tail, oldest, top, 8 bytes each, repeated
//
// # Crash safety
//
// Every change of the chain is one batch. Batches are not synced to the medium one by one.
// After kill -9, LevelDB has lost nothing; Pebble, which writes its log a moment later, may
// have lost the last ones. After a power failure both may have. Batches are lost from the
// end on, so the store is consistent as of an earlier moment. Close syncs.
//
// # Ancients
//
// go-ethereum's freezer is an array that starts at block 0, and rawdb.Open refuses a chain
// that starts in the middle. While there is a gap (see package chain), all blocks stay in the
// key-value database and no freezer runs; one that is there already is opened for reading. When all
// is collected (--history.chain all), stock go-ethereum opens the directory of a full node and goes on with it;
// before, it refuses with "ancient chain segments already extracted".
package db
