// Package stategen makes large states, the same ones every time, and transactions that
// use them.
//
// A state is not a large genesis: it is the result of a short chain of ordinary blocks
// on a small genesis, which a real geth builds ([Spec.Fill]). So a fresh node can be
// given the genesis, as every node is, and knows nothing of the state.
//
//   - Accounts are made by withdrawals, which cost no gas.
//   - Contracts are deployed, each with one of [Spec.Codes] codes, and fill their own
//     storage.
//   - Senders are accounts whose keys are known ([Sender]).
//
// All contracts understand the same calls ([Call]): their code differs only behind its
// end. A contract is one mapping: its n slots are where Solidity puts the entries 0..n-1
// of a mapping declared first. So its keys are spread evenly over its storage trie, as
// real ones are.
//
// [Traffic] makes the transactions of the blocks that follow, by seed.
package stategen
