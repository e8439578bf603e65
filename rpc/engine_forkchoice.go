// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params/forks"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// ForkchoiceUpdatedV1 is for Paris (execution-apis, src/engine/paris.md).
func (api *engineAPI) ForkchoiceUpdatedV1(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	if attributes != nil {
		switch {
		case attributes.Withdrawals != nil || attributes.BeaconRoot != nil:
			return engine.STATUS_INVALID, paramsErr("withdrawals and beacon root not supported in V1")
		case !api.checkFork(attributes.Timestamp, forksV1()...):
			return engine.STATUS_INVALID, paramsErr("fcuV1 called post-shanghai")
		}
	}
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV1", responseTimeout, update, attributes)
}

// ForkchoiceUpdatedV2 is for Shanghai: withdrawals in the attributes.
func (api *engineAPI) ForkchoiceUpdatedV2(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	if attributes != nil {
		switch {
		case attributes.BeaconRoot != nil:
			return engine.STATUS_INVALID, attributesErr("unexpected beacon root")
		case api.checkFork(attributes.Timestamp, forks.Paris) && attributes.Withdrawals != nil:
			return engine.STATUS_INVALID, attributesErr("withdrawals before shanghai")
		case api.checkFork(attributes.Timestamp, forks.Shanghai) && attributes.Withdrawals == nil:
			return engine.STATUS_INVALID, attributesErr("missing withdrawals")
		case !api.checkFork(attributes.Timestamp, forksV1()...):
			return engine.STATUS_INVALID, forkErr("fcuV2 must only be called with paris or shanghai payloads")
		}
	}
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV2", responseTimeout, update, attributes)
}

// ForkchoiceUpdatedV3 is for Cancun to Osaka: the parent beacon block root in the attributes.
func (api *engineAPI) ForkchoiceUpdatedV3(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	if attributes != nil {
		switch {
		case attributes.Withdrawals == nil:
			return engine.STATUS_INVALID, attributesErr("missing withdrawals")
		case attributes.BeaconRoot == nil:
			return engine.STATUS_INVALID, attributesErr("missing beacon root")
		case !api.checkFork(attributes.Timestamp, forksV3()...):
			return engine.STATUS_INVALID, forkErr("fcuV3 must only be called for cancun/prague/osaka payloads")
		}
	}
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV3", responseTimeout, update, attributes)
}

// ForkchoiceUpdatedV4 is for Amsterdam: the slot number in the attributes, and the columns of blobs that the
// consensus client has custody of (EIP-8070).
func (api *engineAPI) ForkchoiceUpdatedV4(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes, custody *types.CustodyBitmap) (engine.ForkChoiceResponse, error) {
	if attributes != nil {
		switch {
		case attributes.Withdrawals == nil:
			return engine.STATUS_INVALID, attributesErr("missing withdrawals")
		case attributes.BeaconRoot == nil:
			return engine.STATUS_INVALID, attributesErr("missing beacon root")
		case attributes.SlotNumber == nil:
			return engine.STATUS_INVALID, attributesErr("missing slot number")
		case !api.checkFork(attributes.Timestamp, forksV5()...):
			return engine.STATUS_INVALID, forkErr("fcuV4 must only be called for amsterdam payloads")
		}
	}
	if custody != nil {
		api.b.Blobs.SetCustody(*custody)
	}
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV4", responseTimeoutAmsterdam, update, attributes)
}

// forkchoiceUpdated imports the fork choice, then checks the payload attributes.
func (api *engineAPI) forkchoiceUpdated(ctx context.Context, method string, within time.Duration, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	if update.HeadBlockHash == (common.Hash{}) {
		return engine.STATUS_INVALID, nil
	}
	ctx, release, err := api.acquire(ctx, within)
	if err != nil {
		status, err := api.respond(ctx, method, importer.Outcome{}, err)
		return engine.ForkChoiceResponse{PayloadStatus: status}, err
	}
	defer release()
	outcome, err := api.b.Engine.Forkchoice(ctx, importer.Forkchoice{
		Head: update.HeadBlockHash, Safe: update.SafeBlockHash, Finalized: update.FinalizedBlockHash,
	})
	status, err := api.respond(ctx, method, outcome, err)
	response := engine.ForkChoiceResponse{PayloadStatus: status}
	if err != nil || attributes == nil || status.Status != engine.VALID {
		return response, err
	}
	if head := api.b.Chain.Header(update.HeadBlockHash); head != nil && attributes.Timestamp <= head.Time {
		return response, attributesErr(fmt.Sprintf("invalid timestamp: %d, head has %d", attributes.Timestamp, head.Time))
	}
	api.b.log.Warn("Ignoring payload attributes: this node does not build blocks",
		slog.Uint64("timestamp", attributes.Timestamp), slog.Any("head", update.HeadBlockHash))
	return response, nil
}
