// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Proposer is a validator that proposes every block through one node, with a geth that judges the blocks and builds its
// own of the same pool, for comparison. A slot whose proposal fails has geth's block.
type Proposer struct {
	Node  *Client
	Judge *Builder
	// Attributes changes those of the next block; may be nil.
	Attributes func(*engine.PayloadAttributes)
}

// Proposal is what came of one slot.
type Proposal struct {
	Payload  *Payload      // that the chain goes on with
	Accepted bool          // it is the node's, and geth calls it VALID
	Problem  string        // why not; empty if accepted
	Started  time.Duration // of forkchoiceUpdated with the attributes
	Delivery time.Duration // of getPayload, from the request to the last byte of the response
	Txs      int           // in the node's payload
	Blobs    int
	Value    *big.Int // wei, of the node's payload; nil if there is none
	Rival    *big.Int // wei, of geth's
}

// Propose has the node build a block on the head for a time in seconds. The wait between forkchoiceUpdated and
// getPayload must not be nil. An error means that geth failed, or ctx ended.
func (p *Proposer) Propose(ctx context.Context, seconds uint64, wait func(context.Context) error) (*Proposal, error) {
	attributes := p.Judge.attributes(seconds)
	if p.Attributes != nil {
		p.Attributes(attributes)
	}
	result := new(Proposal)
	id, err := p.start(ctx, attributes, result)
	if waited := wait(ctx); waited != nil {
		return nil, waited
	}
	if failed := p.Judge.setHead(ctx, p.Judge.fork(attributes.Timestamp)); failed != nil {
		return nil, failed
	}
	var rival engine.ExecutionPayloadEnvelope
	if failed := p.Judge.geth.CallContext(ctx, &rival, "testing_buildBlockV1", p.Judge.head.Hash(), attributes, nil, hexutil.Bytes{}); failed != nil {
		return nil, fmt.Errorf("have geth build a block: %w", failed)
	}
	result.Rival = rival.BlockValue
	var built *engine.ExecutionPayloadEnvelope
	if err == nil {
		built, err = p.fetch(ctx, id, attributes, result)
	}
	if err == nil {
		if result.Payload, err = p.Judge.adopt(ctx, built, attributes); err == nil {
			result.Accepted = true
			return result, nil
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	result.Problem = err.Error()
	result.Payload, err = p.Judge.adopt(ctx, &rival, attributes)
	return result, err
}

// start makes the node's head that of the chain, and starts a payload.
func (p *Proposer) start(ctx context.Context, attributes *engine.PayloadAttributes, result *Proposal) (*engine.PayloadID, error) {
	state, err := p.Judge.forkchoice(ctx, p.Judge.head.Number.Uint64(), p.Judge.head.Hash())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	response, err := p.Node.forkchoice(ctx, p.Judge.fork(attributes.Timestamp), state, attributes)
	result.Started = time.Since(began)
	switch {
	case err != nil:
		return nil, err
	case response.PayloadID == nil:
		return nil, fmt.Errorf("forkchoiceUpdated starts no payload: the head is %s", response.PayloadStatus.Status)
	}
	return response.PayloadID, nil
}

// fetch gets the node's payload.
func (p *Proposer) fetch(ctx context.Context, id *engine.PayloadID, attributes *engine.PayloadAttributes, result *Proposal) (*engine.ExecutionPayloadEnvelope, error) {
	built, f := new(engine.ExecutionPayloadEnvelope), p.Judge.fork(attributes.Timestamp)
	if f == paris {
		return nil, errors.New("no proposals before Shanghai")
	}
	if err := p.Node.call(context.WithValue(ctx, exchangeKey{}, &result.Delivery), built, f.getPayload(), id); err != nil {
		return nil, err
	}
	result.Txs, result.Value = len(built.ExecutionPayload.Transactions), built.BlockValue
	if built.BlobsBundle != nil {
		result.Blobs = len(built.BlobsBundle.Blobs)
	}
	return built, nil
}

// Import hands the newest block to the node, as the consensus client of a validator does after it published it. It
// returns the status.
func (p *Proposer) Import(ctx context.Context, payload *Payload) (string, error) {
	status, err := p.Node.NewPayload(ctx, payload)
	if err != nil {
		return "", err
	}
	if status.ValidationError != nil {
		return status.Status, errors.New(*status.ValidationError)
	}
	return status.Status, nil
}
