// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// State by hash: GetNodeData and NodeData of eth/66, the transport that Beam Sync was designed
// for. On links with a later eth, Sunbeam nodes exchange the same two messages in beam/2.
//
// An answer has nodes and codes in any order and omits what the server lacks. Callers can
// only match items by their hash.
const (
	getNodeDataCode = 0x0d // in eth/66
	nodeDataCode    = 0x0e

	// MaxNodeData is how many hashes a request may have. go-ethereum's server ends its answer
	// after as many items, at 2 MiB, or after twice as many lookups
	// (v1.10.26, eth/protocols/eth/handler.go).
	MaxNodeData = 1024
	// maxDataLookups limits the lookups for one request.
	maxDataLookups = 2 * MaxNodeData
	// maxDataLookupTime limits the time of the lookups for one request.
	maxDataLookupTime = 2 * time.Second
)

// errNoNodeData is the error of requests by hash to a peer that cannot answer them.
var errNoNodeData = fmt.Errorf("peer speaks neither eth/66 nor beam/2: %w", errors.ErrUnsupported)

// DataBackend is the local state that the node serves by hash. It is called concurrently.
type DataBackend interface {
	// Data returns the trie node or contract code with a hash, nil if it is missing.
	Data(hash common.Hash) []byte
}

type (
	getNodeDataPacket struct {
		ID     uint64
		Hashes []common.Hash
	}
	getNodeDataRequest struct { // the same, counted before it is decoded
		ID     uint64
		Hashes rlp.RawList[common.Hash]
	}
	nodeDataPacket struct {
		ID    uint64
		Blobs [][]byte
	}
)

// ServesNodeData reports whether the peer answers requests by hash.
func (p *Peer) ServesNodeData() bool { return p.link.Version == eth66 || p.link.Beam != nil }

// NodeData requests trie nodes and codes by hash, at most [MaxNodeData]. The reply has no more
// entries than hashes, in any order. It omits what the peer lacks or what exceeds its limits:
// match by keccak256. For a peer without eth/66 and beam/2 the error is
// errors.ErrUnsupported.
func (p *Peer) NodeData(ctx context.Context, hashes []common.Hash) ([][]byte, error) {
	if !p.ServesNodeData() {
		return nil, errNoNodeData
	}
	if len(hashes) == 0 {
		return nil, nil
	}
	request, response := msgGetNodeData, msgNodeData
	if p.link.Version != eth66 {
		request, response = msgBeamGetNodeData, msgBeamNodeData
	}
	list, err := queryList[[]byte](ctx, p, request, response, len(hashes), replySize(len(hashes), maxCodeSize, softReplySize), func(id uint64) any {
		return &getNodeDataPacket{id, hashes}
	})
	if err != nil {
		return nil, err
	}
	return p.blobs(response, list, maxCodeSize)
}

// serveNodeData answers with the local items up to the limits.
func (p *Peer) serveNodeData(query *getNodeDataRequest) (any, error) {
	reply := &nodeDataPacket{ID: query.ID}
	if p.cfg.Data == nil {
		return reply, nil
	}
	deadline := time.Now().Add(maxDataLookupTime)
	size, lookups := 0, 0
	for it := query.Hashes.ContentIterator(); it.Next(); lookups++ {
		if size >= softReplySize || len(reply.Blobs) >= MaxNodeData || lookups >= maxDataLookups || time.Now().After(deadline) {
			break
		}
		var hash common.Hash
		if err := rlp.DecodeBytes(it.Value(), &hash); err != nil {
			return nil, p.disconnect(KindMalformed, fmt.Errorf("hash %d: %w", lookups, err))
		}
		if blob := p.cfg.Data.Data(hash); len(blob) > 0 {
			reply.Blobs = append(reply.Blobs, blob)
			size += len(blob)
		}
	}
	return reply, nil
}
