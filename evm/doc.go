// SPDX-License-Identifier: LGPL-3.0-or-later

// Package evm executes blocks on state that is partly missing, and says exactly what an execution proves.
//
// Go-ethereum supplies the rules: core.StateProcessor runs a block on a [State], core.BlockValidator
// compares gas, bloom, receipts root, requests hash, access list hash and state root with the header.
// This package decides what to conclude when a read fails, and what to prefetch.
//
// # Execution
//
// A [Job] is a block with its parent's header, the parent's state, and a source of ancestor headers for
// BLOCKHASH. [Executor.Execute] returns a [Result] with one of three outcomes:
//
//	Valid       executed in full; everything that the header commits to was compared
//	Invalid     every read was answered, and the block breaks a consensus rule
//	Incomplete  a trie node, a contract code or a header was unavailable, ctx ended, or there is
//	            a bug on our side; nothing is known about the block
//
// State and headers latch their first failure. Go-ethereum takes a missing header for a zero hash, and
// a missing trie node can look like an empty account. So Execute looks at the latches first, and
// believes go-ethereum's conclusion only if none is set.
//
// # Speculation
//
// A speculation runs a block, or some of its transactions, on local state only, in order to learn what
// the execution will read. It never waits for the network and has no outcome: its result is the list of
// missing nodes and codes that its partial state records. The caller fetches those and runs it again.
//
//	           missing nodes, codes
//	Speculate ---------------------> fetch ---> local state ---> Execute
//	    ^                                           |
//	    +-------------------------------------------+
//
// Each transaction of a run executes on a StateDB of its own, over what the transactions before it changed. A [Progress]
// keeps, for each transaction that missed nothing, what it read and wrote. The next run takes over what it wrote, as long as
// it would read the same, so that a round costs what the incomplete transactions cost, not what the block costs.
//
// A run is optimistic: a missing read gets a fallback value, and the run goes on.
//
//   - An account or slot that a recent block read has the value last seen.
//   - Another contract runs the stub, which returns plausible values to its caller.
//   - Another slot has the value of the [Mode]: a placeholder, or zero.
//   - A conditional jump avoids the branch that only reverts (branch override).
//   - A key computed from a placeholder is not requested.
//   - Of a contract whose code is unknown, the slots are requested that contracts commonly read in the
//     same function (slot profile).
//
// # Invariants
//
//   - Only Execute produces an outcome. Nothing that a speculation computes reaches an execution, other
//     than through verified nodes in the local state.
//   - An outcome is Invalid only if neither latch is set.
//   - A mistake of the caller, such as a header that is not the parent's, is Incomplete with
//     [ErrInternal].
//   - A speculation panics only to stop when its context ends. Any other panic is a bug, see
//     [ReportPanics].
package evm
