// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"encoding/json"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/jsonhex"
)

// Envelope is a built block as the Engine API returns it (execution-apis, src/engine, ExecutionPayloadEnvelope). It is
// encoded when the block is built: 21 blobs are 6 MB of JSON, and a proposer waits for getPayload.
type Envelope struct {
	*engine.ExecutionPayloadEnvelope

	block   *types.Block
	encoded []byte
	payload []byte // the part of encoded that is the execution payload
}

// NewEnvelope encodes an envelope, which must not change any more. Fields beyond the Engine API are left out.
func NewEnvelope(envelope *engine.ExecutionPayloadEnvelope) *Envelope {
	e := &Envelope{ExecutionPayloadEnvelope: envelope}
	const head = `{"executionPayload":`
	e.encoded = append(make([]byte, 0, sizeOf(envelope)), head...)
	e.encoded = appendPayload(e.encoded, envelope.ExecutionPayload)
	end := len(e.encoded)
	e.encoded = appendField(e.encoded, "blockValue", hexutil.EncodeBig(envelope.BlockValue))
	e.encoded = append(e.encoded, `,"blobsBundle":`...)
	if bundle := envelope.BlobsBundle; bundle != nil {
		e.encoded = jsonhex.AppendList(append(e.encoded, `{"commitments":`...), bundle.Commitments)
		e.encoded = jsonhex.AppendList(append(e.encoded, `,"proofs":`...), bundle.Proofs)
		e.encoded = append(jsonhex.AppendList(append(e.encoded, `,"blobs":`...), bundle.Blobs), '}')
	} else {
		e.encoded = append(e.encoded, "null"...)
	}
	e.encoded = append(e.encoded, `,"executionRequests":`...)
	if envelope.Requests != nil {
		e.encoded = jsonhex.AppendList(e.encoded, envelope.Requests)
	} else {
		e.encoded = append(e.encoded, "null"...)
	}
	if envelope.Override {
		e.encoded = append(e.encoded, `,"shouldOverrideBuilder":true}`...)
	} else {
		e.encoded = append(e.encoded, `,"shouldOverrideBuilder":false}`...)
	}
	e.payload = e.encoded[len(head):end:end]
	return e
}

func envelopeOf(built *evm.Built) *Envelope {
	envelope := NewEnvelope(engine.BlockToExecutableData(built.Block, built.Value, built.Sidecars, built.Requests))
	envelope.block = built.Block
	return envelope
}

// Block is the block that was built, nil for an envelope of NewEnvelope.
func (e *Envelope) Block() *types.Block { return e.block }

// WithWitness returns the envelope with an execution witness in RLP, which go-ethereum puts into the member witness.
func (e *Envelope) WithWitness(witness []byte) *Envelope {
	const name = `,"witness":`
	end := len(e.encoded) - len("}")
	encoded := append(make([]byte, 0, len(e.encoded)+len(name)+jsonhex.Size(len(witness))), e.encoded[:end]...)
	encoded = append(jsonhex.Append(append(encoded, name...), witness), '}')
	envelope := *e.ExecutionPayloadEnvelope
	envelope.Witness = (*hexutil.Bytes)(&witness)
	return &Envelope{ExecutionPayloadEnvelope: &envelope, block: e.block, encoded: encoded, payload: e.payload}
}

// MarshalJSON implements json.Marshaler. The result must not be modified.
func (e *Envelope) MarshalJSON() ([]byte, error) { return e.encoded, nil }

// PayloadJSON is the encoded execution payload alone. It must not be modified.
func (e *Envelope) PayloadJSON() json.RawMessage { return e.payload }

// sizeOf is a little more than the length of an encoded envelope.
func sizeOf(envelope *engine.ExecutionPayloadEnvelope) int {
	const rest = 4096 // fields of a limited size: 16 withdrawals of some 150 bytes, and hashes
	p := envelope.ExecutionPayload
	size := rest + jsonhex.Size(len(p.LogsBloom)) + jsonhex.ListSize(p.Transactions) + jsonhex.Size(len(p.BlockAccessList)) + jsonhex.ListSize(envelope.Requests)
	if bundle := envelope.BlobsBundle; bundle != nil {
		size += jsonhex.ListSize(bundle.Commitments) + jsonhex.ListSize(bundle.Proofs) + jsonhex.ListSize(bundle.Blobs)
	}
	return size
}

// appendPayload appends an execution payload in the order of fields of execution-apis.
func appendPayload(out []byte, p *engine.ExecutableData) []byte {
	bytes := func(name string, data []byte) {
		out = jsonhex.Append(append(append(append(out, `,"`...), name...), `":`...), data)
	}
	number := func(name string, n *uint64) {
		out = append(append(append(out, `,"`...), name...), `":`...)
		if n == nil {
			out = append(out, "null"...)
			return
		}
		out = jsonhex.AppendUint(out, *n)
	}
	out = jsonhex.Append(append(out, `{"parentHash":`...), p.ParentHash[:])
	bytes("feeRecipient", p.FeeRecipient[:])
	bytes("stateRoot", p.StateRoot[:])
	bytes("receiptsRoot", p.ReceiptsRoot[:])
	bytes("logsBloom", p.LogsBloom)
	bytes("prevRandao", p.Random[:])
	number("blockNumber", &p.Number)
	number("gasLimit", &p.GasLimit)
	number("gasUsed", &p.GasUsed)
	number("timestamp", &p.Timestamp)
	bytes("extraData", p.ExtraData)
	out = appendField(out, "baseFeePerGas", hexutil.EncodeBig(p.BaseFeePerGas))
	bytes("blockHash", p.BlockHash[:])
	out = jsonhex.AppendList(append(out, `,"transactions":`...), p.Transactions)
	withdrawals, err := json.Marshal(p.Withdrawals)
	if err != nil {
		panic(err) // withdrawals have no field that cannot be encoded
	}
	out = append(append(out, `,"withdrawals":`...), withdrawals...)
	number("blobGasUsed", p.BlobGasUsed)
	number("excessBlobGas", p.ExcessBlobGas)
	if len(p.BlockAccessList) > 0 {
		bytes("blockAccessList", p.BlockAccessList)
	}
	if p.SlotNumber != nil {
		number("slotNumber", p.SlotNumber)
	}
	return append(out, '}')
}

// appendField appends a member whose value needs no escapes.
func appendField(out []byte, name, value string) []byte {
	return append(out, `,"`+name+`":"`+value+`"`...)
}
