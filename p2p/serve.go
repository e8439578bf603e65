// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

const (
	// maxQueued limits the queued messages of a peer. Honest peers have a few dozen requests
	// in flight.
	maxQueued = 256
	// maxQueuedBytes limits their bytes. One message always fits.
	maxQueuedBytes = 2 * maxIncoming
	// gossipShare is the part of both limits that gossip may use, one in two: frequent gossip
	// must leave room for requests.
	gossipShare = 2

	// maxRequestRate is how many requests of a peer are answered per second; further ones wait.
	// A peer with 16 requests in flight at 50 ms sends 320, each for up to 1024 nodes.
	maxRequestRate = 500
	// requestBurst is how many requests may arrive at once.
	requestBurst = 500
)

// enqueue queues a message for the serving goroutine. It returns false if the queue is full.
func (p *Peer) enqueue(in incoming) bool {
	count, bytes, size := maxQueued, int64(maxQueuedBytes), int64(len(in.payload))
	if messages[in.msg].role == roleGossip {
		count, bytes = count/gossipShare, bytes/gossipShare
	}
	if queued := p.queued.Add(size); queued > bytes && queued != size || len(p.queue) >= count {
		p.queued.Add(-size)
		return false
	}
	select {
	case p.queue <- in:
		return true
	default:
		p.queued.Add(-size)
		return false
	}
}

// serve handles the queued messages, one after another, until ctx ends.
func (p *Peer) serve(ctx context.Context) {
	for {
		var err error
		select {
		case in := <-p.queue:
			p.queued.Add(-int64(len(in.payload)))
			if messages[in.msg].role == roleGossip {
				err = p.gossip(in)
			} else if err = p.limitRate(ctx); err == nil {
				err = p.answer(ctx, in)
			}
		case <-p.headMoved:
			err = p.announceRange(ctx)
		case <-p.haveChanged:
			err = p.announceHave(ctx)
		case <-ctx.Done():
			return
		}
		if err != nil {
			p.fail(err) // no effect after a protocol error
			return
		}
	}
}

// limitRate waits until the rate limit allows one more request.
func (p *Peer) limitRate(ctx context.Context) error {
	if p.limiter.Allow() {
		return nil
	}
	p.cfg.Metrics.rateLimited.Inc()
	return p.limiter.Wait(ctx)
}

// answer replies to one request. It holds the gate while it reads the backends, not while it
// writes the reply.
func (p *Peer) answer(ctx context.Context, in incoming) error {
	if err := p.cfg.Gate.enter(ctx); err != nil {
		return err
	}
	reply, packet, err := p.reply(in)
	p.cfg.Gate.leave()
	if err != nil {
		return err
	}
	if err := p.write(ctx, reply, packet); err != nil {
		return err
	}
	p.cfg.Metrics.answered(in.msg, packet)
	return nil
}

// reply builds the response to a request.
func (p *Peer) reply(in incoming) (message, any, error) {
	switch in.msg { //nolint:exhaustive // only requests have a reply
	case msgGetBlockHeaders:
		return build(p, in, msgBlockHeaders, p.serveHeaders)
	case msgGetBlockBodies:
		return build(p, in, msgBlockBodies, p.serveBodies)
	case msgGetReceipts:
		switch {
		case p.link.Version >= eth.ETH70:
			return build(p, in, msgReceipts, p.serveReceipts70)
		case p.link.Version >= eth.ETH69:
			return build(p, in, msgReceipts, p.serveReceipts69)
		}
		return build(p, in, msgReceipts, p.serveReceipts66)
	case msgGetAccessLists:
		return build(p, in, msgAccessLists, p.serveAccessLists)
	case msgGetPooledTransactions:
		return build(p, in, msgPooledTransactions, p.servePooledTransactions)
	case msgGetCells:
		return build(p, in, msgCells, p.serveCells)
	case msgGetTrieNodes:
		return build(p, in, msgTrieNodes, p.serveTrieNodes)
	case msgGetByteCodes:
		return build(p, in, msgByteCodes, p.serveByteCodes)
	case msgGetAccountRange:
		return build(p, in, msgAccountRange, p.serveAccountRange)
	case msgGetStorageRanges:
		return build(p, in, msgStorageRanges, p.serveStorageRanges)
	case msgGetWitnessHashes:
		return build(p, in, msgWitnessHashes, p.serveWitnessHashes)
	case msgGetWitnessKeys:
		return build(p, in, msgWitnessKeys, p.serveWitnessKeys)
	case msgGetNodeData:
		return build(p, in, msgNodeData, p.serveNodeData)
	case msgBeamGetNodeData:
		return build(p, in, msgBeamNodeData, p.serveNodeData)
	case msgGetSubtrees:
		return build(p, in, msgSubtrees, p.serveSubtrees)
	default:
		return 0, nil, fmt.Errorf("no handler for %s", in.msg)
	}
}

// build decodes a request and builds its response.
func build[Q any](p *Peer, in incoming, reply message, respond func(*Q) (any, error)) (message, any, error) {
	query, err := decode[Q](p, in.msg, in.payload)
	if err != nil {
		return reply, nil, err
	}
	packet, err := respond(query)
	return reply, packet, err
}

// batch collects the items of a reply up to the soft limit. The last item may exceed it, but
// not the message limit.
type batch struct {
	items []rlp.RawValue
	size  int // bytes
}

// replyOverhead is an upper bound for the request id and list headers of a reply, in bytes.
const replyOverhead = 64

func (b *batch) full() bool { return b.size >= softReplySize || len(b.items) >= maxLookups }

func (b *batch) room() int { return maxMessageSize - replyOverhead - b.size }

func (b *batch) add(item rlp.RawValue) bool {
	if len(item) > b.room() {
		return false
	}
	b.items = append(b.items, item)
	b.size += len(item)
	return true
}
