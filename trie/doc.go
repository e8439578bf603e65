// Package trie is Ethereum state that need not be there yet.
//
// It puts a state database under go-ethereum's EVM whose every missing trie
// node is a fault: a blocking, verified read from somewhere else.
//
// The nouns:
//
//   - A trie node is addressed by its owner (the account hash for a storage trie,
//     the zero hash for the account trie), its path (nibbles from that trie's root)
//     and the keccak256 of its encoding. Only the hash makes a blob true.
//   - A [Store] looks locally: memory, then disk. A store that does not have
//     something is a miss, never an error.
//   - A [Source] answers what every store missed, usually over the network. A
//     [Fault] tells it the whole key being read, so that it may bring the rest of
//     the path in the same round trip.
//   - [Descend] and [Children] decode a node; [Follow] verifies what a peer answered,
//     from the parent down. A [Cache] is a Store and Sink in memory, before one on disk.
//   - A [StateDatabase] is the state under one root for one execution. It carries
//     that execution's error latch.
//   - [Solid] keeps nodes by owner and path, each only together with everything under it. A
//     [Walker] completes one state in it: it says what it needs ([Need]) and takes what
//     came. [Leaves] of a part of the key space prove whole subtrees by being rebuilt
//     ([Rebuild]) to the hash that the parent names.
//   - [Held] is the other side of that: what a store has of one state, as nodes, ranges of leaves and
//     proofs that others can be given.
//
// One read goes down like this, a level at a time:
//
//	state.StateDB -> Reader -> Store (memory -> Hot -> Solid) -> Source (fault)
//	                   ^                                           |
//	                   +------ decode, compare keccak256 ----------+
//
// Invariants:
//
//   - No lock is held across a fetch: a fault blocks the goroutine that hit it and
//     no other.
//   - The first failed fetch of an execution sets its latch; from then on every read
//     of that execution fails at once. StateDB swallows reader errors, and Code has
//     none to return, so what an execution concluded counts only if the latch is
//     unset afterwards (see [StateDatabase.Err]).
//   - A blob whose keccak256 is not the wanted hash is never decoded as a node.
//   - The walker writes a node after everything under it, deletes what has another hash
//     before it writes anything under that, and deletes nodes before the storage that they
//     vouch for. So Solid keeps its promise after any number of changes, and a crash between two
//     of them needs no repair.
package trie
