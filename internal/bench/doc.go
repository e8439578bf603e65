// SPDX-License-Identifier: LGPL-3.0-or-later

// Package bench measures the node on real input: blocks with witnesses, and a chain that a
// real geth builds.
//
// The nouns:
//
//   - A [Strategy] is how a block gets the state that it reads; [Beam] is the node's own.
//   - A [Trial] is one block with one strategy on one network: client and peers are the node's
//     own fetcher, executor and p2p peers.
//   - A trip is a sequential round trip. The trips of a block are the virtual time from having the
//     block to having its outcome, divided by the round-trip time, on a link of that latency
//     whose bandwidth and whose ends' computing cost nothing. This is measured, not counted: in
//     a testing/synctest bubble time passes only while all goroutines wait. A [Trip] tells what
//     one of them waited for.
//   - A hole is a node or code that a witness lacks and the block reads. The right outcome is
//     incomplete then.
//
// What is measured:
//
//	Blocks   witness file -> p2p.Peer == simnet.Pipe(delay) == p2p.Peer -> Fetcher -> Prefetcher, Executor
//	         the same over TCP on loopback between devp2p hosts, in real time: see Link
//	Traces   the same blocks traced over JSON-RPC on loopback, from an empty store, and by go-ethereum's tracers on the witness
//	Peers    the same with one good peer among bad ones, 100 blocks in a row, in virtual time
//	Follow   geth process == simnet.Proxy(delay) == sunbeam process, a consensus client drives both
//	Propose  the same, and the sunbeam proposes every block; geth judges them and builds its own of the same pool
//	Backfill several geth processes == simnet.Proxy(delay) == sunbeam process until it is full, then the
//	         same with a fresh geth instead, on a chain that goes on
//	BALs     block access list -> keys -> the node's scheduler, in a model
package bench
