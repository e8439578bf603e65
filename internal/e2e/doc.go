// SPDX-License-Identifier: LGPL-3.0-or-later

// Package e2e tests the whole node from outside: its tests start the sunbeam binary as a
// process, put a real geth behind a slow link as its peer, and play the consensus client.
//
// Every test exists in two sizes: small for `make test`, large with the build tag e2e for
// `make e2e`. What they measure is in their logs (go test -v).
package e2e
