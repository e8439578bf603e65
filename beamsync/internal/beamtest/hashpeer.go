// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"context"
	"errors"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// hashPeer is a fakePeer that serves state by hash.
type HashPeer struct {
	*FakePeer
	Data  func(hash common.Hash) []byte
	Paths bool // and by path
}

// newHashPeer serves the bag by hash only.
func NewHashPeer(id string) *HashPeer {
	nodes, err := TheState().db.NodeReader(TheState().Root)
	Must(err)
	return &HashPeer{FakePeer: NewFakePeer(id, RTT), Data: func(hash common.Hash) []byte {
		if code := TheState().Codes[hash]; code != nil {
			return code
		}
		blob, _ := nodes.Node(common.Hash{}, nil, hash) // it looks at the hash only
		return blob
	}}
}

func (p *HashPeer) ServesState() bool { return p.Paths }

func (p *HashPeer) ServesNodeData() bool { return true }

// NodeData answers backwards and leaves out what is missing.
func (p *HashPeer) NodeData(ctx context.Context, hashes []common.Hash) ([][]byte, error) {
	if len(hashes) > peer.MaxNodeData {
		return nil, errors.New("too many hashes")
	}
	return p.state(ctx, len(hashes), func() (blobs [][]byte) {
		for _, hash := range slices.Backward(hashes) {
			if blob := p.Data(hash); len(blob) > 0 {
				blobs = append(blobs, blob)
			}
		}
		return blobs
	})
}
