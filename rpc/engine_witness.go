// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/internal/jsonhex"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxWitnessed is the number of payloads that are known to be wanted with a witness. The builder keeps fewer.
const maxWitnessed = 16

// witnessStatus is the status of a payload with its witness, which has megabytes.
type witnessStatus struct {
	engine.PayloadStatusV1
	witness []byte // RLP; nil: none
}

// MarshalJSON implements json.Marshaler. The order of members is go-ethereum's.
func (s *witnessStatus) MarshalJSON() ([]byte, error) {
	plain, err := json.Marshal(s.PayloadStatusV1)
	if err != nil || s.witness == nil {
		return plain, err
	}
	head := `{"status":"` + s.Status + `"`
	out := append(make([]byte, 0, len(plain)+len(`,"witness":`)+jsonhex.Size(len(s.witness))), head...)
	out = jsonhex.Append(append(out, `,"witness":`...), s.witness)
	return append(out, plain[len(head):]...), nil
}

// NewPayloadWithWitnessV1 is NewPayloadV1, and returns the witness of a valid block as well.
func (api *engineAPI) NewPayloadWithWitnessV1(ctx context.Context, data engine.ExecutableData) (*witnessStatus, error) {
	return api.newPayloadWithWitness(ctx, api.payloadV1(data))
}

// NewPayloadWithWitnessV2 is for Paris and Shanghai.
func (api *engineAPI) NewPayloadWithWitnessV2(ctx context.Context, data engine.ExecutableData) (*witnessStatus, error) {
	return api.newPayloadWithWitness(ctx, api.payloadV2(data))
}

// NewPayloadWithWitnessV3 is for Cancun.
func (api *engineAPI) NewPayloadWithWitnessV3(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash) (*witnessStatus, error) {
	return api.newPayloadWithWitness(ctx, api.payloadV3(data, versionedHashes, beaconRoot))
}

// NewPayloadWithWitnessV4 is for Prague and Osaka.
func (api *engineAPI) NewPayloadWithWitnessV4(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) (*witnessStatus, error) {
	return api.newPayloadWithWitness(ctx, api.payloadV4(data, versionedHashes, beaconRoot, executionRequests))
}

// NewPayloadWithWitnessV5 is for Amsterdam.
func (api *engineAPI) NewPayloadWithWitnessV5(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes) (*witnessStatus, error) {
	return api.newPayloadWithWitness(ctx, api.payloadV5(data, versionedHashes, beaconRoot, executionRequests))
}

// newPayloadWithWitness imports a payload. The status of a valid block is returned without a witness if that cannot be had.
func (api *engineAPI) newPayloadWithWitness(ctx context.Context, call payloadParams) (*witnessStatus, error) {
	status, block, err := api.importPayload(ctx, "newPayloadWithWitness"+call.version, call)
	result := &witnessStatus{PayloadStatusV1: status}
	if err != nil || status.Status != engine.VALID {
		return result, err
	}
	if result.witness, err = api.encodedWitness(ctx, block); err != nil {
		api.b.log.Debug("No witness of a valid payload", "number", block.NumberU64(), "hash", block.Hash(), "err", err)
	}
	return result, nil
}

func (api *engineAPI) encodedWitness(ctx context.Context, block *types.Block) ([]byte, error) {
	witness, err := api.b.witness(ctx, block)
	if err != nil {
		return nil, err
	}
	return encodeWitness(witness)
}

// ForkchoiceUpdatedWithWitnessV1 is ForkchoiceUpdatedV1. The payload that it starts is returned with its witness.
func (api *engineAPI) ForkchoiceUpdatedWithWitnessV1(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return api.forkchoiceWithWitness(ctx, api.forkchoiceV1(), update, attributes)
}

// ForkchoiceUpdatedWithWitnessV2 is for Shanghai.
func (api *engineAPI) ForkchoiceUpdatedWithWitnessV2(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return api.forkchoiceWithWitness(ctx, api.forkchoiceV2(), update, attributes)
}

// ForkchoiceUpdatedWithWitnessV3 is for Cancun to Osaka.
func (api *engineAPI) ForkchoiceUpdatedWithWitnessV3(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return api.forkchoiceWithWitness(ctx, api.forkchoiceV3(), update, attributes)
}

// ForkchoiceUpdatedWithWitnessV4 is for Amsterdam.
func (api *engineAPI) ForkchoiceUpdatedWithWitnessV4(ctx context.Context, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes, custody *types.CustodyBitmap) (engine.ForkChoiceResponse, error) {
	if custody != nil {
		api.b.Blobs.SetCustody(*custody)
	}
	return api.forkchoiceWithWitness(ctx, api.forkchoiceV4(), update, attributes)
}

// forkchoiceWithWitness remembers the payload that it starts, so that getPayload makes its witness.
func (api *engineAPI) forkchoiceWithWitness(ctx context.Context, call forkchoiceCall, update engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	call.method = strings.Replace(call.method, "forkchoiceUpdated", "forkchoiceUpdatedWithWitness", 1)
	response, err := api.forkchoiceUpdated(ctx, call, update, attributes)
	if err == nil && response.PayloadID != nil {
		api.b.witnessed.Add(*response.PayloadID, struct{}{})
	}
	return response, err
}

