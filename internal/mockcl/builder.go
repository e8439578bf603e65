// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// How far behind the head a block is safe and final on a healthy network: one and two
// epochs.
const (
	safeDistance      = 32
	finalizedDistance = 64
)

// buildTimeout bounds each step of building a block. The geth that builds is part of the test, not its
// subject: on a slow machine the chain grows slowly instead of ending.
const buildTimeout = 2 * time.Minute

// secondsPerSlot is mainnet's.
const secondsPerSlot = 12

// feeRecipients is how many builders share the blocks.
const feeRecipients = 5

// Builder has blocks built by a geth, each on the one before, and makes them that
// geth's head. Builders of one geth take turns; none is for concurrent use.
type Builder struct {
	engine *Client
	geth   *gethrpc.Client // with the namespaces eth and testing
	config *params.ChainConfig
	head   *types.Header
}

// NewBuilder starts on the head of geth.
func NewBuilder(ctx context.Context, engine *Client, geth *gethrpc.Client, config *params.ChainConfig) (*Builder, error) {
	b := &Builder{engine: engine.within(buildTimeout), geth: geth, config: config}
	if err := geth.CallContext(ctx, &b.head, "eth_getHeaderByNumber", "latest"); err != nil {
		return nil, fmt.Errorf("ask geth for its head: %w", err)
	}
	return b, nil
}

// Head is the newest block that was built, or what geth had before.
func (b *Builder) Head() *types.Header { return b.head }

// On is a builder that goes on from another block, at most 32 below geth's head: what it
// builds there is a side branch.
func (b *Builder) On(parent *types.Header) *Builder {
	side := *b
	side.head = parent
	return &side
}

// BaseFee is that of the next block.
func (b *Builder) BaseFee() *big.Int { return eip1559.CalcBaseFee(b.config, b.head) }

// Build makes a block of exactly these transactions, in this order. Time is in seconds;
// it is moved past the parent's if it is not.
func (b *Builder) Build(ctx context.Context, time uint64, txs []*types.Transaction) (*Payload, error) {
	raw := make([]hexutil.Bytes, len(txs))
	for i, tx := range txs {
		enc, err := tx.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("encode transaction %d: %w", i, err)
		}
		raw[i] = enc
	}
	attributes := b.attributes(time)
	if b.fork(attributes.Timestamp) == paris {
		return b.buildOld(ctx, raw, attributes)
	}
	if err := b.setHead(ctx, b.fork(attributes.Timestamp)); err != nil {
		return nil, err
	}
	var built engine.ExecutionPayloadEnvelope
	err := b.geth.CallContext(ctx, &built, "testing_buildBlockV1", b.head.Hash(), attributes, raw, hexutil.Bytes("sunbeam"))
	if err != nil {
		return nil, fmt.Errorf("build block %d: %w", b.head.Number.Uint64()+1, err)
	}
	return b.adopt(ctx, &built, attributes)
}

