// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

const (
	// handshakeTimeout limits the exchange of both statuses (go-ethereum's value).
	handshakeTimeout = 5 * time.Second
	// rangeStep is how many blocks the range must move before it is announced again: at most
	// one update per epoch (EIP-7642).
	rangeStep = 32
)

// handshake exchanges statuses (EIP-7642). A mismatch disconnects the peer.
func (p *Peer) handshake(ctx context.Context, tasks *sync.WaitGroup) {
	timeout := time.AfterFunc(handshakeTimeout, func() {
		_ = p.disconnect(KindTimeout, fmt.Errorf("no handshake within %v", handshakeTimeout))
	})
	defer timeout.Stop()

	p.announced = p.currentRange()
	status := p.status()
	sent := make(chan struct{})
	tasks.Go(func() {
		defer close(sent)
		if err := p.write(ctx, msgStatus, status); err != nil {
			p.fail(err)
		}
	})
	if err := p.readStatus(); err != nil {
		p.fail(err) // no effect after a protocol error
		return
	}
	select {
	case <-sent: // the status must be the first message sent
	case <-p.done:
	}
}

// status66 is the status before EIP-7642: with the head's hash only.
type status66 struct {
	ProtocolVersion uint32
	NetworkID       uint64
	TD              *big.Int
	Head            common.Hash
	Genesis         common.Hash
	ForkID          forkid.ID
}

// status is the local status in the encoding of the link's version.
func (p *Peer) status() any {
	chain := p.cfg.Chain
	if p.link.Version >= eth.ETH69 {
		return &eth.StatusPacket{
			ProtocolVersion: uint32(p.link.Version),
			NetworkID:       p.cfg.NetworkID,
			Genesis:         chain.Genesis().Hash(),
			ForkID:          forkid.NewIDWithChain(chain),
			EarliestBlock:   p.announced.EarliestBlock,
			LatestBlock:     p.announced.LatestBlock,
			LatestBlockHash: p.announced.LatestBlockHash,
		}
	}
	// After the merge every block has the terminal total difficulty (EIP-3675). Before the
	// merge peers select their sync source by it, and this node has no chain for them.
	td := chain.Config().TerminalTotalDifficulty
	if td == nil {
		td = new(big.Int)
	}
	return &status66{
		ProtocolVersion: uint32(p.link.Version),
		NetworkID:       p.cfg.NetworkID,
		TD:              td,
		Head:            p.announced.LatestBlockHash,
		Genesis:         chain.Genesis().Hash(),
		ForkID:          forkid.NewIDWithChain(chain),
	}
}

// decodeStatus decodes the other end's status. A status of eth/66 has no head number, which
// is 0 then, and implies that the peer has all blocks.
func decodeStatus(version uint, payload []byte) (status *eth.StatusPacket, err error) {
	if version >= eth.ETH69 {
		status = new(eth.StatusPacket)
		return status, rlp.DecodeBytes(payload, status)
	}
	var old status66
	if err := rlp.DecodeBytes(payload, &old); err != nil {
		return nil, err
	}
	return &eth.StatusPacket{
		ProtocolVersion: old.ProtocolVersion, NetworkID: old.NetworkID, Genesis: old.Genesis,
		ForkID: old.ForkID, LatestBlockHash: old.Head,
	}, nil
}

// learnHead requests the header of the head in a status of eth/66, which has no number.
func (p *Peer) learnHead(ctx context.Context) {
	_, hash := p.Head()
	headers, err := p.Headers(ctx, hash, 1, false)
	if err == nil && len(headers) == 1 && headers[0].Hash() == hash {
		p.remote.Store(&eth.BlockRangeUpdatePacket{LatestBlock: headers[0].Number.Uint64(), LatestBlockHash: hash})
	}
}

// readStatus reads and checks the other end's status.
func (p *Peer) readStatus() error {
	msg, err := p.link.Eth.ReadMsg()
	if err != nil {
		return err
	}
	if msg.Code != eth.StatusMsg {
		return p.disconnect(KindInvalid, fmt.Errorf("message %#02x before the status", msg.Code))
	}
	m, err := p.check(protoEth, msg)
	if err != nil {
		return err
	}
	payload, err := p.payload(m, msg, nil)
	if err != nil {
		return err
	}
	status, err := decodeStatus(p.link.Version, payload)
	if err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("status: %w", err))
	}
	if err := p.compatible(status); err != nil {
		return p.disconnect(KindIncompatible, err)
	}
	announced := &eth.BlockRangeUpdatePacket{
		EarliestBlock:   status.EarliestBlock,
		LatestBlock:     status.LatestBlock,
		LatestBlockHash: status.LatestBlockHash,
	}
	if err := announced.Validate(); err != nil {
		return p.disconnect(KindInvalid, fmt.Errorf("status: %w", err))
	}
	p.remote.Store(announced)
	return nil
}

func (p *Peer) compatible(status *eth.StatusPacket) error {
	genesis := p.cfg.Chain.Genesis().Hash()
	switch {
	case status.NetworkID != p.cfg.NetworkID:
		return fmt.Errorf("network id %d, want %d (genesis %x, ours is %x)", status.NetworkID, p.cfg.NetworkID, status.Genesis, genesis)
	case uint(status.ProtocolVersion) != p.link.Version:
		return fmt.Errorf("status for eth/%d, agreed on eth/%d", status.ProtocolVersion, p.link.Version)
	case status.Genesis != genesis:
		return fmt.Errorf("genesis %x, want %x (network id %d, as ours)", status.Genesis, genesis, status.NetworkID)
	}
	if err := forkid.NewFilter(p.cfg.Chain)(status.ForkID); err != nil {
		return fmt.Errorf("fork id %x/%d: %w", status.ForkID.Hash, status.ForkID.Next, err)
	}
	return nil
}

// currentRange is the block range that the node announces.
func (p *Peer) currentRange() eth.BlockRangeUpdatePacket {
	head := p.cfg.Chain.CurrentHeader()
	return eth.BlockRangeUpdatePacket{
		EarliestBlock:   min(p.cfg.Chain.Oldest(), head.Number.Uint64()),
		LatestBlock:     head.Number.Uint64(),
		LatestBlockHash: head.Hash(),
	}
}

// announceRange sends the block range if it moved by rangeStep, or if the last announced range
// has blocks that the node no longer has.
func (p *Peer) announceRange(ctx context.Context) error {
	if p.link.Version < eth.ETH69 {
		return nil
	}
	last, now := p.announced, p.currentRange()
	due := now.LatestBlock < last.LatestBlock || now.EarliestBlock > last.EarliestBlock ||
		now.LatestBlock-last.LatestBlock >= rangeStep || last.EarliestBlock-now.EarliestBlock >= rangeStep
	if !due {
		return nil
	}
	p.announced = now
	return p.write(ctx, msgBlockRangeUpdate, &now)
}

// updateRange handles the other end's announced block range.
func (p *Peer) updateRange(payload []byte) error {
	update := new(eth.BlockRangeUpdatePacket)
	if err := rlp.DecodeBytes(payload, update); err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msgBlockRangeUpdate, err))
	}
	if err := update.Validate(); err != nil {
		return p.disconnect(KindInvalid, fmt.Errorf("%s: %w", msgBlockRangeUpdate, err))
	}
	p.remote.Store(update)
	return nil
}
