package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params/forks"
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
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV1", patience, update, attributes)
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
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV2", patience, update, attributes)
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
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV3", patience, update, attributes)
}

// ForkchoiceUpdatedV4 is for Amsterdam: the slot number in the attributes. The custody
// columns are for a blob pool, which this node has not.
func (api *engineAPI) ForkchoiceUpdatedV4(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes, _ *types.CustodyBitmap) (engine.ForkChoiceResponse, error) {
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
	return api.forkchoiceUpdated(ctx, "forkchoiceUpdatedV4", patienceAmsterdam, update, attributes)
}

// NewPayloadV1 is for Paris.
func (api *engineAPI) NewPayloadV1(ctx context.Context, data engine.ExecutableData) (engine.PayloadStatusV1, error) {
	if data.Withdrawals != nil {
		return invalidStatus(), paramsErr("withdrawals not supported in V1")
	}
	return api.newPayload(ctx, "newPayloadV1", patience, data, nil, nil, nil)
}

// NewPayloadV2 is for Paris and Shanghai.
func (api *engineAPI) NewPayloadV2(ctx context.Context, data engine.ExecutableData) (engine.PayloadStatusV1, error) {
	var (
		config   = api.config()
		cancun   = config.IsCancun(config.LondonBlock, data.Timestamp)
		shanghai = config.IsShanghai(config.LondonBlock, data.Timestamp)
	)
	switch {
	case cancun:
		return invalidStatus(), paramsErr("can't use newPayloadV2 post-cancun")
	case shanghai && data.Withdrawals == nil:
		return invalidStatus(), paramsErr("nil withdrawals post-shanghai")
	case !shanghai && data.Withdrawals != nil:
		return invalidStatus(), paramsErr("non-nil withdrawals pre-shanghai")
	case data.ExcessBlobGas != nil:
		return invalidStatus(), paramsErr("non-nil excessBlobGas pre-cancun")
	case data.BlobGasUsed != nil:
		return invalidStatus(), paramsErr("non-nil blobGasUsed pre-cancun")
	}
	return api.newPayload(ctx, "newPayloadV2", patience, data, nil, nil, nil)
}

// NewPayloadV3 is for Cancun.
func (api *engineAPI) NewPayloadV3(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash) (engine.PayloadStatusV1, error) {
	if err := cancunParams(data, versionedHashes, beaconRoot); err != nil {
		return invalidStatus(), err
	}
	if !api.checkFork(data.Timestamp, forks.Cancun) {
		return invalidStatus(), forkErr("newPayloadV3 must only be called for cancun payloads")
	}
	return api.newPayload(ctx, "newPayloadV3", patience, data, versionedHashes, beaconRoot, nil)
}

// NewPayloadV4 is for Prague and Osaka.
func (api *engineAPI) NewPayloadV4(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	if err := cancunParams(data, versionedHashes, beaconRoot); err != nil {
		return invalidStatus(), err
	}
	switch {
	case executionRequests == nil:
		return invalidStatus(), paramsErr("nil executionRequests post-prague")
	case data.SlotNumber != nil:
		return invalidStatus(), paramsErr("slotNumber not supported pre-amsterdam")
	case data.BlockAccessList != nil:
		return invalidStatus(), paramsErr("block access list not supported pre-amsterdam")
	case !api.checkFork(data.Timestamp, forksV4()...):
		return invalidStatus(), forkErr("newPayloadV4 must only be called for prague/osaka payloads")
	}
	requests, err := decodeRequests(executionRequests)
	if err != nil {
		return invalidStatus(), err
	}
	return api.newPayload(ctx, "newPayloadV4", patience, data, versionedHashes, beaconRoot, requests)
}

// NewPayloadV5 is for Amsterdam. A block access list that is there but does not decode
// makes the payload INVALID, not the parameters.
func (api *engineAPI) NewPayloadV5(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	if err := cancunParams(data, versionedHashes, beaconRoot); err != nil {
		return invalidStatus(), err
	}
	switch {
	case executionRequests == nil:
		return invalidStatus(), paramsErr("nil executionRequests post-prague")
	case data.SlotNumber == nil:
		return invalidStatus(), paramsErr("nil slotnumber post-amsterdam")
	case data.BlockAccessList == nil:
		return invalidStatus(), paramsErr("missing block access list post-amsterdam")
	case !api.checkFork(data.Timestamp, forksV5()...):
		return invalidStatus(), forkErr("newPayloadV5 must only be called for amsterdam payloads")
	}
	requests, err := decodeRequests(executionRequests)
	if err != nil {
		return invalidStatus(), err
	}
	return api.newPayload(ctx, "newPayloadV5", patienceAmsterdam, data, versionedHashes, beaconRoot, requests)
}

// cancunParams wants what every payload since Cancun has.
func cancunParams(data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash) error {
	switch {
	case data.Withdrawals == nil:
		return paramsErr("nil withdrawals post-shanghai")
	case data.ExcessBlobGas == nil:
		return paramsErr("nil excessBlobGas post-cancun")
	case data.BlobGasUsed == nil:
		return paramsErr("nil blobGasUsed post-cancun")
	case versionedHashes == nil:
		return paramsErr("nil versionedHashes post-cancun")
	case beaconRoot == nil:
		return paramsErr("nil beaconRoot post-cancun")
	}
	return nil
}

// decodeRequests wants requests that are not empty and in strictly ascending order of
// their type (EIP-7685).
func decodeRequests(encoded []hexutil.Bytes) ([][]byte, error) {
	requests := make([][]byte, len(encoded))
	for i, request := range encoded {
		if len(request) < 2 {
			return nil, engine.InvalidParams.With(fmt.Errorf("empty request: %v", []byte(request)))
		}
		if i > 0 && request[0] <= requests[i-1][0] {
			return nil, engine.InvalidParams.With(fmt.Errorf("invalid request order: %v", []byte(request)))
		}
		requests[i] = request
	}
	return requests, nil
}

// GetPayloadV1 knows no payload, for none are built here; nor do its successors.
func (api *engineAPI) GetPayloadV1(id engine.PayloadID) (*engine.ExecutableData, error) {
	return nil, noPayload(id, engine.PayloadV1)
}

// GetPayloadV2 knows no payload.
func (api *engineAPI) GetPayloadV2(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV1, engine.PayloadV2)
}

// GetPayloadV3 knows no payload.
func (api *engineAPI) GetPayloadV3(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV3)
}

// GetPayloadV4 knows no payload.
func (api *engineAPI) GetPayloadV4(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV3)
}

// GetPayloadV5 knows no payload.
func (api *engineAPI) GetPayloadV5(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV3)
}

// GetPayloadV6 knows no payload.
func (api *engineAPI) GetPayloadV6(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV4)
}

func noPayload(id engine.PayloadID, versions ...engine.PayloadVersion) error {
	if !id.Is(versions...) {
		return engine.UnsupportedFork
	}
	return engine.UnknownPayload.With(errors.New("this node does not build blocks"))
}
