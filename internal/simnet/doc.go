// SPDX-License-Identifier: LGPL-3.0-or-later

// Package simnet is a network with known properties, for tests and measurements.
//
// The nouns:
//
//   - A [Link] is a path between two ends: a delay each way and, if wanted, a limited
//     bandwidth each way. The two directions do not disturb each other.
//   - A [Proxy] puts a link between two real processes: it accepts TCP connections on
//     loopback and forwards them to a target.
//   - [Pipe] puts a link between two devp2p ends in memory. It uses package time only
//     and starts no goroutine, so that in a testing/synctest bubble its timing is exact.
//
// Both are made of the same part: a queue of what is in flight, each item
// stamped with the time of its arrival. Delay therefore never limits
// throughput: any number of items can be under way at once, as on a long cable.
//
//	sender --> [stamp: now + delay] --> queue --> [wait for the stamp] --> receiver
//
// Invariants:
//
//   - What one end sends arrives in the order in which it was sent.
//   - Nothing arrives earlier than Link.Delay after it was sent.
//   - With unlimited bandwidth on an idle machine, it arrives exactly then.
package simnet
