// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// NewPayloadV1 is for Paris.
func (api *engineAPI) NewPayloadV1(ctx context.Context, data engine.ExecutableData) (engine.PayloadStatusV1, error) {
	return api.newPayload(ctx, api.payloadV1(data))
}

// NewPayloadV2 is for Paris and Shanghai.
func (api *engineAPI) NewPayloadV2(ctx context.Context, data engine.ExecutableData) (engine.PayloadStatusV1, error) {
	return api.newPayload(ctx, api.payloadV2(data))
}

// NewPayloadV3 is for Cancun.
func (api *engineAPI) NewPayloadV3(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash) (engine.PayloadStatusV1, error) {
	return api.newPayload(ctx, api.payloadV3(data, versionedHashes, beaconRoot))
}

// NewPayloadV4 is for Prague and Osaka.
func (api *engineAPI) NewPayloadV4(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	return api.newPayload(ctx, api.payloadV4(data, versionedHashes, beaconRoot, executionRequests))
}

// NewPayloadV5 is for Amsterdam. A block access list that does not decode makes the payload INVALID; it is not
// an error of the parameters.
func (api *engineAPI) NewPayloadV5(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	return api.newPayload(ctx, api.payloadV5(data, versionedHashes, beaconRoot, executionRequests))
}

// newPayload imports the payload of a call.
func (api *engineAPI) newPayload(ctx context.Context, call payloadParams) (engine.PayloadStatusV1, error) {
	status, _, err := api.importPayload(ctx, "newPayload"+call.version, call)
	return status, err
}

// importPayload decodes the payload of a call into a block and imports it. A payload that does not decode, or has another
// block hash than it claims, is INVALID without a latest valid hash. The block is nil then.
func (api *engineAPI) importPayload(ctx context.Context, method string, call payloadParams) (engine.PayloadStatusV1, *types.Block, error) {
	if call.err != nil {
		return invalidStatus(), nil, call.err
	}
	ctx, release, err := api.acquire(ctx, call.within())
	if err != nil {
		status, err := api.respond(ctx, method, importer.Outcome{}, err)
		return status, nil, err
	}
	defer release()
	block, err := engine.ExecutableDataToBlock(call.data, call.versionedHashes, call.beaconRoot, call.requests)
	if err != nil {
		api.b.log.Warn("Received payload that does not decode into its block", "number", call.data.Number, "hash", call.data.BlockHash, "err", err)
		status, err := api.respond(ctx, method, importer.Outcome{Status: importer.Invalid, Reason: err}, nil)
		return status, nil, err
	}
	status, err := api.respond(ctx, method, api.b.Engine.NewPayload(ctx, block), nil)
	return status, block, err
}
