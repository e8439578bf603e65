// Package evm executes one block on state that need not be there yet, and says
// honestly what came out of it.
//
// The rules of execution are go-ethereum's: core.StateProcessor runs the block on
// a State, core.BlockValidator compares gas, bloom, receipts root,
// requests hash, access list hash and state root with the header.
//
// An execution has three outcomes. [Valid] and [Invalid] are statements about the
// block; [Incomplete] is a statement about us: something that the execution needed
// (a trie node, a code, a header for BLOCKHASH) could not be had. Whatever go-ethereum
// concluded is believed only if the error latches of the state and of the headers are
// unset after validation, because a missing node otherwise looks like a bad block.
//
// A speculation ([Executor.SpeculateGroup], [Executor.SpeculateBlock]) runs the same rules on the part
// of the state that is held, and goes on past what is not with something thought up. It has no
// outcome: what it asked for in vain is all that comes of it.
package evm
