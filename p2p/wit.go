package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// Two satellites carry what the execution of a block read of its parent's state, as a hint
// for nodes that do not have that state yet. Nobody can verify such a hint before the block
// is executed, so it must never be more than a reason to ask for something.
//
// wit/0 is that of the devp2p specifications (caps/wit.md): hashes of trie nodes and codes.
// Polygon's later versions of wit carry something else; devp2p agrees on equal versions
// only, so they do not meet.
//
// beam/2 is our own (docs/wit.md): keys, as asking for state by path wants them, and state
// by hash (nodedata.go), and whole subtrees (subtrees.go).
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
	// maxWitnessHashes is what fits a reply of 2 MiB; the largest blocks of mainnet need a
	// tenth of it.
	maxWitnessHashes = softReplySize / 33
	// MaxWitnessKeys is the largest encoding of a block's keys that is sent or taken, in
	// bytes.
	MaxWitnessKeys = softReplySize
)

var (
	errNoWit  = fmt.Errorf("peer does not speak wit/0: %w", errors.ErrUnsupported)
	errNoBeam = fmt.Errorf("peer does not speak beam/2: %w", errors.ErrUnsupported)
)

// Witnesses tells what executed blocks read. It is called concurrently and knows recent
// blocks only: for others both methods return nil. Both promise no more than a hint.
type Witnesses interface {
	// WitnessHashes returns the hashes of the trie nodes and codes that executing the block
	// needed (caps/wit.md).
	WitnessHashes(block common.Hash) []common.Hash
	// WitnessKeys returns the keys that executing the block read: an RLP list of at most
	// MaxWitnessKeys bytes, whose contents are not this package's concern.
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

// ServesWitnessHashes says whether wit/0 was agreed on.
func (p *Peer) ServesWitnessHashes() bool { return p.link.Wit != nil }

// ServesWitnessKeys says whether beam/2 was agreed on.
func (p *Peer) ServesWitnessKeys() bool { return p.link.Beam != nil }

// WitnessHashes asks for the hashes of the trie nodes and codes that executing a block
// needed (wit/0); none if the peer does not know. A peer without wit/0 returns
// errors.ErrUnsupported.
func (p *Peer) WitnessHashes(ctx context.Context, block common.Hash) ([]common.Hash, error) {
	if p.link.Wit == nil {
		return nil, errNoWit
	}
	return askList[common.Hash](ctx, p, msgGetWitnessHashes, msgWitnessHashes, maxWitnessHashes, func(id uint64) any {
		return &getWitnessPacket{id, block}
	})
}

// WitnessKeys asks for the keys that executing a block read (beam/2): an RLP list of at
// most MaxWitnessKeys bytes that is not looked into, nil if the peer does not know. A peer
// without beam/2 returns errors.ErrUnsupported.
func (p *Peer) WitnessKeys(ctx context.Context, block common.Hash) (rlp.RawValue, error) {
	if p.link.Beam == nil {
		return nil, errNoBeam
	}
	reply, err := ask[witnessKeysPacket](ctx, p, msgGetWitnessKeys, msgWitnessKeys, func(id uint64) any {
		return &getWitnessPacket{id, block}
	})
	if err != nil {
		return nil, err
	}
	if len(reply.Keys) > MaxWitnessKeys {
		return nil, p.blame(KindExcess, fmt.Errorf("%s: %d bytes", msgWitnessKeys, len(reply.Keys)))
	}
	content, _, err := rlp.SplitList(reply.Keys)
	if err != nil {
		return nil, p.blame(KindMalformed, fmt.Errorf("%s: %w", msgWitnessKeys, err))
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
