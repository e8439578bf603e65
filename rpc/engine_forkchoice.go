// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params/forks"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
)

// ForkchoiceUpdatedV1 is for Paris (execution-apis, src/engine/paris.md).
func (api *engineAPI) ForkchoiceUpdatedV1(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return api.forkchoiceUpdated(ctx, api.forkchoiceV1(), update, attributes)
}

func (api *engineAPI) forkchoiceV1() forkchoiceCall {
	return forkchoiceCall{"forkchoiceUpdatedV1", responseTimeout, engine.PayloadV1, func(attributes *engine.PayloadAttributes) error {
		switch {
		case attributes.Withdrawals != nil || attributes.BeaconRoot != nil:
			return paramsErr("withdrawals and beacon root not supported in V1")
		case !api.checkFork(attributes.Timestamp, forksV1()...):
			return paramsErr("fcuV1 called post-shanghai")
		}
		return nil
	}}
}

// ForkchoiceUpdatedV2 is for Shanghai: withdrawals in the attributes.
func (api *engineAPI) ForkchoiceUpdatedV2(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return api.forkchoiceUpdated(ctx, api.forkchoiceV2(), update, attributes)
}

func (api *engineAPI) forkchoiceV2() forkchoiceCall {
	return forkchoiceCall{"forkchoiceUpdatedV2", responseTimeout, engine.PayloadV2, func(attributes *engine.PayloadAttributes) error {
		switch {
		case attributes.BeaconRoot != nil:
			return attributesErr("unexpected beacon root")
		case api.checkFork(attributes.Timestamp, forks.Paris) && attributes.Withdrawals != nil:
			return attributesErr("withdrawals before shanghai")
		case api.checkFork(attributes.Timestamp, forks.Shanghai) && attributes.Withdrawals == nil:
			return attributesErr("missing withdrawals")
		case !api.checkFork(attributes.Timestamp, forksV1()...):
			return forkErr("fcuV2 must only be called with paris or shanghai payloads")
		}
		return nil
	}}
}

// ForkchoiceUpdatedV3 is for Cancun to Osaka: the parent beacon block root in the attributes.
func (api *engineAPI) ForkchoiceUpdatedV3(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return api.forkchoiceUpdated(ctx, api.forkchoiceV3(), update, attributes)
}

func (api *engineAPI) forkchoiceV3() forkchoiceCall {
	return forkchoiceCall{"forkchoiceUpdatedV3", responseTimeout, engine.PayloadV3, func(attributes *engine.PayloadAttributes) error {
		switch {
		case attributes.Withdrawals == nil:
			return attributesErr("missing withdrawals")
		case attributes.BeaconRoot == nil:
			return attributesErr("missing beacon root")
		case !api.checkFork(attributes.Timestamp, forksV3()...):
			return forkErr("fcuV3 must only be called for cancun/prague/osaka payloads")
		}
		return nil
	}}
}

// ForkchoiceUpdatedV4 is for Amsterdam: the slot number in the attributes, and the columns of blobs that the
// consensus client has custody of (EIP-8070).
func (api *engineAPI) ForkchoiceUpdatedV4(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes, custody *types.CustodyBitmap) (engine.ForkChoiceResponse, error) {
	if custody != nil {
		api.b.Blobs.SetCustody(*custody)
	}
	return api.forkchoiceUpdated(ctx, api.forkchoiceV4(), update, attributes)
}

func (api *engineAPI) forkchoiceV4() forkchoiceCall {
	return forkchoiceCall{"forkchoiceUpdatedV4", responseTimeoutAmsterdam, engine.PayloadV4, func(attributes *engine.PayloadAttributes) error {
		switch {
		case attributes.Withdrawals == nil:
			return attributesErr("missing withdrawals")
		case attributes.BeaconRoot == nil:
			return attributesErr("missing beacon root")
		case attributes.SlotNumber == nil:
			return attributesErr("missing slot number")
		case !api.checkFork(attributes.Timestamp, forksV5()...):
			return forkErr("fcuV4 must only be called for amsterdam payloads")
		}
		return nil
	}}
}

// forkchoiceCall is what distinguishes the versions of forkchoiceUpdated.
type forkchoiceCall struct {
	method  string
	within  time.Duration
	version engine.PayloadVersion                 // of the attributes
	check   func(*engine.PayloadAttributes) error // of the attributes, which are not nil
}

// forkchoiceUpdated imports the fork choice. Then it checks the payload attributes and starts a payload.
func (api *engineAPI) forkchoiceUpdated(ctx context.Context, call forkchoiceCall, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	if update.HeadBlockHash == (common.Hash{}) {
		return engine.STATUS_INVALID, nil
	}
	ctx, release, err := api.acquire(ctx, call.within)
	if err != nil {
		status, err := api.respond(ctx, call.method, importer.Outcome{}, err)
		return engine.ForkChoiceResponse{PayloadStatus: status}, err
	}
	defer release()
	outcome, err := api.b.Engine.Forkchoice(ctx, importer.Forkchoice{
		Head: update.HeadBlockHash, Safe: update.SafeBlockHash, Finalized: update.FinalizedBlockHash,
	})
	status, err := api.respond(ctx, call.method, outcome, err)
	response := engine.ForkChoiceResponse{PayloadStatus: status}
	if err != nil || attributes == nil || status.Status == engine.INVALID {
		return response, err
	}
	if err := call.check(attributes); err != nil { // also of a head that is not executed yet, as go-ethereum
		return engine.STATUS_INVALID, err
	}
	if slices.Contains(attributes.Withdrawals, (*types.Withdrawal)(nil)) {
		return engine.STATUS_INVALID, attributesErr("null withdrawal")
	}
	if status.Status != engine.VALID {
		return response, nil
	}
	if head := api.b.Chain.Header(update.HeadBlockHash); head != nil && api.b.Chain.IsBelowFinalized(head) {
		return response, nil // such a fork choice changes nothing, and no payload may be built on it (execution-apis, src/engine/paris.md)
	}
	response.PayloadID, err = api.startPayload(ctx, payloadbuilder.Attributes{
		PayloadAttributes: *attributes, Parent: update.HeadBlockHash, Version: call.version,
	})
	return response, err
}
