// SPDX-License-Identifier: LGPL-3.0-or-later

// Package history collects the chain behind the first executed block: headers, bodies and
// receipts, from the oldest block held downward. A node that starts at the head serves queries about
// old blocks once they are here; nothing else depends on them, so this is the lowest of all
// priorities.
//
// # Nouns
//
//   - The oldest block ([chain.Chain.Oldest]) is the lowest one from which all blocks and receipts
//     up to the head are held. The tail ([chain.Chain.Tail]) is the lowest header.
//   - The cutoff is the lowest block that is wanted, by the configuration.
//   - A batch is a run of blocks below the oldest one, fetched together and written in one atomic
//     update of the chain. Several are in flight at a time, in the order of the chain.
//   - [OldChain] is where bodies and receipts come from: the fetcher, which verifies them by the
//     roots in the headers and picks peers that announce to have the blocks.
//
// # The life of a batch
//
//	headers (linked by hash)      bodies, then receipts           AddHistory
//	tail <----- peers      batch ----------------> fetched -----------------> oldest moves down
//
// Headers run ahead of the batches. A batch takes as many headers as make about 2 MB of blocks. It is
// fetched by as many requests as that takes, each for no more blocks than peers delivered in time
// before. A fetched batch waits until those above it are written.
//
// # Invariants
//
//   - Everything is checked against headers, and every header is linked by its hash to the header
//     above it.
//   - Blocks are written downward without a gap. Where a batch meets blocks that are held already, the
//     chain takes those over, and the log tells how far the history reaches now.
//   - A kill loses what is in flight and nothing else: the package keeps no state of its own. After
//     each step it looks at where the chain ends, so a pivot, a reorg and a restart are no special
//     cases. Batches that no longer fit are dropped.
//   - Nothing is requested while a block waits for the network (Slots is 0). A batch pauses between
//     two requests then.
package history
