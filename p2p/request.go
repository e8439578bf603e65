// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
)

// exchange sends a request and waits for the payload of the response. build makes the packet
// for a request id. The error is ctx's or ErrPeerGone.
func (p *Peer) exchange(ctx context.Context, request, response message, build func(id uint64) any) ([]byte, error) {
	id, fl := p.inFlight.add(response)
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

func (p *Peer) await(ctx context.Context, request message, packet any, id uint64, fl *pendingRequest) ([]byte, error) {
	if err := p.write(ctx, request, packet); err != nil {
		p.inFlight.forget(id)
		return nil, err
	}
	select {
	case payload := <-fl.reply:
		return payload, nil
	case <-ctx.Done():
		p.inFlight.abandon(id)
		return nil, ctx.Err()
	case <-p.done:
		return nil, p.goneError()
	}
}

// query is an exchange whose response is decoded. Its errors are those of the exchange and
// *ProtocolError.
func query[Reply any](ctx context.Context, p *Peer, request, response message, build func(id uint64) any) (*Reply, error) {
	payload, err := p.exchange(ctx, request, response, build)
	if err != nil {
		return nil, err
	}
	return decode[Reply](p, response, payload)
}

// listPacket is a response with a single list, which is counted before it is decoded.
type listPacket[T any] struct {
	ID    uint64
	Items rlp.RawList[T]
}

// queryList requests a list of at most limit items.
func queryList[T any](ctx context.Context, p *Peer, request, response message, limit int, build func(id uint64) any) ([]T, error) {
	reply, err := query[listPacket[T]](ctx, p, request, response, build)
	if err != nil {
		return nil, err
	}
	return items(p, response, &reply.Items, limit)
}

// decode decodes a whole message; failure is a protocol error.
func decode[T any](p *Peer, msg message, payload []byte) (*T, error) {
	v := new(T)
	if err := rlp.DecodeBytes(payload, v); err != nil {
		return nil, p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msg, err))
	}
	return v, nil
}

// items decodes a list of at most limit items.
func items[T any](p *Peer, msg message, list *rlp.RawList[T], limit int) ([]T, error) {
	if list.Len() > limit {
		return nil, p.disconnect(KindExcess, fmt.Errorf("%s: %d items, limit %d", msg, list.Len(), limit))
	}
	v, err := list.Items()
	if err != nil {
		return nil, p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msg, err))
	}
	return v, nil
}
