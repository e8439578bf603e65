// SPDX-License-Identifier: LGPL-3.0-or-later

// Package stategen makes large states and transactions that use them. Both are deterministic.
//
// A state is the result of a short chain of ordinary blocks on a small genesis, which a real geth builds
// ([Spec.Fill]). So a fresh node starts with the genesis, as on any network, and has none of the state.
//
//   - Withdrawals make the accounts, because they cost no gas.
//   - Transactions deploy the contracts, each with one of Spec.Codes bytecodes, and make them fill
//     their storage.
//   - Senders are accounts whose keys are known ([Sender]).
//
// All contracts understand the same calls ([Call]): their code differs only in unreachable bytes at its
// end. The n slots of a contract are those of a Solidity mapping with the keys 0..n-1, declared first.
// So they are spread evenly over the storage trie, as those of real contracts are.
//
// With Spec.Mainnet, every second contract is a proxy, and the state ends with 256 blocks of traffic with the locality of mainnet
// ([Mainnet]): what a block touches, earlier blocks have touched as often and as recently as there.
//
// [Traffic] makes the transactions of later blocks from a seed.
package stategen
