// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
)

var _ Payloads = (*payloadbuilder.Builder)(nil)

// fakePayloads starts payloads without building them.
type fakePayloads struct {
	started []payloadbuilder.Attributes
	ready   map[engine.PayloadID]*payloadbuilder.Envelope
	once    []int // of each BuildOnce: the number of transactions, -1 for those of the pool
	err     error
	pending func() (*types.Block, types.Receipts)
}

func (p *fakePayloads) Start(_ context.Context, attributes payloadbuilder.Attributes) (engine.PayloadID, error) {
	p.started = append(p.started, attributes)
	return attributes.ID(), p.err
}

func (p *fakePayloads) Get(_ context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error) {
	if envelope := p.ready[id]; envelope != nil {
		return envelope, nil
	}
	return nil, payloadbuilder.ErrUnknownPayload
}

func (p *fakePayloads) BuildOnce(_ context.Context, _ payloadbuilder.Attributes, txs []*types.Transaction, _ []byte) (*payloadbuilder.Envelope, error) {
	n := len(txs)
	if txs == nil {
		n = -1
	}
	p.once = append(p.once, n)
	return fakeEnvelope(9012), p.err
}

func (p *fakePayloads) Pending(context.Context) (*types.Block, types.Receipts, error) {
	if p.pending == nil {
		return nil, nil, payloadbuilder.ErrNotReady
	}
	block, receipts := p.pending()
	return block, receipts, nil
}

func fakeEnvelope(time uint64) *payloadbuilder.Envelope {
	return payloadbuilder.NewEnvelope(&engine.ExecutionPayloadEnvelope{
		ExecutionPayload: &engine.ExecutableData{Timestamp: time, BaseFeePerGas: common.Big1, LogsBloom: []byte{}, ExtraData: []byte{}, Transactions: [][]byte{}},
		BlockValue:       big.NewInt(5), BlobsBundle: new(engine.BlobsBundle), Requests: [][]byte{},
	})
}

func codeOf(err error) int {
	var coded gethrpc.Error
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return 0
}

func proposer(t *testing.T) (*fakeNode, *fakePayloads, *gethrpc.Client, common.Hash) {
	t.Helper()
	payloads := &fakePayloads{ready: make(map[engine.PayloadID]*payloadbuilder.Envelope)}
	n := newFakeNode(t, func(_ *Config, b *Backend) { b.Payloads = payloads })
	head := n.chain.CurrentHeader().Hash()
	n.engine.outcome = importer.Outcome{Status: importer.Valid, LatestValid: &head}
	return n, payloads, n.client(t), head
}

// A fork choice is applied before its attributes are checked. Wrong ones are an error unless the head is INVALID; no payload is built
// unless it is VALID.
func TestAttributesAfterForkchoice(t *testing.T) {
	n, payloads, client, head := proposer(t)
	state := engine.ForkchoiceStateV1{HeadBlockHash: head}
	good := object{"timestamp": "0xffff", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{}, "parentBeaconBlockRoot": common.Hash{}}
	bad := object{"timestamp": "0xffff", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{}}
	null := object{"timestamp": "0xffff", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{nil}, "parentBeaconBlockRoot": common.Hash{}}
	var response engine.ForkChoiceResponse
	for i, attributes := range []object{bad, null} {
		err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, attributes)
		if codeOf(err) != -38003 || len(n.engine.choices) != i+1 || len(payloads.started) > 0 {
			t.Errorf("wrong attributes %d: %v, %d fork choices, %d payloads", i, err, len(n.engine.choices), len(payloads.started))
		}
	}
	if err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, good); err != nil || response.PayloadID == nil {
		t.Fatalf("%+v, %v", response, err)
	}
	if started := payloads.started[0]; started.Parent != head || started.Version != engine.PayloadV3 || started.Timestamp != 0xffff {
		t.Errorf("started %+v", started)
	}
	payloads.err = errors.New("wrong")
	if err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, good); codeOf(err) != -38003 {
		t.Errorf("attributes that cannot be built: %v", err)
	}
	payloads.err = payloadbuilder.ErrNotRunning
	if err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, good); codeOf(err) != -32000 {
		t.Errorf("a builder that has ended: %v", err)
	}
	n.engine.outcome = importer.Outcome{}
	response = engine.ForkChoiceResponse{}
	if err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, bad); codeOf(err) != -38003 {
		t.Errorf("wrong attributes for a head that is not imported yet: %+v, %v", response, err)
	}
	if err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, good); err != nil || response.PayloadStatus.Status != engine.SYNCING || response.PayloadID != nil {
		t.Errorf("attributes for a head that is not imported yet: %+v, %v", response, err)
	}
	n.engine.outcome = importer.Outcome{Status: importer.Invalid, Reason: errors.New("bad block")}
	if err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", state, bad); err != nil || response.PayloadStatus.Status != engine.INVALID {
		t.Errorf("wrong attributes for an invalid head: %+v, %v", response, err)
	}
}

