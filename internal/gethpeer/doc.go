// Package gethpeer runs a real geth as a separate process: the other side of every
// test that wants to know whether we are right.
//
// The binary is built from the `tool` dependency of our go.mod ([Binary]), so that its
// version is pinned with the library that we build on. [OldBinary] is geth v1.10.26 from a module
// of its own, for what later ones cannot do: GetNodeData. It answers that, and what it once asked
// with is put to work by [GetNodeData]. A datadir is filled by
// [Config.Genesis], by importing a chain file ([Config.Chain]), or is brought along
// (package stategen makes large ones once and copies them).
//
// Everything listens on loopback only, finds no peers by itself, and logs to a file in
// the datadir. A process ends when its context does: interrupted first, so that it
// writes its journal, and killed if that takes too long.
package gethpeer
