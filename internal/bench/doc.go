// Package bench measures the node on real input: blocks with witnesses, and a chain that a
// real geth builds.
//
// A trip is defined so that it cannot be argued about: the virtual time from having the
// block to having its outcome, divided by the round-trip time, on a link of that latency whose
// bandwidth and whose ends' computing cost nothing. It is measured, not counted: client and
// server are the node's own p2p peers over an in-memory link in a testing/synctest bubble,
// where time passes only while everybody waits.
//
//	witness file -> p2p.Peer (server) == simnet.Pipe(delay) == p2p.Peer (client) -> Fetcher -> Executor
//
// The same blocks also run over a TCP connection on loopback between two devp2p hosts, in real
// time, behind the delay proxy: see Link.
package bench
