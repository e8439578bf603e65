// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
)

// exchange sends a request and waits for the payload of the response, of at most limit bytes, which it passes to use. build makes
// the packet for a request id. The error is ctx's, ErrPeerGone, ErrBusy, or that of use.
func (p *Peer) exchange(ctx context.Context, request, response message, limit int, build func(id uint64) any, use func(payload []byte) error) error {
	if err := p.cfg.Budget.reserve(ctx, limit, response.urgent()); err != nil {
		return fmt.Errorf("%s: %w", request, err)
	}
	defer p.cfg.Budget.release(limit)
	id, fl := p.inFlight.add(response, limit)
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
		return fmt.Errorf("%s: %w", request, err)
	}
	return use(payload)
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
func query[Reply any](ctx context.Context, p *Peer, request, response message, size int, build func(id uint64) any) (reply *Reply, err error) {
	err = p.exchange(ctx, request, response, size, build, func(payload []byte) (err error) {
		reply, err = decode[Reply](p, response, payload)
		return err
	})
	return reply, err
}

// listPacket is a response with a single list, which is counted before it is decoded.
type listPacket[T any] struct {
	ID    uint64
	Items rlp.RawList[T]
}

// queryList requests a list of at most limit items, in a reply of at most size bytes.
func queryList[T any](ctx context.Context, p *Peer, request, response message, limit, size int, build func(id uint64) any) ([]T, error) {
	reply, err := query[listPacket[T]](ctx, p, request, response, size, build)
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

// blobs checks the size of each item before anything hashes it.
func (p *Peer) blobs(msg message, list [][]byte, limit int) ([][]byte, error) {
	for i, blob := range list {
		if len(blob) > limit {
			return nil, p.disconnect(KindOversize, fmt.Errorf("%s: item %d has %d bytes, limit %d", msg, i, len(blob), limit))
		}
	}
	return list, nil
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
