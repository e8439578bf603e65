package p2p

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

const (
	// handshakeTimeout is how long both statuses may take (go-ethereum's value).
	handshakeTimeout = 5 * time.Second
	// rangeStep is by how many blocks our range must move before peers are told: an
	// update per epoch at most (EIP-7642).
	rangeStep = 32
)

// handshake exchanges statuses (EIP-7642). A mismatch ends the peer.
func (p *Peer) handshake(ctx context.Context, tasks *sync.WaitGroup) {
	timeout := time.AfterFunc(handshakeTimeout, func() {
		_ = p.blame(KindTimeout, fmt.Errorf("no handshake within %v", handshakeTimeout))
	})
	defer timeout.Stop()

	p.announced = p.currentRange()
	status := &eth.StatusPacket{
		ProtocolVersion: uint32(p.link.Version),
		NetworkID:       p.cfg.NetworkID,
		Genesis:         p.cfg.Chain.Genesis().Hash(),
		ForkID:          forkid.NewIDWithChain(p.cfg.Chain),
		EarliestBlock:   p.announced.EarliestBlock,
		LatestBlock:     p.announced.LatestBlock,
		LatestBlockHash: p.announced.LatestBlockHash,
	}
	sent := make(chan struct{})
	tasks.Go(func() {
		defer close(sent)
		if err := p.write(ctx, msgStatus, status); err != nil {
			p.fail(err)
		}
	})
	if err := p.readStatus(); err != nil {
		p.fail(err) // unless it was blamed for it
		return
	}
	select {
	case <-sent: // our status must be the first message that we send
	case <-p.gone:
	}
}

// readStatus reads and checks the other end's status.
func (p *Peer) readStatus() error {
	msg, err := p.link.Eth.ReadMsg()
	if err != nil {
		return err
	}
	if msg.Code != eth.StatusMsg {
		return p.blame(KindInvalid, fmt.Errorf("message %#02x before the status", msg.Code))
	}
	_, payload, err := p.payload(protoEth, msg)
	if err != nil {
		return err
	}
	var status eth.StatusPacket
	if err := rlp.DecodeBytes(payload, &status); err != nil {
		return p.blame(KindMalformed, fmt.Errorf("status: %w", err))
	}
	if err := p.compatible(&status); err != nil {
		return p.blame(KindIncompatible, err)
	}
	announced := &eth.BlockRangeUpdatePacket{
		EarliestBlock:   status.EarliestBlock,
		LatestBlock:     status.LatestBlock,
		LatestBlockHash: status.LatestBlockHash,
	}
	if err := announced.Validate(); err != nil {
		return p.blame(KindInvalid, fmt.Errorf("status: %w", err))
	}
	p.remote.Store(announced)
	return nil
}

func (p *Peer) compatible(status *eth.StatusPacket) error {
	genesis := p.cfg.Chain.Genesis().Hash()
	switch {
	case status.NetworkID != p.cfg.NetworkID:
		return fmt.Errorf("network id %d, want %d", status.NetworkID, p.cfg.NetworkID)
	case uint(status.ProtocolVersion) != p.link.Version:
		return fmt.Errorf("status for eth/%d, agreed on eth/%d", status.ProtocolVersion, p.link.Version)
	case status.Genesis != genesis:
		return fmt.Errorf("genesis %x, want %x", status.Genesis, genesis)
	}
	if err := forkid.NewFilter(p.cfg.Chain)(status.ForkID); err != nil {
		return fmt.Errorf("fork id %x/%d: %w", status.ForkID.Hash, status.ForkID.Next, err)
	}
	return nil
}

// currentRange is what we have, as the protocol announces it.
func (p *Peer) currentRange() eth.BlockRangeUpdatePacket {
	head := p.cfg.Chain.CurrentHeader()
	return eth.BlockRangeUpdatePacket{
		EarliestBlock:   min(p.cfg.Chain.Oldest(), head.Number.Uint64()),
		LatestBlock:     head.Number.Uint64(),
		LatestBlockHash: head.Hash(),
	}
}

// announceRange tells the peer what we have if that changed enough, or if what it was
// told last is more than we have.
func (p *Peer) announceRange(ctx context.Context) error {
	told, now := p.announced, p.currentRange()
	due := now.LatestBlock < told.LatestBlock || now.EarliestBlock > told.EarliestBlock ||
		now.LatestBlock-told.LatestBlock >= rangeStep || told.EarliestBlock-now.EarliestBlock >= rangeStep
	if !due {
		return nil
	}
	p.announced = now
	return p.write(ctx, msgBlockRangeUpdate, &now)
}

// updateRange takes the other end's announcement.
func (p *Peer) updateRange(payload []byte) error {
	update := new(eth.BlockRangeUpdatePacket)
	if err := rlp.DecodeBytes(payload, update); err != nil {
		return p.blame(KindMalformed, fmt.Errorf("%s: %w", msgBlockRangeUpdate, err))
	}
	if err := update.Validate(); err != nil {
		return p.blame(KindInvalid, fmt.Errorf("%s: %w", msgBlockRangeUpdate, err))
	}
	p.remote.Store(update)
	return nil
}
