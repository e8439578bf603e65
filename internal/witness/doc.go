// Package witness reads blocks that carry all the state they need.
//
// A witness file (gzipped JSON) holds one block, the trie nodes and codes under its
// parent's state root that executing it reaches, and the headers that BLOCKHASH and
// EIP-2935 need. To the block it is a complete state; to anything else it has holes.
//
// A [File] answers like the layers of the node would: as a trie.Source and trie.Store
// by hash, as evm.Headers, and by path ([File.PathNode]) for a peer that serves
// snap/1 from it.
package witness
