// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

const (
	// MaxHeaders and MaxBodies are the limits of one request. A geth server gives up to 1024
	// of each and ends at 2 MiB; 128 bodies of full blocks are far above that.
	MaxHeaders = 512
	MaxBodies  = 128
	// MaxAccessLists is the limit of one request: 2 MiB at some 60 kB each.
	MaxAccessLists = 32
)

// MaxNodeData is how many blobs a server of GetNodeData gives at most (p2p.MaxNodeData).
const MaxNodeData = 1024
