// SPDX-License-Identifier: LGPL-3.0-or-later

// Package testchain makes small chains of valid blocks for tests, with the states after all of
// them.
//
// The blocks are built by go-ethereum, which executes their transactions, so headers, receipts
// and state roots are right by a source other than the code under test.
//
//	config, allocations --Genesis--> core.Genesis --New--> Chain --Extend--> blocks, receipts
//
// A genesis is put together of allocations: [Funded] accounts, whose keys tests have; [Filler]
// accounts, which make the account trie deep; and what the test itself needs, such as contracts.
// A test may change the fields of the genesis before it calls [New].
//
// A [Chain] holds the states of all blocks that it made, in go-ethereum's hash scheme. Blocks
// with the same parent are branches. [Chain.Extend] builds on any block of the chain, and
// calls back for the contents of each new one.
//
// Everything is deterministic: the same calls make the same blocks, with the same hashes. A
// Chain is not safe for concurrent use while it is extended.
package testchain
