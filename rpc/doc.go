// SPDX-License-Identifier: LGPL-3.0-or-later

// Package rpc serves JSON-RPC over HTTP, WebSocket and IPC, and the Engine API to the consensus client.
//
// # Terms
//
//   - An endpoint is one listening address. HTTP and WebSocket may share a port, as in go-ethereum. The
//     authenticated endpoint serves the namespaces engine and eth to callers with the JWT secret. The IPC
//     socket serves all namespaces to whoever may open the file.
//   - A state view is the state after one block, opened for one request. Trie nodes that are missing
//     locally are fetched from peers, so a state query costs round trips until the sync is complete.
//   - The limiter bounds how many requests of a kind run at once, and for how long.
//   - A turn is the right of a call to compute for long. Calls share the turns, and pause while a block is imported.
//   - The fetch budget bounds what one call, and one caller in a minute, makes the node fetch. It is in the context, as [trie.Meter].
//   - The head feed is one queue of changes of the canonical head, for all subscriptions and filters.
//   - A replay executes a block again, transaction by transaction, on the state view of its parent: for traces.
//   - The error latch of a state view holds the first read that failed. StateDB and the EVM cannot return
//     read errors: they go on with zero values, and only the latch shows that the result is wrong.
//
// # Path of a state query
//
// Every method that reads state goes through readState:
//
//	block parameter -> header -> state window -> limiter -> turn -> state view -> result
//	                                                            |
//	                                                            +-- error latch set? -> error, no result
//
// A trace goes the same way, with limits of its own, on the state of the parent block. What the block is going to read
// is prefetched while it is replayed, and the latch is read after each transaction:
//
//	block -> withReplay -> system calls -> transaction -> hooks of a tracer -> error latch set? -> next transaction
//	              |                                             |
//	              +-- Prefetcher                                +-- meter: response too large? -> error
//
// # Path of an Engine API call
//
//	parameters of this version and fork -> block -> importer -> VALID, INVALID or SYNCING
//	                                                   |
//	                                                   +-- response timeout -> SYNCING; the import goes on
//
// # Invariants
//
//   - A missing trie node is an error, never a zero. No result of a state query is returned unless the
//     error latch of its view is unset after the last read.
//   - Missing history is error 4444, never null and never a shorter list. The exception is a lookup by
//     transaction hash: an unknown hash is null, or an error while old blocks are being collected.
//   - newPayload and forkchoiceUpdated respond before the consensus client times out.
//   - No lock is held across a call that may fetch.
//   - What clients keep open and what one response holds is bounded (Logs, Subscriptions in Config). A request
//     beyond a limit gets error -32005 with the flag of the limit.
//   - A subscription announces every event, or its connection is closed.
//   - Server.Run owns every goroutine that serves a connection, and waits for it.
//
// # Compatibility
//
// Names and encodings of JSON members, error codes, error texts and the rules for parameters are those of
// execution-apis where it has them, and of go-ethereum v1.17 otherwise. Tests compare the responses with
// those of go-ethereum byte for byte. The tag pending means a block that is built of the pool's
// transactions, as in go-ethereum. There are two differences. The tag earliest means the oldest block
// that is stored. forkchoiceUpdated applies the fork choice before
// it checks the payload attributes, as execution-apis demands, and one whose head is unknown as soon as that is
// executed (TestEngineLikeGeth). eth_simulateV1 follows the test suite of execution-apis where go-ethereum v1.17.10
// does not (TestRPCCompat). Methods of go-ethereum that are refused are in refused.go.
//
// # Files
//
// A method of the eth namespace is in the file of its group in execution-apis: eth_block, eth_transaction,
// eth_state, eth_proof, eth_execute, eth_fee_market, eth_logs, eth_filters, eth_subscribe, eth_submit,
// eth_client, eth_capabilities, eth_config. The Engine API is in engine_*, eth_simulateV1 in simulate*, the other
// namespaces are in files of their name: debug_* (debug_trace* over replay and tracer) and trace_*. JSON objects are in
// *_object (results, call objects) and *_override (of calls).
package rpc