// withWitness adds the witness of the built block, if forkchoiceUpdatedWithWitness started the payload. The block is not in
// the chain, so it is executed.
func (api *engineAPI) withWitness(ctx context.Context, id engine.PayloadID, envelope *payloadbuilder.Envelope) (*payloadbuilder.Envelope, error) {
	block := envelope.Block()
	if block == nil || !api.b.witnessed.Contains(id) {
		return envelope, nil
	}
	witness, err := api.encodedWitness(ctx, block)
	if err != nil {
		return nil, err
	}
	return envelope.WithWitness(witness), nil
}

// ExecuteStatelessPayloadV1 executes a block on a witness, and returns the state root and the receipts root. It compares
// neither with the payload, and needs neither state nor chain.
func (api *engineAPI) ExecuteStatelessPayloadV1(ctx context.Context, data engine.ExecutableData, witness hexutil.Bytes) (engine.StatelessPayloadStatusV1, error) {
	return api.executeStateless(ctx, api.payloadV1(data), witness)
}

// ExecuteStatelessPayloadV2 is for Paris and Shanghai.
func (api *engineAPI) ExecuteStatelessPayloadV2(ctx context.Context, data engine.ExecutableData, witness hexutil.Bytes) (engine.StatelessPayloadStatusV1, error) {
	return api.executeStateless(ctx, api.payloadV2(data), witness)
}

// ExecuteStatelessPayloadV3 is for Cancun.
func (api *engineAPI) ExecuteStatelessPayloadV3(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, witness hexutil.Bytes) (engine.StatelessPayloadStatusV1, error) {
	return api.executeStateless(ctx, api.payloadV3(data, versionedHashes, beaconRoot), witness)
}

// ExecuteStatelessPayloadV4 is for Prague and Osaka.
func (api *engineAPI) ExecuteStatelessPayloadV4(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes, witness hexutil.Bytes) (engine.StatelessPayloadStatusV1, error) {
	return api.executeStateless(ctx, api.payloadV4(data, versionedHashes, beaconRoot, executionRequests), witness)
}

// ExecuteStatelessPayloadV5 is for Amsterdam.
func (api *engineAPI) ExecuteStatelessPayloadV5(ctx context.Context, data engine.ExecutableData, versionedHashes []common.Hash, beaconRoot *common.Hash, executionRequests []hexutil.Bytes, witness hexutil.Bytes) (engine.StatelessPayloadStatusV1, error) {
	return api.executeStateless(ctx, api.payloadV5(data, versionedHashes, beaconRoot, executionRequests), witness)
}

func (api *engineAPI) executeStateless(ctx context.Context, call payloadParams, encoded []byte) (engine.StatelessPayloadStatusV1, error) {
	if call.err != nil {
		return engine.StatelessPayloadStatusV1{Status: engine.INVALID}, call.err
	}
	ctx, release, err := api.acquire(ctx, call.within())
	if err != nil {
		return engine.StatelessPayloadStatusV1{}, engine.GenericServerError.With(err)
	}
	defer release()
	block, err := engine.ExecutableDataToBlockNoHash(call.data, call.versionedHashes, call.beaconRoot, call.requests)
	if err != nil {
		return statelessInvalid(err), nil
	}
	witness := new(stateless.Witness)
	if err := rlp.DecodeBytes(encoded, witness); err != nil {
		return statelessInvalid(err), nil
	}
	dropMalformed(witness)
	root, receipts, err := runStateless(func() (common.Hash, common.Hash, error) {
		return core.ExecuteStateless(ctx, api.config(), vm.Config{}, block, witness)
	})
	switch {
	case ctx.Err() != nil:
		return engine.StatelessPayloadStatusV1{}, engine.GenericServerError.With(ctx.Err())
	case err != nil:
		return statelessInvalid(err), nil
	}
	return engine.StatelessPayloadStatusV1{Status: engine.VALID, StateRoot: root, ReceiptsRoot: receipts}, nil
}

func statelessInvalid(err error) engine.StatelessPayloadStatusV1 {
	reason := err.Error()
	return engine.StatelessPayloadStatusV1{Status: engine.INVALID, ValidationError: &reason}
}

// dropMalformed removes what is no trie node: go-ethereum's tries panic on it, on goroutines of their own.
func dropMalformed(witness *stateless.Witness) {
	for node := range witness.State {
		if !isNode(node) {
			delete(witness.State, node)
		}
	}
}

func isNode(blob string) bool {
	_, err := trie.Children([]byte(blob))
	return err == nil
}

// runStateless turns a panic of an execution on a witness of the caller into an error.
func runStateless(execute func() (common.Hash, common.Hash, error)) (root, receipts common.Hash, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("execution on the witness panicked: %v", r)
		}
	}()
	return execute()
}
