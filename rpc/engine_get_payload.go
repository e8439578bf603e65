// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/params/forks"

	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
)

// GetPayloadV1 returns a payload without an envelope.
func (api *engineAPI) GetPayloadV1(ctx context.Context, id engine.PayloadID) (json.RawMessage, error) {
	envelope, err := api.getPayload(ctx, id, nil, engine.PayloadV1)
	if err != nil {
		return nil, err
	}
	return envelope.PayloadJSON(), nil
}

// GetPayloadV2 is for Paris and Shanghai: with the value of the block.
func (api *engineAPI) GetPayloadV2(ctx context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error) {
	return api.getPayload(ctx, id, forksV1(), engine.PayloadV1, engine.PayloadV2)
}

// GetPayloadV3 is for Cancun: with blobs.
func (api *engineAPI) GetPayloadV3(ctx context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error) {
	return api.getPayload(ctx, id, []forks.Fork{forks.Cancun}, engine.PayloadV3)
}

// GetPayloadV4 is for Prague: with execution requests.
func (api *engineAPI) GetPayloadV4(ctx context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error) {
	return api.getPayload(ctx, id, []forks.Fork{forks.Prague}, engine.PayloadV3)
}

// GetPayloadV5 is for Osaka: the blobs have cell proofs.
func (api *engineAPI) GetPayloadV5(ctx context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error) {
	return api.getPayload(ctx, id, []forks.Fork{forks.Osaka, forks.BPO1, forks.BPO2}, engine.PayloadV3)
}

// GetPayloadV6 is for Amsterdam: with slot number and block access list.
func (api *engineAPI) GetPayloadV6(ctx context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error) {
	return api.getPayload(ctx, id, forksV5(), engine.PayloadV4)
}

// getPayload returns a payload if its attributes had one of the versions and its timestamp is in one of the forks; nil
// stands for all forks.
func (api *engineAPI) getPayload(ctx context.Context, id engine.PayloadID, in []forks.Fork, versions ...engine.PayloadVersion) (*payloadbuilder.Envelope, error) {
	if !id.Is(versions...) {
		return nil, engine.UnsupportedFork
	}
	if api.b.Payloads == nil {
		return nil, engine.UnknownPayload
	}
	envelope, err := api.b.Payloads.Get(ctx, id)
	switch {
	case errors.Is(err, payloadbuilder.ErrUnknownPayload):
		return nil, engine.UnknownPayload
	case err != nil:
		return nil, engine.GenericServerError.With(err)
	case in != nil && !api.checkFork(envelope.ExecutionPayload.Timestamp, in...):
		return nil, engine.UnsupportedFork
	}
	if envelope, err = api.withWitness(ctx, id, envelope); err != nil {
		return nil, engine.GenericServerError.With(err)
	}
	return envelope, nil
}

// startPayload starts a payload. What is wrong with the attributes is error -38003.
func (api *engineAPI) startPayload(ctx context.Context, attributes payloadbuilder.Attributes) (*engine.PayloadID, error) {
	if api.b.Payloads == nil {
		return nil, nil
	}
	id, err := api.b.Payloads.Start(ctx, attributes)
	switch {
	case errors.Is(err, payloadbuilder.ErrNotRunning), err != nil && ctx.Err() != nil:
		return nil, engine.GenericServerError.With(err)
	case err != nil:
		api.b.log.Error("Failed to start a payload", "parent", attributes.Parent, "timestamp", attributes.Timestamp, "err", err)
		return nil, engine.InvalidPayloadAttributes.With(err)
	}
	return &id, nil
}
