// SPDX-License-Identifier: LGPL-3.0-or-later

// Package p2p connects the node to other Ethereum nodes. It discovers peers and accepts
// connections, negotiates eth/66, eth/69, eth/70, eth/71 or eth/72 with each peer and, if the
// peer supports them, snap/1 and the witness protocols wit/0 and beam/2 (docs/wit.md), requests
// chain data and state, and serves the requests of peers.
//
// Nouns:
//
//   - A [Host] is the devp2p server: discovery, dialing, listening, the node record.
//   - A [Link] is one negotiated connection: the message streams of eth and of its satellites
//     snap, wit and beam.
//   - A [Peer] runs a link. Each request method is one exchange on the wire. It neither retries
//     nor verifies more than the shape of the reply.
//   - A request is in flight from its registration until its response arrives, its context ends
//     or the connection ends. A response after that is late.
//   - A [ProtocolError] is a violation of the protocol by the other end. It ends the connection,
//     and no other error says that a peer misbehaved.
//   - The backends ([ChainBackend], [StateBackend], [DataBackend], [Witnesses], [Swarm]) provide
//     the data that the node serves.
//
// The path of a message:
//
//	caller ── Headers, TrieNodes, ... ──> register id ──> write ──> wire
//	   ^                                                             │
//	   └── decode, check count <── payload <── in flight? <── reader ┘
//	                                                            │
//	wire <── write <── reply <── backend <── serving goroutine <─┘ bounded queue
//
// Rules:
//
//   - A reader (one goroutine per protocol) never blocks: it reads a message, looks at its request
//     id and passes it on. The waiting caller decodes a response; the one serving goroutine of the
//     peer decodes requests, one after another.
//   - The memory that a peer can use is bounded: the queue by count and bytes, every list by its
//     count before its items are decoded, and a response by what was requested and one item more:
//     a larger one is not read and ends the connection. All responses together are bounded by the
//     [Budget], from which a request reserves the size of its largest response.
//   - The work that a peer can cause is bounded: a request by lookups, bytes and time, requests by
//     their rate, and all peers together by the [Gate], where each has one request at most, so that
//     they take turns and leave the processors to the node's own blocks.
//   - The mutex of the requests in flight is never held across I/O. A peer has one writer at a
//     time; a caller that waits for it gives up with its context.
//   - OnJoin is called once per peer, after the handshake of eth and with the agreed satellites in
//     place. OnLeave is called once, after OnJoin has returned, when the connection has ended.
//   - The host never offers snap/2 (no GetTrieNodes), eth/67 and eth/68 (no GetNodeData, and every
//     node with them also has eth/66 or eth/69): devp2p selects the highest version that both ends
//     offer.
//   - A newcomer to a host without a free slot is disconnected with TooManyPeers: by the server
//     before its Hello, or after the Hello if others took the slots meanwhile.
//
// Files: protocols.go, pending_links.go and slots.go set up connections; peer.go, handshake.go,
// message.go and inflight.go run one; request*.go send requests, serve*.go answer them;
// nodedata.go, witness.go, subtrees.go and have.go are the protocols of Beam Sync.
//
// Specifications: https://github.com/ethereum/devp2p (caps/eth.md, caps/snap.md, caps/wit.md),
// EIP-2481 (eth/66), EIP-7642 (eth/69), EIP-7975 (eth/70), EIP-8159 (eth/71), EIP-8070
// (eth/72), EIP-2124 (fork id).
package p2p
