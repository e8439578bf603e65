package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// State by hash: GetNodeData and NodeData of eth/66, the transport that Beam Sync was made
// for. On links of a later eth the same two messages travel between nodes of our own kind
// in beam/2.
//
// An answer holds nodes and codes in any order; what the server does not have is left out
// without a trace. So it says nothing but what its hashes say.
const (
	getNodeDataCode = 0x0d // in eth/66
	nodeDataCode    = 0x0e

	// MaxNodeData is how many hashes are asked for at once. go-ethereum's server ends its
	// answer there, at 2 MiB, or after twice as many lookups
	// (v1.10.26, eth/protocols/eth/handler.go).
	MaxNodeData = 1024
	// maxDataLookups is how many hashes of one request we look up.
	maxDataLookups = 2 * MaxNodeData
	// maxDataTime is how long we look up for one request.
	maxDataTime = 2 * time.Second
)

// errNoNodeData is returned by state requests by hash to a peer that cannot answer them.
var errNoNodeData = fmt.Errorf("peer speaks neither eth/66 nor beam/2: %w", errors.ErrUnsupported)

// DataBackend is the state that we serve by hash: whatever part of it is held. It is called
// concurrently.
type DataBackend interface {
	// Data returns the trie node or contract code with a hash, nil when it is not held.
	Data(hash common.Hash) []byte
}

type (
	getNodeDataPacket struct {
		ID     uint64
		Hashes []common.Hash
	}
	getNodeDataQuery struct { // the same, to be counted before it is decoded
		ID     uint64
		Hashes rlp.RawList[common.Hash]
	}
	nodeDataPacket struct {
		ID    uint64
		Blobs [][]byte
	}
)

// ServesNodeData says whether state may be asked for by hash.
func (p *Peer) ServesNodeData() bool { return p.link.Version == eth66 || p.link.Beam != nil }

// Fellow says whether the peer is a node of our own kind: it speaks beam/2.
func (p *Peer) Fellow() bool { return p.link.Beam != nil }

// NodeData asks for trie nodes and codes by hash, at most [MaxNodeData]. The reply has no
// more entries, in any order; what is missing is left out, as is what is beyond the peer's
// limits: match by keccak256. A peer that speaks neither eth/66 nor beam/2 returns
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
	return askList[[]byte](ctx, p, request, response, len(hashes), func(id uint64) any {
		return &getNodeDataPacket{id, hashes}
	})
}

// serveNodeData answers with what is held, up to the limits.
func (p *Peer) serveNodeData(query *getNodeDataQuery) (any, error) {
	reply := &nodeDataPacket{ID: query.ID}
	if p.cfg.Data == nil {
		return reply, nil
	}
	deadline := time.Now().Add(maxDataTime)
	size, lookups := 0, 0
	for it := query.Hashes.ContentIterator(); it.Next(); lookups++ {
		if size >= softReplySize || len(reply.Blobs) >= MaxNodeData || lookups >= maxDataLookups || time.Now().After(deadline) {
			break
		}
		var hash common.Hash
		if err := rlp.DecodeBytes(it.Value(), &hash); err != nil {
			return nil, p.blame(KindMalformed, fmt.Errorf("hash %d: %w", lookups, err))
		}
		if blob := p.cfg.Data.Data(hash); len(blob) > 0 {
			reply.Blobs = append(reply.Blobs, blob)
			size += len(blob)
		}
	}
	return reply, nil
}
