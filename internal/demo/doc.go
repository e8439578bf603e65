// Package demo shows the node at work on a network that is real but for its users.
//
//   - The [World] is everything outside of the node: a real geth that holds a large
//     state, a delay on the link to it, and a consensus client that has it build a block
//     every slot.
//   - A [Stage] is a world for one run, with all that it leaves behind, and a binary of the node.
//   - The [Node] is a fresh sunbeam in a process of its own, with default settings.
//   - [Run] lets the node into the world, shows block by block what comes of it, and
//     compares what both answer over JSON-RPC.
//
// Tests and measurements use World, Stage and Node without Run.
package demo
