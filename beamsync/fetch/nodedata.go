package fetch

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// byHash returns the peer as one that these asks go to by hash, nil if they go to it by path.
//
// By path, a trip brings a whole way to a key, so by hash goes only what has no more than one
// node: whatever state that node is of, the peer may have it. A peer that knows some nodes
// by their paths only is asked the other way the second time. Codes have a message of their own.
func byHash(p peer.Peer, asks []ask) peer.DataPeer {
	data := peer.AsDataPeer(p)
	if data == nil || !p.ServesState() {
		return data
	}
	if slices.ContainsFunc(asks, func(a ask) bool { return a.kind == sched.Code || len(a.fault.Key) > 0 || a.again }) {
		return nil
	}
	return data
}

// hashesOf names what the asks are for, once each, as GetNodeData wants it. Ways go on level by
// level: what comes is opened, and the next node on the way is wanted.
func hashesOf(asks []ask) []common.Hash {
	seen := make(map[common.Hash]bool, len(asks))
	hashes := make([]common.Hash, 0, len(asks))
	for i := range asks {
		if hash := asks[i].hash(); !seen[hash] {
			seen[hash] = true
			hashes = append(hashes, hash)
		}
	}
	return hashes
}

// onlyNodes says that of each ask no more was asked for than the node itself.
func onlyNodes(asks []ask) []ask {
	for i := range asks {
		asks[i].depth, asks[i].riderDepth = len(asks[i].fault.Path), 0
	}
	return asks
}
