// SPDX-License-Identifier: LGPL-3.0-or-later

// Package gethpeer runs a real geth as a separate process: the peer and the reference of tests.
//
// [Binary] is built from the module tools/geth, which pins the version of the library in our go.mod.
// [OldBinary] is geth v1.10.26 from the module tools/geth-v1.10, for GetNodeData, which later versions
// do not have: it answers such requests, and [GetNodeData] runs the code that sends them. A datadir is
// filled by [Config.Genesis], by importing a chain file ([Config.Chain]), or exists already
// (package stategen makes large ones once and copies them).
//
// Everything listens on loopback only, finds no peers by itself, and logs to a file in
// the datadir. A process ends when its context does: interrupted first, so that it
// writes its journal, and killed if that takes too long.
package gethpeer
