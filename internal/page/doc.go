// SPDX-License-Identifier: LGPL-3.0-or-later

// Package page serves the status page of a node: a few embedded files, and one stream of server-sent events (HTML Living Standard,
// section 9.2) with what the node does, as JSON, once a second.
//
// It costs nothing when nobody looks: [State] is asked for only while a stream or a request is open, and once a second for all of them
// together. What a stranger can cost is bounded: streams, connections, sizes and times. The page loads nothing from elsewhere, and a
// request whose Host header is not an allowed name is refused, so that no web site can read the page by a name of its own that resolves to
// this machine (DNS rebinding). There is nothing to change through it: all methods but GET and HEAD are refused.
package page
