package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
)

// exchange sends a request and waits for its response's payload. build makes the packet
// for the request id. It fails with ctx's error or ErrPeerGone.
func (p *Peer) exchange(ctx context.Context, ask, expect message, build func(id uint64) any) ([]byte, error) {
	id, fl := p.flights.add(expect)
	payload, err := p.await(ctx, ask, build(id), id, fl)
	outcome := outcomeOK
	switch {
	case errors.Is(err, ErrPeerGone):
		outcome = outcomeGone
	case err != nil:
		outcome = outcomeCancelled
	}
	p.cfg.Metrics.requested(ask, outcome, time.Since(fl.sent))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ask, err)
	}
	return payload, nil
}

func (p *Peer) await(ctx context.Context, ask message, packet any, id uint64, fl *flight) ([]byte, error) {
	if err := p.write(ctx, ask, packet); err != nil {
		p.flights.forget(id)
		return nil, err
	}
	select {
	case payload := <-fl.reply:
		return payload, nil
	case <-ctx.Done():
		p.flights.abandon(id)
		return nil, ctx.Err()
	case <-p.gone:
		return nil, p.goneError()
	}
}

// decode decodes a whole message; failing to is the peer's fault.
func decode[T any](p *Peer, msg message, payload []byte) (*T, error) {
	v := new(T)
	if err := rlp.DecodeBytes(payload, v); err != nil {
		return nil, p.blame(KindMalformed, fmt.Errorf("%s: %w", msg, err))
	}
	return v, nil
}

// items decodes a list after checking that it has no more items than it may have.
func items[T any](p *Peer, msg message, list *rlp.RawList[T], limit int) ([]T, error) {
	if list.Len() > limit {
		return nil, p.blame(KindExcess, fmt.Errorf("%s: %d items, asked for %d", msg, list.Len(), limit))
	}
	v, err := list.Items()
	if err != nil {
		return nil, p.blame(KindMalformed, fmt.Errorf("%s: %w", msg, err))
	}
	return v, nil
}
