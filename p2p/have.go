// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// Have announces which parts of the state a node has collected. It is unverified and only a hint
// whom to ask. Slices are numbered by the first byte of their keys; the highest bit of the first
// byte of a set is slice 0.
type Have struct {
	Number      uint64        // of the block whose state is collected; 0: none yet
	Root        common.Hash   // of that state
	Since       uint64        // start of the collection, Unix time in milliseconds
	Active      bool          // the collection is not complete
	Accounts    [32]byte      // complete slices of the account trie, with storage and code
	Large       []common.Hash // accounts whose storage trie is large
	LargeSlices [][32]byte    // complete slices of these
}

type (
	havePacket struct {
		Number   uint64
		Root     common.Hash
		Since    uint64
		Active   bool
		Accounts [32]byte
		Large    []largePacket
	}
	largePacket struct {
		Account common.Hash
		Slices  [32]byte
	}
)

// Have is the newest announcement of the peer, zero before the first.
func (p *Peer) Have() Have {
	if have := p.have.Load(); have != nil {
		return *have
	}
	return Have{}
}

// SwarmChanged signals that the local Have changed. It does not block.
func (p *Peer) SwarmChanged() {
	select {
	case p.haveChanged <- struct{}{}:
	default: // already signalled
	}
}

// announceHave sends the local Have.
func (p *Peer) announceHave(ctx context.Context) error {
	if p.link.Beam == nil || p.cfg.Swarm == nil {
		return nil
	}
	have := p.cfg.Swarm.Have()
	packet := &havePacket{Number: have.Number, Root: have.Root, Since: have.Since, Active: have.Active, Accounts: have.Accounts}
	for i, account := range have.Large[:min(maxLarge, len(have.Large))] {
		packet.Large = append(packet.Large, largePacket{account, have.LargeSlices[i]})
	}
	return p.write(ctx, msgHave, packet)
}

// handleHave handles the other end's announcement.
func (p *Peer) handleHave(payload []byte) error {
	var packet havePacket
	if err := rlp.DecodeBytes(payload, &packet); err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msgHave, err))
	}
	if len(packet.Large) > maxLarge {
		return p.disconnect(KindExcess, fmt.Errorf("%s: %d large tries, limit %d", msgHave, len(packet.Large), maxLarge))
	}
	have := &Have{Number: packet.Number, Root: packet.Root, Since: packet.Since, Active: packet.Active, Accounts: packet.Accounts}
	for _, large := range packet.Large {
		have.Large, have.LargeSlices = append(have.Large, large.Account), append(have.LargeSlices, large.Slices)
	}
	p.have.Store(have)
	if p.cfg.Swarm != nil {
		p.cfg.Swarm.OnHave(p)
	}
	return nil
}
