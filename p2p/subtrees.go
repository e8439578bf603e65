// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"
)

// The swarm messages of beam/2 (docs/wit.md). Sunbeam nodes that collect the same state announce
// which parts they have (have.go) and serve each other whole subtrees, which the hash of their
// root node identifies, independent of any state root.
const (
	getSubtreesCode = 0x04
	subtreesCode    = 0x05
	haveCode        = 0x06

	maxSubtrees    = 256 // served for one request
	maxLarge       = 64  // large storage tries in one Have
	maxSubtreeTime = 2 * time.Second
)

// Subtree identifies a node with all its descendants.
type Subtree struct {
	Owner common.Hash // account hash for a storage trie, zero for the account trie
	Path  []byte      // nibbles; compact encoding on the wire
	Hash  common.Hash // keccak256 of the node
}

// Swarm serves other Sunbeam nodes and receives their announcements. It is called concurrently.
type Swarm interface {
	// Subtree returns the leaves below a node in the encoding of the trie, no keys if the node
	// or one of its descendants is missing. Leaves may end early at maxBytes: then proof has the
	// nodes on the path to the last one.
	Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte)
	// Have is what the node announces.
	Have() Have
	// OnHave is called when a peer's Have has changed. It must return soon.
	OnHave(p *Peer)
}

type (
	wireSubtree struct {
		Owner common.Hash
		Path  []byte
		Hash  common.Hash
	}
	getSubtreesPacket struct {
		ID       uint64
		Subtrees []wireSubtree
		Bytes    uint64
	}
	getSubtreesRequest struct { // the same, decoded only as far as it is answered
		ID       uint64
		Subtrees rlp.RawList[wireSubtree]
		Bytes    uint64
	}
	subtreesPacket struct { // decoded as a storageRangesPacket
		ID     uint64
		Leaves [][]*snap.StorageData
		Proof  [][]byte
	}
)

// ServesSubtrees reports whether the peer supports beam/2: it is a Sunbeam node.
func (p *Peer) ServesSubtrees() bool { return p.link.Beam != nil }

// Subtrees requests the leaves of whole subtrees (beam/2): a list for each, in order, empty if
// the peer lacks it, up to maxBytes. With a proof the last list is incomplete, and the proof has
// the nodes on the path to its last leaf. It verifies nothing but that keys increase. For a peer
// without beam/2 the error is errors.ErrUnsupported.
func (p *Peer) Subtrees(ctx context.Context, subtrees []Subtree, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	if p.link.Beam == nil {
		return nil, nil, nil, errNoBeam
	}
	list := make([]wireSubtree, len(subtrees))
	for i, subtree := range subtrees {
		list[i] = wireSubtree{subtree.Owner, compactPath(subtree.Path), subtree.Hash}
	}
	reply, err := query[storageRangesPacket](ctx, p, msgGetSubtrees, msgSubtrees, leavesSize(len(subtrees), maxBytes), func(id uint64) any {
		return &getSubtreesPacket{ID: id, Subtrees: list, Bytes: maxBytes}
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if proof, err = items(p, msgSubtrees, &reply.Proof, maxProof); err != nil {
		return nil, nil, nil, err
	}
	leaves, err := items(p, msgSubtrees, &reply.Slots, len(subtrees))
	if err != nil {
		return nil, nil, nil, err
	}
	keys, values = make([][]common.Hash, len(leaves)), make([][][]byte, len(leaves))
	for i, list := range leaves {
		if keys[i], values[i], err = plainLeaves(list, subtrees[i].Owner == common.Hash{}); err != nil {
			return nil, nil, nil, p.disconnect(KindInvalid, fmt.Errorf("%s: %d: %w", msgSubtrees, i, err))
		}
	}
	return keys, values, proof, nil
}

// plainLeaves splits leaves into keys and values, and converts accounts to the encoding of the
// trie.
func plainLeaves(list []*snap.StorageData, accounts bool) (keys []common.Hash, values [][]byte, err error) {
	keys, values = make([]common.Hash, len(list)), make([][]byte, len(list))
	for i, leaf := range list {
		if i > 0 && keys[i-1].Cmp(leaf.Hash) >= 0 {
			return nil, nil, fmt.Errorf("leaf %d out of order", i)
		}
		keys[i], values[i] = leaf.Hash, leaf.Body
		if accounts {
			if values[i], err = types.FullAccountRLP(leaf.Body); err != nil {
				return nil, nil, fmt.Errorf("account %d: %w", i, err)
			}
		}
	}
	return keys, values, nil
}

// compactPath is the hex-prefix encoding of a path without terminator.
func compactPath(path []byte) []byte {
	odd := len(path) % 2
	buf := make([]byte, len(path)/2+1)
	if odd == 1 {
		buf[0] = 0x10 | path[0]
	}
	for i := odd; i < len(path); i += 2 {
		buf[1+i/2] = path[i]<<4 | path[i+1]
	}
	return buf
}

func (p *Peer) serveSubtrees(query *getSubtreesRequest) (any, error) {
	reply := &subtreesPacket{ID: query.ID}
	if p.cfg.Swarm == nil {
		return reply, nil
	}
	left, deadline := int(min(query.Bytes, softReplySize)), time.Now().Add(maxSubtreeTime)
	for subtrees := query.Subtrees.ContentIterator(); subtrees.Next() && len(reply.Leaves) < maxSubtrees && left > 0; {
		var wanted wireSubtree
		if err := rlp.DecodeBytes(subtrees.Value(), &wanted); err != nil {
			return nil, p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msgGetSubtrees, err))
		}
		path, ok := nibbles(wanted.Path)
		if !ok {
			return nil, p.disconnect(KindInvalid, fmt.Errorf("%s: invalid path %x", msgGetSubtrees, wanted.Path))
		}
		if time.Now().After(deadline) {
			break
		}
		leaves, proof := p.subtree(wanted.Owner, path, wanted.Hash, left)
		left -= subtreeCost
		for _, leaf := range leaves {
			left -= common.HashLength + len(leaf.Body)
		}
		reply.Leaves = append(reply.Leaves, leaves)
		if reply.Proof = proof; len(proof) > 0 {
			break
		}
	}
	return reply, nil
}

// subtreeCost is what a subtree counts in addition to its leaves, in bytes: the lookup costs as
// much as reading several leaves.
const subtreeCost = 512

func (p *Peer) subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (leaves []*snap.StorageData, proof [][]byte) {
	keys, values, proof := p.cfg.Swarm.Subtree(owner, path, hash, maxBytes)
	leaves = make([]*snap.StorageData, len(keys))
	for i, key := range keys {
		leaves[i] = &snap.StorageData{Hash: key, Body: values[i]}
		if owner == accountTrie {
			var account types.StateAccount
			if err := rlp.DecodeBytes(values[i], &account); err != nil {
				return nil, nil // a corrupt leaf counts as missing
			}
			leaves[i].Body = types.SlimAccountRLP(account)
		}
	}
	return leaves, proof
}
