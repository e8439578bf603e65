// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// executingWitnesses executes blocks of the main chain for their witnesses.
type executingWitnesses struct{ chain *fakeChain }

func (executingWitnesses) Executed(context.Context, *types.Block) *stateless.ExtWitness { return nil }

func (w executingWitnesses) Execute(ctx context.Context, block *types.Block, parent *types.Header) (*stateless.ExtWitness, error) {
	states := &fakeStates{db: mainChain().db}
	cache := trie.NewCache(64<<20, nil)
	reads, err := evm.NewExecutor(w.chain.Config()).Reads(ctx, evm.Job{Block: block, Parent: parent, Headers: w, State: trie.Open(ctx, parent.Root, cache, filling{states, cache})})
	if err != nil {
		return nil, err
	}
	return reads.Witness(ctx, cache, w)
}

// Header implements evm.Headers.
func (w executingWitnesses) Header(_ context.Context, hash common.Hash, _ uint64) (*types.Header, error) {
	return w.chain.Header(hash), nil
}

// filling puts what it fetches into a cache.
type filling struct {
	trie.Source
	cache *trie.Cache
}

func (f filling) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	blob, err := f.Source.FetchNode(ctx, fault)
	if err != nil {
		return nil, err
	}
	return blob, f.cache.PutNodes([]trie.Node{{Hash: fault.Hash, Blob: blob}})
}

func (f filling) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	code, err := f.Source.FetchCode(ctx, hash)
	if err != nil {
		return nil, err
	}
	return code, f.cache.PutCode(hash, code)
}

func witnessNode(t *testing.T) *fakeNode {
	t.Helper()
	var witnesses executingWitnesses
	n := newFakeNode(t, func(_ *Config, b *Backend) {
		witnesses.chain = b.Chain.(*fakeChain)
		b.Witnesses, b.Payloads = witnesses, &fakePayloads{ready: make(map[engine.PayloadID]*payloadbuilder.Envelope)}
	})
	return n
}

// TestExecutionWitnessSameAsGeth: members are geth's; keys are filled as in reth.
func TestExecutionWitnessSameAsGeth(t *testing.T) {
	geth, ours := startGethOn(t, mainChain()), witnessNode(t).client(t)
	for number := 1; number <= mainChainBlocks; number++ {
		got, want := make(map[string]json.RawMessage), make(map[string]json.RawMessage)
		at := hexutil.Uint64(number)
		if err := geth.Call(&want, "debug_executionWitness", at); err != nil {
			t.Fatal(err)
		}
		if err := ours.Call(&got, "debug_executionWitness", at); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%d members, not %d", len(got), len(want))
		}
		for member := range want {
			if member != "keys" && !bytes.Equal(got[member], want[member]) {
				t.Errorf("block %d: %s of %d bytes, not %d", number, member, len(got[member]), len(want[member]))
			}
		}
		var keys []hexutil.Bytes
		if err := json.Unmarshal(got["keys"], &keys); err != nil || len(keys) == 0 || len(keys[0]) != common.AddressLength {
			t.Errorf("keys %s: %v", got["keys"], err)
		}
	}
	for _, c := range []rpcCall{{"debug_executionWitness", []any{"0xffff"}}, {"debug_executionWitness", []any{common.Hash{1}}}, {"debug_executionWitness", []any{}}} {
		if got, want := response(ours, c), response(geth, c); got[:len("error -32000")] != want[:len("error -32000")] {
			t.Errorf("%v: %s, want %s", c, got, want)
		}
	}
}

