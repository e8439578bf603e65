// Package p2p connects the node to other Ethereum nodes: it finds and accepts
// connections, agrees with each on eth/66, eth/69, eth/70 or eth/71 and, where the other end has
// it, snap/1 and the witness protocols wit/0 and beam/2 (docs/wit.md), asks for chain and
// state, and answers what it is asked.
//
// Nouns:
//
//   - A [Host] is the devp2p server: discovery, dialing, listening, the node record.
//   - A [Link] is one agreed connection: the message streams of eth and of its
//     satellites: snap, wit and beam, as far as they were agreed on.
//   - A [Peer] runs a link. Its request methods are one wire exchange each; they neither
//     retry nor verify more than the shape of the reply.
//   - A request is in flight from its registration until its response, the end of its
//     context or the end of the peer. A response that comes later is late.
//   - A [Fault] is something that the other end did against the protocol. It ends the
//     peer, and it is the only error that carries blame.
//   - The backends ([ChainBackend], [StateBackend], [DataBackend], [Witnesses]) are what we
//     serve from.
//
// The way of a message:
//
//	caller ── Headers, TrieNodes, ... ──> register id ──> write ──> wire
//	   ^                                                             │
//	   └── decode, check count <── payload <── in flight? <── reader ┘
//	                                                            │
//	wire <── write <── reply <── backend <── serving goroutine <─┘ queue, bounded
//
// Rules:
//
//   - A reader (one goroutine per protocol) never waits: it reads a message, looks at its
//     request id, and hands it on. Responses are decoded by the caller that waits for
//     them, requests by the peer's one serving goroutine, one after another.
//   - What a peer can make us hold is bounded: the queue by count and bytes, responses by
//     the requests in flight, and every list by its count before its items are decoded.
//   - What a peer can make us do is bounded: a request by lookups, bytes and time, requests by their
//     number per second, and all peers together by the [Gate], where each has one request at most, so
//     that they take turns and leave the processors to the node's own blocks.
//   - The mutex of the requests in flight is never held across I/O. Writes are one at a
//     time per peer; waiting for the turn honours the caller's context.
//   - OnJoin comes once per peer, after the eth handshake and with the satellites in
//     place that were agreed on; OnLeave comes once, after OnJoin returned, when the peer is gone.
//   - snap/2 (no GetTrieNodes), eth/67 and eth/68 (no GetNodeData, and nobody without
//     eth/66 or eth/69) and eth/72 are never offered: devp2p picks the highest version that
//     both ends have.
//
// Specifications: https://github.com/ethereum/devp2p (caps/eth.md, caps/snap.md,
// caps/wit.md), EIP-2481 (eth/66), EIP-7642 (eth/69), EIP-7975 (eth/70), EIP-8159 (eth/71), EIP-2124 (fork id).
package p2p
