// SPDX-License-Identifier: LGPL-3.0-or-later

// Package rpcdiff compares the JSON-RPC responses of two nodes with the same chain: the subject, and the reference,
// go-ethereum. It is for tests.
//
// A [World] is what calls are made of: blocks, transactions, addresses and topics of the chain, as the reference knows
// them. A [Generator] makes calls of whole namespaces from a World and a seed, a few of them malformed. [Run] sends each
// call to both nodes and compares results, and errors with code, text and data, byte for byte. A difference counts unless
// [Allowed] has it, with the reason.
package rpcdiff