// TestPayloadWithWitness: the witness of a valid payload is one on which geth and this node execute the payload.
func TestPayloadWithWitness(t *testing.T) {
	geth, n := startGethOn(t, mainChain()), witnessNode(t)
	ours := n.client(t)
	block := n.chain.w.blocks[mainChainBlocks-1]
	data, hash, root := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload, block.Hash(), common.Hash{}
	if block.BeaconRoot() != nil {
		root = *block.BeaconRoot()
	}
	blobHashes := []common.Hash{}
	for _, tx := range block.Transactions() {
		blobHashes = append(blobHashes, tx.BlobHashes()...)
	}
	n.engine.outcome = importer.Outcome{Status: importer.Valid, LatestValid: &hash}
	var status engine.PayloadStatusV1
	if err := ours.Call(&status, "engine_newPayloadWithWitnessV4", data, blobHashes, root, []string{}); err != nil {
		t.Fatal(err)
	}
	if status.Status != engine.VALID || status.LatestValidHash == nil || *status.LatestValidHash != hash || status.Witness == nil {
		t.Fatalf("%+v", status)
	}
	var decoded stateless.ExtWitness
	if err := rlp.DecodeBytes(*status.Witness, &decoded); err != nil || len(decoded.State) == 0 || len(decoded.Keys) > 0 {
		t.Errorf("%d nodes, %d keys, %v", len(decoded.State), len(decoded.Keys), err)
	}
	blind := *data
	blind.StateRoot, blind.ReceiptsRoot = common.Hash{}, common.Hash{}
	less := decoded
	less.State = nil
	without, _ := rlp.EncodeToBytes(&less)
	less.State = append([]hexutil.Bytes{{1, 2, 3}, {0xc0}, {}}, decoded.State...)
	more, _ := rlp.EncodeToBytes(&less)
	for name, witness := range map[string]hexutil.Bytes{"whole": *status.Witness, "without nodes": without, "nothing": {}, "with what is no node": more} {
		c := rpcCall{"engine_executeStatelessPayloadV4", []any{&blind, blobHashes, root, []string{}, witness}}
		got, want := response(ours, c), response(geth, c)
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if valid := bytes.Contains([]byte(got), []byte(block.Root().Hex())); valid != (len(witness) >= len(*status.Witness)) {
			t.Errorf("%s: %s", name, got)
		}
	}

	n.engine.outcome = importer.Outcome{}
	if err := ours.Call(&status, "engine_newPayloadWithWitnessV4", data, blobHashes, root, []string{}); err != nil || status.Status != engine.SYNCING {
		t.Errorf("%+v, %v", status, err)
	}
	if err := ours.Call(&status, "engine_newPayloadWithWitnessV3", data, blobHashes, root); codeOf(err) != engine.UnsupportedFork.ErrorCode() {
		t.Error(err)
	}
}

// TestForkchoiceWithWitness: payloads that were started so are remembered, and others are not.
func TestForkchoiceWithWitness(t *testing.T) {
	n := witnessNode(t)
	ours, head := n.client(t), n.chain.w.blocks[mainChainBlocks].Hash()
	n.engine.outcome = importer.Outcome{Status: importer.Valid, LatestValid: &head}
	attributes := object{"timestamp": "0xffff", "prevRandao": common.Hash{}, "suggestedFeeRecipient": common.Address{}, "withdrawals": []any{}, "parentBeaconBlockRoot": common.Hash{}}
	for i, method := range []string{"engine_forkchoiceUpdatedV3", "engine_forkchoiceUpdatedWithWitnessV3"} {
		var response engine.ForkChoiceResponse
		if err := ours.Call(&response, method, object{"headBlockHash": head, "safeBlockHash": common.Hash{}, "finalizedBlockHash": common.Hash{}}, attributes); err != nil || response.PayloadID == nil {
			t.Fatal(response, err)
		}
		if n.b.witnessed.Contains(*response.PayloadID) != (i == 1) {
			t.Error(method)
		}
	}
}

// BenchmarkExecutionWitness makes and encodes the witness of a real block that was executed here. The client's part is not in it.
func BenchmarkExecutionWitness(b *testing.B) {
	for _, name := range []string{"1-24628608", "1-25229957", "11155111-10100112"} {
		b.Run(name, func(b *testing.B) {
			file, err := witnessfile.Load(filepath.Join(realdata.Dir(b), "blocks", name+".json.gz"))
			if err != nil {
				b.Fatal(err)
			}
			cache := trie.NewCache(256<<20, nil)
			reads, err := evm.NewExecutor(file.Config).Reads(b.Context(), evm.Job{
				Block: file.Block, Parent: file.Parent, Headers: file, State: trie.Open(b.Context(), file.PreRoot, cache, filling{file, cache}),
			})
			if err != nil {
				b.Fatal(err)
			}
			size := 0
			for b.Loop() {
				witness, err := reads.Witness(b.Context(), cache, file)
				if err != nil {
					b.Fatal(err)
				}
				encoded, err := (&witnessJSON{witness}).MarshalJSON()
				if err != nil {
					b.Fatal(err)
				}
				size = len(encoded)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
