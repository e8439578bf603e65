// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// Peer is one connection as syncing sees it. Every call is one wire request: it blocks
// until the reply is here, ctx ends or the peer is gone, and it neither retries nor
// verifies anything beyond the shape of the message: only the caller knows what is true.
// Calls run concurrently. The p2p package implements it.
type Peer interface {
	// ID names the node at the other end. It is the same after a reconnect. It is not used as a
	// metric label.
	ID() string
	StatePeer
	ChainPeer
}

// StatePeer serves state over snap/1. A peer without snap returns an error that is
// errors.ErrUnsupported.
type StatePeer interface {
	// ServesState says whether snap/1 was agreed on.
	ServesState() bool
	// TrieNodes asks for nodes by path under a state root (GetTrieNodes). In a path set
	// the first element is an account trie path (compact encoding) when it stands alone,
	// and the 32-byte account hash when storage trie paths (compact encoding) follow.
	// The reply has no more than one entry per path, in order, possibly cut short,
	// possibly with empty entries; positions can shift, so match by keccak256.
	TrieNodes(ctx context.Context, root common.Hash, sets [][][]byte, maxBytes uint64) ([][]byte, error)
	// ByteCodes asks for codes by hash. Missing ones are left out of the reply.
	ByteCodes(ctx context.Context, hashes []common.Hash, maxBytes uint64) ([][]byte, error)
}

// DataPeer is a [Peer] that may serve state by hash: over eth/66, or as another Sunbeam node.
type DataPeer interface {
	// ServesNodeData says whether it does.
	ServesNodeData() bool
	// NodeData asks for trie nodes and codes by hash (GetNodeData), at most 1024. The reply has
	// no more entries, in any order; missing ones are left out.
	NodeData(ctx context.Context, hashes []common.Hash) ([][]byte, error)
}

// AsDataPeer returns the peer as one that serves state by hash, nil if it does not.
func AsDataPeer(peer any) DataPeer {
	if p, ok := peer.(DataPeer); ok && p.ServesNodeData() {
		return p
	}
	return nil
}

// ChainPeer serves the chain over eth/69 and later.
type ChainPeer interface {
	// Head is the newest block that the peer announced (status or block range update).
	Head() (number uint64, hash common.Hash)
	// Headers asks for up to amount headers from origin on, downward to its ancestors
	// when reverse is set, upward otherwise; origin itself comes first.
	Headers(ctx context.Context, origin common.Hash, amount int, reverse bool) ([]*types.Header, error)
	// Bodies asks for the bodies of blocks, given by their headers: what a header commits to bounds the
	// reply. Missing ones end the reply early.
	Bodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error)
	// Receipts asks for the receipts of whole blocks, in consensus encoding fields only
	// (derived fields are unset). Missing ones end the reply early.
	Receipts(ctx context.Context, headers []*types.Header) ([]types.Receipts, error)
	// AccessLists asks for block access lists (eth/71, EIP-8159): the RLP of each, nil
	// where the peer has none. A peer below eth/71 returns errors.ErrUnsupported.
	AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error)
}