// BuildFromPool makes a block the way consensus clients do: geth chooses transactions
// from its pool, in the time between forkchoiceUpdated and getPayload. Wait is called in
// between and may be nil.
func (b *Builder) BuildFromPool(ctx context.Context, time uint64, wait func(context.Context) error) (*Payload, error) {
	attributes := b.attributes(time)
	id, err := b.begin(ctx, attributes)
	if err != nil {
		return nil, err
	}
	if wait != nil {
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
	built, err := b.fetch(ctx, id, attributes)
	if err != nil {
		return nil, err
	}
	return b.adopt(ctx, built, attributes)
}

// begin has geth build a block from its pool.
func (b *Builder) begin(ctx context.Context, attributes *engine.PayloadAttributes) (*engine.PayloadID, error) {
	state, err := b.forkchoice(ctx, b.head.Number.Uint64(), b.head.Hash())
	if err != nil {
		return nil, err
	}
	response, err := b.engine.forkchoice(ctx, b.fork(attributes.Timestamp), state, attributes)
	if err != nil {
		return nil, err
	}
	if response.PayloadID == nil {
		return nil, fmt.Errorf("geth builds nothing on block %d: it is %s", b.head.Number, response.PayloadStatus.Status)
	}
	return response.PayloadID, nil
}

// fetch takes what has been built until now.
func (b *Builder) fetch(ctx context.Context, id *engine.PayloadID, attributes *engine.PayloadAttributes) (*engine.ExecutionPayloadEnvelope, error) {
	f, built := b.fork(attributes.Timestamp), new(engine.ExecutionPayloadEnvelope)
	var result any = built
	if f == paris { // it has no envelope yet
		built.ExecutionPayload = new(engine.ExecutableData)
		result = built.ExecutionPayload
	}
	return built, b.engine.call(ctx, result, f.getPayload(), id)
}

// setHead makes the builder's head that of geth, which may be on another branch. Nothing is
// said of safe and final blocks: they can only be changed forward.
func (b *Builder) setHead(ctx context.Context, f fork) error {
	response, err := b.engine.forkchoice(ctx, f, engine.ForkchoiceStateV1{HeadBlockHash: b.head.Hash()}, nil)
	if err == nil && response.PayloadStatus.Status != engine.VALID {
		err = fmt.Errorf("geth calls its block %d %s", b.head.Number, response.PayloadStatus.Status)
	}
	return err
}

// attributes are a function of the parent and the time only.
func (b *Builder) attributes(time uint64) *engine.PayloadAttributes {
	seed := crypto.Keccak256Hash(b.head.Hash().Bytes())
	root := crypto.Keccak256Hash(seed.Bytes())
	attributes := &engine.PayloadAttributes{
		Timestamp:             max(time, b.head.Time+1),
		Random:                seed,
		SuggestedFeeRecipient: common.Address{0xfe, 0xe5, seed[0] % feeRecipients},
	}
	f := b.fork(attributes.Timestamp)
	if f != paris {
		attributes.Withdrawals, attributes.BeaconRoot = []*types.Withdrawal{}, &root
	}
	if f == amsterdam {
		slot := b.head.Number.Uint64() + 1
		limit := b.head.GasLimit
		attributes.SlotNumber, attributes.TargetGasLimit = &slot, &limit
	}
	return attributes
}

// fork is the next block's.
func (b *Builder) fork(time uint64) fork {
	number := new(big.Int).Add(b.head.Number, common.Big1)
	switch {
	case b.config.IsAmsterdam(number, time):
		return amsterdam
	case b.config.IsOsaka(number, time):
		return osaka
	case b.config.IsShanghai(number, time):
		return prague
	}
	return paris
}

// adopt makes a built block geth's head.
func (b *Builder) adopt(ctx context.Context, built *engine.ExecutionPayloadEnvelope, attributes *engine.PayloadAttributes) (*Payload, error) {
	p := &Payload{Data: *built.ExecutionPayload}
	if attributes.BeaconRoot != nil {
		p.BeaconRoot = *attributes.BeaconRoot
	}
	for _, request := range built.Requests {
		p.Requests = append(p.Requests, request)
	}
	for i, raw := range p.Data.Transactions {
		tx := new(types.Transaction)
		if err := tx.UnmarshalBinary(raw); err != nil {
			return nil, fmt.Errorf("transaction %d of the built block: %w", i, err)
		}
		p.VersionedHashes = append(p.VersionedHashes, tx.BlobHashes()...)
	}
	requests := make([][]byte, len(p.Requests))
	for i, request := range p.Requests {
		requests[i] = request
	}
	if attributes.BeaconRoot == nil { // nor are there requests
		requests = nil
	}
	block, err := engine.ExecutableDataToBlock(p.Data, p.VersionedHashes, attributes.BeaconRoot, requests)
	if err != nil {
		return nil, fmt.Errorf("the built block: %w", err)
	}
	if p.Forkchoice, err = b.forkchoice(ctx, block.NumberU64(), block.Hash()); err != nil {
		return nil, err
	}
	status, err := b.engine.NewPayload(ctx, p)
	if err == nil && status.Status == engine.VALID {
		status, err = b.engine.Forkchoice(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	if status.Status != engine.VALID {
		return nil, fmt.Errorf("geth calls its own block %d %s", block.NumberU64(), status.Status)
	}
	b.head = block.Header()
	p.Next = b.attributes(b.head.Time + secondsPerSlot)
	return p, nil
}

// forkchoice is that of a healthy network with this head; nothing is safe or final in a
// chain's first epochs.
func (b *Builder) forkchoice(ctx context.Context, number uint64, hash common.Hash) (state engine.ForkchoiceStateV1, err error) {
	state.HeadBlockHash = hash
	if state.SafeBlockHash, err = b.ancestor(ctx, number, safeDistance); err != nil {
		return state, err
	}
	state.FinalizedBlockHash, err = b.ancestor(ctx, number, finalizedDistance)
	return state, err
}

func (b *Builder) ancestor(ctx context.Context, number, distance uint64) (common.Hash, error) {
	if number < distance {
		return common.Hash{}, nil
	}
	var header *types.Header
	err := b.geth.CallContext(ctx, &header, "eth_getHeaderByNumber", hexutil.Uint64(number-distance))
	if err == nil && header == nil {
		err = fmt.Errorf("geth has no block %d", number-distance)
	}
	if err != nil {
		return common.Hash{}, fmt.Errorf("find the safe and final blocks: %w", err)
	}
	return header.Hash(), nil
}
