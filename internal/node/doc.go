// SPDX-License-Identifier: LGPL-3.0-or-later

// Package node is the composition root: the only package that imports all others.
//
//	config -> db -> chain (genesis) -> trie.Cache over Hot and Complete
//	                  |                     |
//	                  +-> evm.Executor -> importer.Importer <- rpc (Engine API) <- light client
//	                                        |
//	                  p2p.Host --peers--> fetch.Fetcher <- backfill.Backfill -> Complete
//
// The node is in one of two phases: beaming, with state from Hot, Complete and peers; and full, with
// state from db.Full. [Node.Run] runs the transitions between them. A reader of state looks for the
// store of each root anew, since the phase may have changed.
//
// Ordering rules:
//
//   - [New] makes everything and starts nothing. Package config has validated the
//     configuration before; the first thing that New creates on disk is the datadir.
//   - [Node.Run] runs all parts in one errgroup: the first that fails stops the others. The
//     databases close last, when nothing runs any more.
//   - Keys that peers and consensus clients need to connect (the node key) are made after the
//     lock of the datadir is taken.
package node
