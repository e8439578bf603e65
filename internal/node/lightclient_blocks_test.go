// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"math/bits"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/altair"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/attestantio/go-eth2-client/spec/gloas"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	bparams "github.com/ethereum/go-ethereum/beacon/params"
	btypes "github.com/ethereum/go-ethereum/beacon/types"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
	dynssz "github.com/pk910/dynamic-ssz"
	"github.com/pk910/dynamic-ssz/treeproof"
)

// The forks whose objects are made here, as the beacon API names versions. Fulu's are the
// same as Electra's.
const (
	forkElectra = "electra"
	forkGloas   = "gloas"
)

// Generalized indices in an execution payload of Deneb and later (consensus-specs,
// deneb/beacon-chain.md): field i of 17 has index 32+i.
const (
	payloadTransactions = 45
	payloadWithdrawals  = 46
)

// beaconBlock is a beacon block with what the beacon API serves of it. An execution block
// is part of it up to Fulu and travels in an envelope of its own from Gloas on (EIP-7732).
type beaconBlock struct {
	fork     string
	header   btypes.Header
	message  any             // the block
	envelope any             // Gloas: the execution payload envelope; nil if it was withheld
	body     *treeproof.Node // SSZ tree of the block's body
	payload  *deneb.ExecutionPayloadHeader
}

// newElectraBlock puts an execution block into a beacon block.
func newElectraBlock(t *testing.T, header btypes.Header, block *types.Block) *beaconBlock {
	payload := denebPayload(t, block)
	body := &electra.BeaconBlockBody{
		ETH1Data:          &phase0.ETH1Data{BlockHash: make([]byte, common.HashLength)},
		SyncAggregate:     &altair.SyncAggregate{SyncCommitteeBits: make([]byte, bparams.SyncCommitteeBitmaskSize)},
		ExecutionPayload:  payload,
		ExecutionRequests: &electra.ExecutionRequests{},
	}
	b := &beaconBlock{fork: forkElectra, header: header, body: treeOf(t, body), payload: payloadHeader(t, payload)}
	b.header.BodyRoot = common.BytesToHash(b.body.Hash())
	b.message = &electra.BeaconBlock{
		Slot: phase0.Slot(header.Slot), ParentRoot: phase0.Root(header.ParentRoot), StateRoot: phase0.Root(header.StateRoot), Body: body,
	}
	return b
}

// newGloasBlock commits a beacon block to an execution block and, unless it is withheld,
// puts that into an envelope.
func newGloasBlock(t *testing.T, header btypes.Header, block *types.Block, withheld bool) *beaconBlock {
	body := &gloas.BeaconBlockBody{
		ETH1Data:      &phase0.ETH1Data{BlockHash: make([]byte, common.HashLength)},
		SyncAggregate: &altair.SyncAggregate{SyncCommitteeBits: make([]byte, bparams.SyncCommitteeBitmaskSize)},
		SignedExecutionPayloadBid: &gloas.SignedExecutionPayloadBid{Message: &gloas.ExecutionPayloadBid{
			ParentBlockHash: phase0.Hash32(block.ParentHash()),
			ParentBlockRoot: phase0.Root(header.ParentRoot),
			BlockHash:       phase0.Hash32(block.Hash()),
			Slot:            phase0.Slot(header.Slot),
		}},
		ParentExecutionRequests: &gloas.ExecutionRequests{},
	}
	b := &beaconBlock{fork: forkGloas, header: header, body: treeOf(t, body)}
	b.header.BodyRoot = common.BytesToHash(b.body.Hash())
	b.message = &gloas.BeaconBlock{
		Slot: phase0.Slot(header.Slot), ParentRoot: phase0.Root(header.ParentRoot), StateRoot: phase0.Root(header.StateRoot), Body: body,
	}
	if !withheld {
		b.envelope = &gloas.ExecutionPayloadEnvelope{
			Payload: gloasPayload(t, block), ExecutionRequests: &gloas.ExecutionRequests{},
			BeaconBlockRoot: phase0.Root(b.header.Hash()), ParentBeaconBlockRoot: phase0.Root(header.ParentRoot),
		}
	}
	return b
}

// lightHeader is the block's LightClientHeader in the format of a fork: Electra's has the
// execution payload's header, Gloas's only a block hash. Objects of Gloas may carry headers
// of earlier blocks, whose proofs begin with zeros up to Gloas's depth.
func (b *beaconBlock) lightHeader(t *testing.T, format string) map[string]any {
	t.Helper()
	if format == forkElectra {
		return map[string]any{"beacon": headerJSON(b.header), "execution": b.payload, "execution_branch": branch(t, b.body, bparams.BodyIndexExecPayload)}
	}
	index := bparams.BodyIndexExecBlockHash(b.fork)
	proof := branch(t, b.body, index)
	depth := bits.Len(bparams.BodyIndexExecBlockHashGloas) - 1
	leaf, err := b.body.Get(int(index))
	check(t, err)
	return map[string]any{
		"beacon": headerJSON(b.header), "execution_block_hash": common.BytesToHash(leaf.Hash()),
		"execution_branch": slices.Concat(make([]common.Hash, depth-len(proof)), proof),
	}
}

