// Package node puts the parts together: it is the only one that sees all of them.
//
//	config -> db -> chain (genesis) -> trie.Cache over Hot and Solid
//	                  |                     |
//	                  +-> evm.Executor -> beamsync.Importer <- rpc (Engine API) <- light client
//	                                        |
//	                  p2p.Host --peers--> beamsync.Fetcher <- beamsync.Backfill -> Solid
//
// The node is in one of two phases ([Node.Run] runs what leads from one to the other): beaming, with state from Hot,
// Solid and peers; and full, with state from db.Full. What reads state asks which one it is for each root.
//
// Ordering rules:
//
//   - [New] makes everything and starts nothing. What the configuration says was checked
//     before, by package config; the first thing that New creates on disk is the datadir.
//   - [Node.Run] runs all parts in one errgroup: the first that fails stops the others. The
//     databases close last, when nothing runs any more.
//   - Keys that must exist before peers and consensus clients can talk to us (the node key)
//     are made when the datadir is ours, that is, after its lock was taken.
package node
