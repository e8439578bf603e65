// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"

	"github.com/ethereum/go-ethereum/beacon/engine"
)

// GetPayloadV1 returns error -38001, as its successors do: this node builds no payloads.
func (api *engineAPI) GetPayloadV1(id engine.PayloadID) (*engine.ExecutableData, error) {
	return nil, noPayload(id, engine.PayloadV1)
}

// GetPayloadV2 returns error -38001.
func (api *engineAPI) GetPayloadV2(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV1, engine.PayloadV2)
}

// GetPayloadV3 returns error -38001.
func (api *engineAPI) GetPayloadV3(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV3)
}

// GetPayloadV4 returns error -38001.
func (api *engineAPI) GetPayloadV4(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV3)
}

// GetPayloadV5 returns error -38001.
func (api *engineAPI) GetPayloadV5(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV3)
}

// GetPayloadV6 returns error -38001.
func (api *engineAPI) GetPayloadV6(id engine.PayloadID) (*engine.ExecutionPayloadEnvelope, error) {
	return nil, noPayload(id, engine.PayloadV4)
}

func noPayload(id engine.PayloadID, versions ...engine.PayloadVersion) error {
	if !id.Is(versions...) {
		return engine.UnsupportedFork
	}
	return engine.UnknownPayload.With(errors.New("this node does not build blocks"))
}
