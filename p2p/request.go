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
func (p *Peer) exchange(ctx context.Context, request, response message, build func(id uint64) any) ([]byte, error) {
	id, fl := p.flights.add(response)
	payload, err := p.await(ctx, request, build(id), id, fl)
	outcome := outcomeOK
	switch {
	case errors.Is(err, ErrPeerGone):
		outcome = outcomeGone
	case err != nil:
		outcome = outcomeCancelled
	}
	p.cfg.Metrics.requested(request, outcome, time.Since(fl.sent))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", request, err)
	}
	return payload, nil
}

func (p *Peer) await(ctx context.Context, request message, packet any, id uint64, fl *flight) ([]byte, error) {
	if err := p.write(ctx, request, packet); err != nil {
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

// ask is an exchange whose response is decoded. Beside the exchange's errors it returns the peer's faults.
func ask[Reply any](ctx context.Context, p *Peer, request, response message, build func(id uint64) any) (*Reply, error) {
	payload, err := p.exchange(ctx, request, response, build)
	if err != nil {
		return nil, err
	}
	return decode[Reply](p, response, payload)
}

// listPacket is a response that has nothing but items, which can be counted before they are decoded.
type listPacket[T any] struct {
	ID    uint64
	Items rlp.RawList[T]
}

// askList asks for a list of no more than limit items.
func askList[T any](ctx context.Context, p *Peer, request, response message, limit int, build func(id uint64) any) ([]T, error) {
	reply, err := ask[listPacket[T]](ctx, p, request, response, build)
	if err != nil {
		return nil, err
	}
	return items(p, response, &reply.Items, limit)
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
