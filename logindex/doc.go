// SPDX-License-Identifier: LGPL-3.0-or-later

// Package logindex finds logs without reading the blocks between them. It drives go-ethereum's filter maps
// (core/filtermaps, the data structure of EIP-7745) over the chain of this node, which may begin anywhere, grow in both
// directions, and have gaps.
//
// # Nouns
//
//   - The index is filter maps on disk, in chaindata and in go-ethereum's format, so that geth continues with it. It covers
//     a range of blocks without a hole.
//   - The base is the block at which log values are counted from. It is a checkpoint of go-ethereum or genesis; on a chain
//     that begins above these, it is the oldest stored block (a local base). Nothing below a local base can be added.
//   - The valve is the store that filter maps write through. It closes when the node stops or a write fails.
//
// # The life of an index
//
//	oldest block                             head
//	     | <-- tail, epoch by epoch -- base -- head blocks --> |
//
// Blocks from the base to the head come first, then the tail downward, as far as blocks are stored and wanted. Each new head is
// added at once. The index begins anew, at another base, when a pivot leaves a gap above it, when the chain backfill has
// ended below a local base, and when it is damaged.
//
// # Invariants
//
//   - A search returns the logs of exactly the blocks that it says it covers, on the chain of the head that the caller names. What it
//     does not cover, the caller searches without the index. So a search is as exact while the index is built as later.
//   - What is on disk after a kill is what filter maps have at an earlier moment: one goroutine writes, in order, and a valve
//     that is closed lets nothing through any more.
//   - Rendering pauses while a block is imported.
package logindex
