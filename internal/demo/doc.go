// SPDX-License-Identifier: LGPL-3.0-or-later

// Package demo runs the node on a local network: a real geth, generated state and generated traffic.
//
//   - The [Network] is everything outside of the node: a real geth that holds a large
//     state, a delay on the link to it, and a consensus client that has it build a block
//     every slot.
//   - A [Testbed] is a network for one run: its files in a temporary directory, and a binary of the node.
//   - The [Node] is a fresh sunbeam in a process of its own, with default settings.
//   - [Run] is the demo: it connects a node to the network, prints a line per block, and
//     compares the answers of both over JSON-RPC ([Compare]).
//
// How the demo ends does not depend on the speed of the machine. Three outcomes are kept apart, of blocks
// as of answers: right, wrong, and none in time. A wrong one fails the demo, and so does a demo that shows
// nothing; a question without an answer is asked again, then reported.
//
// Tests and measurements use Network, Testbed and Node without Run.
package demo
