// SPDX-License-Identifier: LGPL-3.0-or-later

// Package metrics serves what the node measures to Prometheus.
//
// Each package registers its own metrics (beam_...) with the registry that it is given;
// this package adds the names that all clients share (ethereum_..., EIP-2159) and what
// go-ethereum's code counts in its own registry, and serves the three as one page at
// /metrics and, for dashboards made for geth, at /debug/metrics/prometheus.
//
// docs/metrics.md lists ours; a test in internal/node compares it with what a node
// registers.
package metrics
