// SPDX-License-Identifier: LGPL-3.0-or-later

// Package era reads and writes archives of old blocks and their receipts: era1 files
// (https://github.com/eth-clients/e2store-format-specs, formats/era1.md) up to the merge, and ere files (formats/ere.md) of
// any blocks. go-ethereum's package for them cannot be imported. The files that it writes are those of go-ethereum v1.17.10,
// byte for byte.
//
// # Terms
//
//   - An epoch is 8192 blocks, the most that one archive has. Its name is <network>-<number>-<id>, with eight hex digits of
//     the accumulator (era1) or of the last block's hash (ere).
//   - An e2store file is a list of entries: type, length, value. The last one is the index: where the entries of each block are.
//   - The accumulator is the SSZ hash tree root of the hashes and total difficulties of an epoch's proof-of-work blocks.
//
// # What a reader may believe
//
// Nothing. Lengths and offsets are bounded by the file, sizes by limits. A [Block] says what the archive has: the caller
// compares it with the roots in its header, and the header with its neighbours. [Archive.Headers] and [Archive.Blocks] do that for one
// archive; whether its blocks are those of the canonical chain, only the hash of the block after them shows.
package era
