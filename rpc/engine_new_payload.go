// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params/forks"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// NewPayloadV1 is for Paris.
func (api *engineAPI) NewPayloadV1(ctx context.Context, data engine.ExecutableData) (engine.PayloadStatusV1, error) {
	if data.Withdrawals != nil {
		return invalidStatus(), paramsErr("withdrawals not supported in V1")
	}
	return api.newPayload(ctx, "newPayloadV1", responseTimeout, data, nil, nil, nil)
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
	return api.newPayload(ctx, "newPayloadV2", responseTimeout, data, nil, nil, nil)
}

// NewPayloadV3 is for Cancun.
func (api *engineAPI) NewPayloadV3(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash) (engine.PayloadStatusV1, error) {
	if err := cancunParams(data, versionedHashes, beaconRoot); err != nil {
		return invalidStatus(), err
	}
	if !api.checkFork(data.Timestamp, forks.Cancun) {
		return invalidStatus(), forkErr("newPayloadV3 must only be called for cancun payloads")
	}
	return api.newPayload(ctx, "newPayloadV3", responseTimeout, data, versionedHashes, beaconRoot, nil)
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
	return api.newPayload(ctx, "newPayloadV4", responseTimeout, data, versionedHashes, beaconRoot, requests)
}

// NewPayloadV5 is for Amsterdam. A block access list that does not decode makes the payload INVALID; it is not
// an error of the parameters.
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
	return api.newPayload(ctx, "newPayloadV5", responseTimeoutAmsterdam, data, versionedHashes, beaconRoot, requests)
}

// newPayload decodes the payload into a block and imports it. A payload that does not decode, or has another
// block hash than it claims, is INVALID without a latest valid hash.
func (api *engineAPI) newPayload(ctx context.Context, method string, within time.Duration, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, requests [][]byte) (engine.PayloadStatusV1, error) {
	if slices.Contains(data.Withdrawals, (*types.Withdrawal)(nil)) {
		return invalidStatus(), paramsErr("null withdrawal")
	}
	ctx, release, err := api.acquire(ctx, within)
	if err != nil {
		return api.respond(ctx, method, importer.Outcome{}, err)
	}
	defer release()
	block, err := engine.ExecutableDataToBlock(data, versionedHashes, beaconRoot, requests)
	if err != nil {
		api.b.log.Warn("Received payload that does not decode into its block", "number", data.Number, "hash", data.BlockHash, "err", err)
		return api.respond(ctx, method, importer.Outcome{Status: importer.Invalid, Reason: err}, nil)
	}
	return api.respond(ctx, method, api.b.Engine.NewPayload(ctx, block), nil)
}

// cancunParams checks that the parameters are present that every payload since Cancun has.
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

// decodeRequests checks that requests are not empty and in strictly ascending order of type (EIP-7685).
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
