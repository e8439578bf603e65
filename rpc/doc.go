// Package rpc answers people and consensus clients: JSON-RPC over HTTP, WebSocket
// and IPC, and the Engine API behind a JWT.
//
// The nouns:
//
//   - An endpoint is one listening address. HTTP and WebSocket may share one, as in
//     go-ethereum. The authenticated endpoint serves the engine and eth namespaces to
//     whoever holds the JWT secret; the IPC serves everything to whoever may open the file.
//   - A view is the state under one block for one request. Its missing trie nodes are
//     faults, so a query costs round trips while the node is beaming.
//   - The gate bounds what queries may cost: how many run at once, and for how long.
//   - Patience is the time within which a consensus client must have its answer.
//
// A state query goes through one door, readState:
//
//	request -> block -> window -> gate -> view -> result
//	                                        |
//	                                        +-- error latch set? -> error, result thrown away
//
// Invariants:
//
//   - A missing trie node is an error, never a zero: no result of a state query leaves
//     this package unless the error latch of its view is unset after the last read.
//   - Missing history is error 4444, never null and never a shorter list. The one exception is a
//     lookup by transaction hash: an unknown hash is null, as it always was.
//   - newPayload and forkchoiceUpdated answer before the consensus client's own timeout.
//     What is not known by then is SYNCING, and the importer goes on.
//   - Nothing here holds a lock across a call that may fetch.
//   - Run owns every goroutine that serves a connection and waits for it.
//
// JSON shapes, error codes and parameter rules are go-ethereum v1.17.8's, whose
// internal/ethapi and eth/catalyst cannot be imported. The pending tag means the latest block,
// because the node builds no blocks, but for eth_getTransactionCount, where it means the nonce after the
// pooled transactions; the earliest tag means the oldest block that is held.
package rpc