// No payload is built on an ancestor of the finalized block.
func TestNoPayloadBelowFinalized(t *testing.T) {
	n, payloads, client, _ := proposer(t)
	n.chain.final = 8
	good := object{"timestamp": "0xffff", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{}, "parentBeaconBlockRoot": common.Hash{}}
	for number, want := range map[int]bool{7: false, 8: true, 9: true} {
		payloads.started = nil
		var response engine.ForkChoiceResponse
		err := client.CallContext(t.Context(), &response, "engine_forkchoiceUpdatedV3", engine.ForkchoiceStateV1{HeadBlockHash: n.chain.w.blocks[number].Hash()}, good)
		if err != nil || (response.PayloadID != nil) != want || len(payloads.started) > 0 != want {
			t.Errorf("block %d: %+v, %v", number, response, err)
		}
	}
}

// Each version of getPayload returns payloads of its attributes and forks.
func TestGetPayload(t *testing.T) {
	n, payloads, client, _ := proposer(t)
	id := func(version byte) engine.PayloadID { return engine.PayloadID{version, 7} }
	for version := byte(1); version <= 4; version++ {
		payloads.ready[id(version)] = fakeEnvelope(9012) // Osaka
	}
	for method, wants := range map[string][]int{ // error codes by version of the attributes
		"engine_getPayloadV1": {0, -38005, -38005, -38005},
		"engine_getPayloadV2": {-38005, -38005, -38005, -38005},
		"engine_getPayloadV3": {-38005, -38005, -38005, -38005},
		"engine_getPayloadV4": {-38005, -38005, -38005, -38005},
		"engine_getPayloadV5": {-38005, -38005, 0, -38005},
		"engine_getPayloadV6": {-38005, -38005, -38005, -38005},
	} {
		for i, want := range wants {
			var result map[string]any
			if err := client.CallContext(t.Context(), &result, method, id(byte(i+1))); codeOf(err) != want || err != nil && want == 0 {
				t.Errorf("%s of attributes V%d: %v, want code %d", method, i+1, err, want)
			}
		}
	}
	if got := (&engineAPI{b: n.b}).ExchangeCapabilities(nil); !slices.Contains(got, "engine_getPayloadV6") {
		t.Errorf("capabilities %v", got)
	}
}

func TestBuildBlock(t *testing.T) {
	n, payloads, client, head := proposer(t)
	attributes := object{"timestamp": "0xffff", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{}, "parentBeaconBlockRoot": common.Hash{}}
	raw, err := n.chain.w.blocks[1].Transactions()[0].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, txs := range []any{nil, []any{}, []hexutil.Bytes{raw}} {
		var envelope engine.ExecutionPayloadEnvelope
		if err := client.CallContext(t.Context(), &envelope, "testing_buildBlockV1", head, attributes, txs, "0x"); err != nil || envelope.BlockValue.Int64() != 5 {
			t.Errorf("%v: %+v, %v", txs, envelope, err)
		}
	}
	if !slices.Equal(payloads.once, []int{-1, 0, 1}) {
		t.Errorf("built of %v transactions", payloads.once)
	}
	for name, params := range map[string][]any{
		"another parent":    {common.Hash{1}, attributes, nil, nil},
		"not a transaction": {head, attributes, []string{"0x01"}, nil},
	} {
		if err := client.CallContext(t.Context(), nil, "testing_buildBlockV1", params...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