func treeOf(t *testing.T, object any) *treeproof.Node {
	t.Helper()
	tree, err := dynssz.NewDynSsz(nil).GetTree(object)
	check(t, err)
	return tree
}

// branch proves a node of a tree.
func branch(t *testing.T, tree *treeproof.Node, index uint64) (siblings []common.Hash) {
	t.Helper()
	proof, err := tree.Prove(int(index))
	check(t, err)
	for _, hash := range proof.Hashes {
		siblings = append(siblings, common.BytesToHash(hash))
	}
	return siblings
}

// denebPayload is the block as beacon blocks of Deneb to Fulu carry it.
func denebPayload(t *testing.T, block *types.Block) *deneb.ExecutionPayload {
	h := block.Header()
	base, overflow := uint256.FromBig(h.BaseFee)
	if overflow {
		t.Fatal("base fee exceeds 256 bits")
	}
	payload := &deneb.ExecutionPayload{
		ParentHash: phase0.Hash32(h.ParentHash), FeeRecipient: bellatrix.ExecutionAddress(h.Coinbase), StateRoot: phase0.Root(h.Root),
		ReceiptsRoot: phase0.Root(h.ReceiptHash), LogsBloom: h.Bloom, PrevRandao: h.MixDigest,
		BlockNumber: h.Number.Uint64(), GasLimit: h.GasLimit, GasUsed: h.GasUsed, Timestamp: h.Time, ExtraData: h.Extra,
		BaseFeePerGas: base, BlockHash: phase0.Hash32(block.Hash()), BlobGasUsed: *h.BlobGasUsed, ExcessBlobGas: *h.ExcessBlobGas,
	}
	for _, tx := range block.Transactions() {
		raw, err := tx.MarshalBinary()
		check(t, err)
		payload.Transactions = append(payload.Transactions, raw)
	}
	return payload
}

// payloadHeader is the payload with the roots of its lists instead of the lists.
func payloadHeader(t *testing.T, p *deneb.ExecutionPayload) *deneb.ExecutionPayloadHeader {
	tree := treeOf(t, p)
	root := func(index int) phase0.Root {
		list, err := tree.Get(index)
		check(t, err)
		return phase0.Root(list.Hash())
	}
	return &deneb.ExecutionPayloadHeader{
		ParentHash: p.ParentHash, FeeRecipient: p.FeeRecipient, StateRoot: p.StateRoot, ReceiptsRoot: p.ReceiptsRoot, LogsBloom: p.LogsBloom,
		PrevRandao: p.PrevRandao, BlockNumber: p.BlockNumber, GasLimit: p.GasLimit, GasUsed: p.GasUsed, Timestamp: p.Timestamp,
		ExtraData: p.ExtraData, BaseFeePerGas: p.BaseFeePerGas, BlockHash: p.BlockHash,
		TransactionsRoot: root(payloadTransactions), WithdrawalsRoot: root(payloadWithdrawals),
		BlobGasUsed: p.BlobGasUsed, ExcessBlobGas: p.ExcessBlobGas,
	}
}

// gloasPayload is the block as envelopes of Gloas carry it: with its access list.
func gloasPayload(t *testing.T, block *types.Block) *gloas.ExecutionPayload {
	p := denebPayload(t, block)
	accessList, err := rlp.EncodeToBytes(block.AccessList())
	check(t, err)
	return &gloas.ExecutionPayload{
		ParentHash: p.ParentHash, FeeRecipient: p.FeeRecipient, StateRoot: p.StateRoot, ReceiptsRoot: p.ReceiptsRoot, LogsBloom: p.LogsBloom,
		PrevRandao: p.PrevRandao, BlockNumber: p.BlockNumber, GasLimit: p.GasLimit, GasUsed: p.GasUsed, Timestamp: p.Timestamp,
		ExtraData: p.ExtraData, BaseFeePerGas: p.BaseFeePerGas, BlockHash: p.BlockHash, Transactions: p.Transactions,
		BlobGasUsed: p.BlobGasUsed, ExcessBlobGas: p.ExcessBlobGas,
		BlockAccessList: accessList, SlotNumber: *block.SlotNumber(),
	}
}
