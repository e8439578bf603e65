// SPDX-License-Identifier: LGPL-3.0-or-later

// Package witnessfile reads blocks of real networks from files that hold all the state they need, for tests
// and measurements.
//
// A witness file (gzipped JSON) holds one block, the trie nodes and contract codes under its parent's
// state root that its execution reads, and the headers that BLOCKHASH and EIP-2935 need. For this block
// it is a complete state; other reads may find nodes missing.
//
// A [File] implements trie.Source, trie.Store and evm.Headers. It also finds nodes by path
// ([File.PathNode]), for a peer that serves snap/1 from it.
//
// Some files lack the parent's header and have its state root only. [File.Execute] executes those too, on
// a stand-in for the parent; evm.Executor refuses that.
package witnessfile
