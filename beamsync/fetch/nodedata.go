// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// byHash returns the peer as one that these wants go to by hash, nil if they go to it by path.
//
// By path, a trip brings a whole way to a key, so by hash goes only what has no more than one
// node: whatever state that node is of, the peer may have it. A peer that knows some nodes
// by their paths only is asked the other way the second time. Codes have a message of their own.
func byHash(p peer.Peer, wants []wireWant) peer.DataPeer {
	data := peer.AsDataPeer(p)
	if data == nil || !p.ServesState() {
		return data
	}
	if slices.ContainsFunc(wants, func(a wireWant) bool { return a.kind == sched.Code || len(a.fault.Key) > 0 || a.again }) {
		return nil
	}
	return data
}

// hashesOf names what the wants are for, once each, as GetNodeData wants it. Paths are followed level by
// level: each node that comes is decoded, and the next one on the path is wanted.
func hashesOf(wants []wireWant) []common.Hash {
	seen := make(map[common.Hash]bool, len(wants))
	hashes := make([]common.Hash, 0, len(wants))
	for i := range wants {
		if hash := wants[i].hash(); !seen[hash] {
			seen[hash] = true
			hashes = append(hashes, hash)
		}
	}
	return hashes
}

// onlyNodes says that of each ask no more was asked for than the node itself.
func onlyNodes(wants []wireWant) []wireWant {
	for i := range wants {
		wants[i].depth, wants[i].storageKeyDepth = len(wants[i].fault.Path), 0
	}
	return wants
}
