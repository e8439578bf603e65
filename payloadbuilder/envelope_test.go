// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// randomEnvelope has, at random, what envelopes of each fork have and lack.
func randomEnvelope(random *rand.Rand) *engine.ExecutionPayloadEnvelope {
	fill := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(random.Uint32())
		}
		return out
	}
	optional := func() *uint64 {
		if random.IntN(2) == 0 {
			return nil
		}
		n := random.Uint64() >> random.IntN(64)
		return &n
	}
	amount := func() *big.Int { return new(big.Int).SetBytes(fill(random.IntN(33))) }
	list := func(items [][]byte) (out []hexutil.Bytes) {
		out = []hexutil.Bytes{}
		for _, item := range items {
			out = append(out, item)
		}
		return out
	}
	lists := func() [][]byte {
		out := [][]byte{}
		for range random.IntN(4) {
			out = append(out, fill(random.IntN(200)))
		}
		return out
	}
	data := &engine.ExecutableData{
		ParentHash: common.Hash(fill(32)), FeeRecipient: common.Address(fill(20)), StateRoot: common.Hash(fill(32)), ReceiptsRoot: common.Hash(fill(32)),
		LogsBloom: fill(256), Random: common.Hash(fill(32)), Number: random.Uint64() >> random.IntN(64), GasLimit: random.Uint64(), GasUsed: random.Uint64(), Timestamp: random.Uint64(),
		ExtraData: fill(random.IntN(33)), BaseFeePerGas: amount(), BlockHash: common.Hash(fill(32)), Transactions: lists(), BlobGasUsed: optional(), ExcessBlobGas: optional(), SlotNumber: optional(),
	}
	if random.IntN(2) == 0 {
		data.BlockAccessList = fill(random.IntN(300))
	}
	if random.IntN(2) == 0 {
		data.Withdrawals = []*types.Withdrawal{}
		for range random.IntN(17) {
			data.Withdrawals = append(data.Withdrawals, &types.Withdrawal{Index: random.Uint64(), Validator: random.Uint64N(9), Address: common.Address(fill(20)), Amount: random.Uint64()})
		}
	}
	envelope := &engine.ExecutionPayloadEnvelope{ExecutionPayload: data, BlockValue: amount(), Override: random.IntN(2) == 0}
	if random.IntN(4) > 0 {
		envelope.BlobsBundle = &engine.BlobsBundle{Commitments: list(lists()), Proofs: list(lists()), Blobs: list(lists())}
	}
	if random.IntN(4) > 0 {
		envelope.Requests = lists()
	}
	return envelope
}

// Envelopes are encoded as go-ethereum encodes them, without a buffer that grows.
func TestEnvelopeEncoding(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 5))
	for range 2000 {
		envelope := randomEnvelope(random)
		want, err := envelope.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		payload, err := envelope.ExecutionPayload.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		e := NewEnvelope(envelope)
		got, err := e.MarshalJSON()
		if err != nil || string(got) != string(want) {
			t.Fatalf("%v\n got %s\nwant %s", err, got, want)
		}
		if string(e.PayloadJSON()) != string(payload) {
			t.Fatalf("payload\n got %s\nwant %s", e.PayloadJSON(), payload)
		}
		if cap(got) != sizeOf(envelope) {
			t.Fatalf("%d bytes in a buffer of %d, not of %d", len(got), cap(got), sizeOf(envelope))
		}
	}
}

// A payload is encoded when it is built, and a call for it makes no copy: it costs about the same with and without blobs.
func TestAskingCostsNothing(t *testing.T) {
	c := newTestChain(configs()["osaka"])
	txs := new(listPool)
	b := newTestBuilder(t, c, txs, func(cfg *Config) { cfg.Log = nil })
	random := newTraffic(c.config, 3)
	var costs [2]float64
	for i := range costs {
		if i == 1 {
			for user := users - blobUsers + 1; user <= users; user++ {
				txs.txs = append(txs.txs, types.MustSignNewTx(testchain.Key(user), random.signer, random.data(t, user, 0, c.head.BaseFee)))
			}
		}
		a := attributesOn(c, c.head)
		a.Timestamp += uint64(i)
		p, err := b.newPayload(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.buildEmpty(t.Context(), p, b.newRound(p)); err != nil {
			t.Fatal(err)
		}
		b.keep(p)
		best := b.improveOnce(t.Context(), b.newRound(p))
		p.end()
		if blobs := i == 1; blobs != (best != nil && len(best.Sidecars) > 1) {
			t.Fatalf("best %v", best)
		}
		var first []byte
		costs[i] = testing.AllocsPerRun(10, func() {
			envelope, err := b.Get(t.Context(), p.id)
			if err != nil {
				t.Error(err)
				return
			}
			encoded, err := envelope.MarshalJSON()
			if err != nil || first != nil && &encoded[0] != &first[0] {
				t.Errorf("encoded anew: %v", err)
			}
			first = encoded
		})
	}
	if costs[1] > costs[0]+10 || costs[1] > 40 {
		t.Errorf("%v allocations without blobs, %v with", costs[0], costs[1])
	}
}
