// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params/forks"
)

// payloadParams is a call of any version of newPayload, of newPayloadWithWitness and of executeStatelessPayload.
type payloadParams struct {
	version         string
	data            engine.ExecutableData
	versionedHashes []common.Hash
	beaconRoot      *common.Hash
	requests        [][]byte
	err             error // the parameters are wrong
}

// within is the response timeout.
func (c *payloadParams) within() time.Duration {
	if c.version == "V5" {
		return responseTimeoutAmsterdam
	}
	return responseTimeout
}

func (api *engineAPI) payloadV1(data engine.ExecutableData) payloadParams {
	if data.Withdrawals != nil {
		return payloadParams{err: paramsErr("withdrawals not supported in V1")}
	}
	return payloadParams{version: "V1", data: data}
}

func (api *engineAPI) payloadV2(data engine.ExecutableData) payloadParams {
	var (
		config   = api.config()
		cancun   = config.IsCancun(config.LondonBlock, data.Timestamp)
		shanghai = config.IsShanghai(config.LondonBlock, data.Timestamp)
	)
	call := payloadParams{version: "V2", data: data}
	switch {
	case cancun:
		call.err = paramsErr("can't use newPayloadV2 post-cancun")
	case shanghai && data.Withdrawals == nil:
		call.err = paramsErr("nil withdrawals post-shanghai")
	case !shanghai && data.Withdrawals != nil:
		call.err = paramsErr("non-nil withdrawals pre-shanghai")
	case data.ExcessBlobGas != nil:
		call.err = paramsErr("non-nil excessBlobGas pre-cancun")
	case data.BlobGasUsed != nil:
		call.err = paramsErr("non-nil blobGasUsed pre-cancun")
	default:
		call.err = noNullWithdrawal(data)
	}
	return call
}

func (api *engineAPI) payloadV3(data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash) payloadParams {
	call := payloadParams{version: "V3", data: data, versionedHashes: versionedHashes, beaconRoot: beaconRoot}
	if call.err = cancunParams(data, versionedHashes, beaconRoot); call.err != nil {
		return call
	}
	if !api.checkFork(data.Timestamp, forks.Cancun) {
		call.err = forkErr("newPayloadV3 must only be called for cancun payloads")
		return call
	}
	call.err = noNullWithdrawal(data)
	return call
}

func (api *engineAPI) payloadV4(data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) payloadParams {
	call := payloadParams{version: "V4", data: data, versionedHashes: versionedHashes, beaconRoot: beaconRoot}
	if call.err = cancunParams(data, versionedHashes, beaconRoot); call.err != nil {
		return call
	}
	switch {
	case executionRequests == nil:
		call.err = paramsErr("nil executionRequests post-prague")
	case data.SlotNumber != nil:
		call.err = paramsErr("slotNumber not supported pre-amsterdam")
	case data.BlockAccessList != nil:
		call.err = paramsErr("block access list not supported pre-amsterdam")
	case !api.checkFork(data.Timestamp, forksV4()...):
		call.err = forkErr("newPayloadV4 must only be called for prague/osaka payloads")
	default:
		call.takeRequests(executionRequests)
	}
	return call
}

func (api *engineAPI) payloadV5(data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) payloadParams {
	call := payloadParams{version: "V5", data: data, versionedHashes: versionedHashes, beaconRoot: beaconRoot}
	if call.err = cancunParams(data, versionedHashes, beaconRoot); call.err != nil {
		return call
	}
	switch {
	case executionRequests == nil:
		call.err = paramsErr("nil executionRequests post-prague")
	case data.SlotNumber == nil:
		call.err = paramsErr("nil slotnumber post-amsterdam")
	case data.BlockAccessList == nil:
		call.err = paramsErr("missing block access list post-amsterdam")
	case !api.checkFork(data.Timestamp, forksV5()...):
		call.err = forkErr("newPayloadV5 must only be called for amsterdam payloads")
	default:
		call.takeRequests(executionRequests)
	}
	return call
}

// takeRequests decodes the requests of a call, and makes the last check.
func (c *payloadParams) takeRequests(encoded []hexutil.Bytes) {
	if c.requests, c.err = decodeRequests(encoded); c.err == nil {
		c.err = noNullWithdrawal(c.data)
	}
}

func noNullWithdrawal(data engine.ExecutableData) error {
	if slices.Contains(data.Withdrawals, (*types.Withdrawal)(nil)) {
		return paramsErr("null withdrawal")
	}
	return nil
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
