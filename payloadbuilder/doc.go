// SPDX-License-Identifier: LGPL-3.0-or-later

// Package payloadbuilder builds blocks for validators that propose: the payloads of the Engine API.
//
// # Nouns
//
//   - [Attributes] say what block is wanted: parent, timestamp, fee recipient, withdrawals and so on. Their [Attributes.ID]
//     names the payload.
//   - A payload is the best block so far for its attributes. The first one is empty. A round builds another one with
//     transactions, and it replaces the payload if it pays more.
//   - A draft ([evm.Draft]) is the block of one round while transactions are added to it.
//   - A candidate is an executable transaction of the pool. Candidates are tried by the tip that they pay, those of one
//     sender by nonce.
//
// # The way of a payload
//
//	forkchoiceUpdated --Start--> empty block --> payload <----+-----------+
//	                               |  state missing           | pays more | withdrawn if invalid
//	                               v                          |           |
//	                             fetch                      round ---> verify (evm.Executor)
//	                                                          ^  |
//	                pool ---- candidates, best tip first -----+  +-- missing state --> Prefetch --> next round
//	                                                          |
//	                        imports of blocks: reads wait ----+
//
//	getPayload --Get--> ends the rounds, returns the best
//
// Rounds follow one another in the interval of Settings.Recommit until the payload is asked for, or for 12 s. A round that takes
// long offers its block before it ends. Blocks are encoded before they are offered ([Envelope]).
//
// # Partial state
//
// While the node beams, most of the state is not local. A draft reads local state only, so no transaction can make a
// payload wait for the network. A candidate that misses state is left out, together with what depends on it. What the
// candidates that were left out are going to read is prefetched, and they join in a later round.
//
// What the empty block reads is prefetched for the next slots with each new head: the slots of the system contracts depend
// on number and timestamp only. Withdrawals are known with the attributes.
//
// # Invariants
//
//   - A payload is a block whose execution had every read answered ([evm.Draft]). The empty block is executed
//     once more by the rules that validate payloads before it is handed out, a later one as soon as there is time.
//   - Nothing here delays a payload of the consensus client: fetches have a lower class than those of blocks, and while a
//     block is imported, rounds and verifications wait at their next read of state, without a lock.
//   - [Builder.Get] waits for neither network nor a round longer than its limits, and encodes nothing.
//   - The number of payloads, the size of a prefetch and the time of each round are bounded.
package payloadbuilder
