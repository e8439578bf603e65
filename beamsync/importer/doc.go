// SPDX-License-Identifier: LGPL-3.0-or-later

// Package importer turns payloads and forkchoice updates of the consensus client into an executed chain.
//
// # Nouns
//
//   - A job ([importJob]) is the import of one block. It has its own goroutine and a stage, and any number of callers
//     can wait for its outcome. A block has one job at most.
//   - An [Outcome] is the result of a job: Valid, Invalid, or Syncing, which says nothing about the block. Syncing
//     without a reason means that the import goes on.
//   - The basis of a block is the header of its parent and whether that was executed here.
//   - To beam is to execute a block on its parent's state root although the parent was not executed here. All state
//     comes from peers as nodes that are verified by hash.
//   - A pivot is beaming again above blocks that are skipped, because the node lags too far behind.
//   - A [Phase] is how the node gets state: Beaming (missing state is fetched during the execution) or FullNode (all
//     blocks are executed on complete local [States]).
//   - To catch up is to make the state of a block available, by executing all blocks since the nearest ancestor
//     with an available state. Only a full node does that.
//
// # The way of a payload
//
//	NewPayload (payload.go)          Forkchoice (forkchoice.go)
//	      |    verdict.go: what needs no state is decided here
//	      |    outcome known? (outcome.go)    |  head unknown: fetched by hash
//	      +--------------> job (job.go) <-----+    admission.go: who gets a job, who is dropped
//	                        |
//	                   findBasis: connect.go (beaming), phase.go and catchup.go (full)
//	                        |     pivot.go decides whether ancestors are fetched or skipped
//	                        |     arrivals.go: ancestors from peers or in another way, whichever comes first
//	                   header against its parent (verdict.go)
//	                        |
//	                   prefetch.go, accesslists.go: get what the block reads
//	                        |
//	                   execute.go: execute, check, commit
//	                        |
//	                     Outcome --> callers, jobs of children, forkchoice.go
//
// While beaming, a block is executed on, in this order:
//
//   - an executed parent, or one that has a job: its outcome is awaited;
//   - ancestors that are missing, at most MaxLag of them: they are fetched and executed first;
//   - the parent's header alone, fetched by its hash, if the node is fresh or lags too far. Beaming starts here, or
//     pivots.
//
// A full node executes all blocks since the newest available state, however many it missed. It does not beam and does
// not pivot. If the forkchoice head descends from no block with an available state, [Importer.StateLost] says so, and
// [Importer.SwitchToBeaming] is the remedy. It is the remedy too if a read of a state finds that damaged
// ([trie.ErrDamaged]): blocks that met the damage wait for the switch, and are executed on state from peers then.
//
// # Outcomes
//
// An outcome is decided in one of three places: the header and body rules and the execution decide it for a block
// itself; [Importer.known] finds what was decided before; a block inherits Invalid from its parent. A job that
// lacks state or ancestors ends Syncing, and the next payload or forkchoice that names its block starts a new one.
// The Engine API's form of an outcome is the business of package rpc.
//
// Valid means that the block and all its ancestors since beaming last started were executed. The block with which
// beaming starts vouches for itself only: its parent is trusted to the consensus client, as the pivot of a snap sync is
// (docs/adr/0004).
//
// # Invariants
//
//   - Missing state never makes a block Invalid. Invalid comes only from a complete execution, a rule that needs no
//     state, or an invalid ancestor.
//   - What needs no state is decided before anything is waited for, and is final: a header is taken for a parent's by its
//     hash only.
//   - A mismatched body is not recorded: the hash may belong to a valid block.
//   - A block is not Valid on a parent whose job is running: it waits for that outcome.
//   - No block above a rejected one is beamed, as far as local headers show the link.
//   - New state is stored before the block that made it. Block, receipts and outcome are stored in one batch.
//   - The latest forkchoice wins: an older one that waited for its head is not applied after it.
//   - No order of calls leaves a node behind: a block whose parent is executed or has a job, and the forkchoice head,
//     are always admitted; what waits for ancestors goes on when they come in any way, is evicted or expires; the head
//     and its ancestors have an execution slot of their own.
//   - Nothing is fetched while a lock is held.
package importer
