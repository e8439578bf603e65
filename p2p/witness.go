// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// Two satellites carry which parts of the parent's state the execution of a block reads, as a
// hint for nodes without that state. A hint cannot be verified before the block is executed, so
// it only selects what to request.
//
// wit/0 is that of the devp2p specifications (caps/wit.md): hashes of trie nodes and codes.
// Polygon's later versions of wit carry something else; devp2p agrees on equal versions only,
// so they do not conflict.
//
// beam/2 is Sunbeam's own (docs/wit.md): the keys of the accounts and slots read, state by hash
// (nodedata.go), and whole subtrees (subtrees.go).
const (
	witName    = "wit"
	witVersion = 0
	witLength  = 3

	getWitnessHashesCode = 0x01 // 0x00 is reserved by the specification
	witnessHashesCode    = 0x02

	beamName    = "beam"
	beamVersion = 2
	beamLength  = 8

	getWitnessKeysCode  = 0x00
	witnessKeysCode     = 0x01
	beamGetNodeDataCode = 0x02
	beamNodeDataCode    = 0x03
	// 0x04 to 0x06 are in subtrees.go, 0x07 is reserved.
)

const (
	// maxWitnessHashes fit in a reply of 2 MiB; the largest mainnet blocks need a tenth.
	maxWitnessHashes = softReplySize / 33
	// MaxWitnessKeys limits the encoding of a block's keys, in bytes.
	MaxWitnessKeys = softReplySize
)

var (
	errNoWit  = fmt.Errorf("peer does not support wit/0: %w", errors.ErrUnsupported)
	errNoBeam = fmt.Errorf("peer does not support beam/2: %w", errors.ErrUnsupported)
)

// Witnesses has the state reads of recent blocks, as hints. It is called concurrently. For other
// blocks both methods return nil.
type Witnesses interface {
	// WitnessHashes returns the hashes of the trie nodes and codes that the execution of the
	// block needs (caps/wit.md).
	WitnessHashes(block common.Hash) []common.Hash
	// WitnessKeys returns the keys that the execution of the block reads: an RLP list of at
	// most MaxWitnessKeys bytes, which this package does not decode.
	WitnessKeys(block common.Hash) rlp.RawValue
}

type (
	getWitnessPacket struct { // GetBlockWitnessHashes and GetWitnessKeys
		ID    uint64
		Block common.Hash
	}
	witnessHashesPacket struct {
		ID     uint64
		Hashes []common.Hash
	}
	witnessKeysPacket struct {
		ID   uint64
		Keys rlp.RawValue
	}
)

// ServesWitnessHashes reports whether the peer supports wit/0.
func (p *Peer) ServesWitnessHashes() bool { return p.link.Wit != nil }

// ServesWitnessKeys reports whether the peer supports beam/2.
func (p *Peer) ServesWitnessKeys() bool { return p.link.Beam != nil }

// WitnessHashes requests the hashes of the trie nodes and codes that the execution of a block
// needs (wit/0); none if the peer lacks them. For a peer without wit/0 the error is
// errors.ErrUnsupported.
func (p *Peer) WitnessHashes(ctx context.Context, block common.Hash) ([]common.Hash, error) {
	if p.link.Wit == nil {
		return nil, errNoWit
	}
	return queryList[common.Hash](ctx, p, msgGetWitnessHashes, msgWitnessHashes, maxWitnessHashes, hashesSize(maxWitnessHashes), func(id uint64) any {
		return &getWitnessPacket{id, block}
	})
}

// WitnessKeys requests the keys that the execution of a block reads (beam/2): an RLP list of at
// most MaxWitnessKeys bytes that is not decoded, nil if the peer lacks it. For a peer without
// beam/2 the error is errors.ErrUnsupported.
func (p *Peer) WitnessKeys(ctx context.Context, block common.Hash) (rlp.RawValue, error) {
	if p.link.Beam == nil {
		return nil, errNoBeam
	}
	reply, err := query[witnessKeysPacket](ctx, p, msgGetWitnessKeys, msgWitnessKeys, MaxWitnessKeys+replyOverhead, func(id uint64) any {
		return &getWitnessPacket{id, block}
	})
	if err != nil {
		return nil, err
	}
	if len(reply.Keys) > MaxWitnessKeys {
		return nil, p.disconnect(KindExcess, fmt.Errorf("%s: %d bytes, limit %d", msgWitnessKeys, len(reply.Keys), MaxWitnessKeys))
	}
	content, _, err := rlp.SplitList(reply.Keys)
	if err != nil {
		return nil, p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msgWitnessKeys, err))
	}
	if len(content) == 0 {
		return nil, nil
	}
	return reply.Keys, nil
}

func (p *Peer) serveWitnessHashes(query *getWitnessPacket) (any, error) {
	reply := &witnessHashesPacket{ID: query.ID}
	if p.cfg.Witnesses != nil {
		hashes := p.cfg.Witnesses.WitnessHashes(query.Block)
		reply.Hashes = hashes[:min(len(hashes), maxWitnessHashes)]
	}
	return reply, nil
}

func (p *Peer) serveWitnessKeys(query *getWitnessPacket) (any, error) {
	reply := &witnessKeysPacket{ID: query.ID, Keys: rlp.EmptyList}
	if p.cfg.Witnesses != nil {
		if keys := p.cfg.Witnesses.WitnessKeys(query.Block); len(keys) > 0 && len(keys) <= MaxWitnessKeys {
			reply.Keys = keys
		}
	}
	return reply, nil
}
