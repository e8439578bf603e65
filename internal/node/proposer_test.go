// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Errors of the Engine API (execution-apis, src/engine/common.md, Errors).
const (
	unknownPayload    = -38001
	invalidForkchoice = -38002
	invalidAttributes = -38003
	tooLarge          = -38004
	unsupportedFork   = -38005
	invalidParams     = -32602
)

var (
	randaoAddr = common.Address{0xc1} // stores PREVRANDAO in the slot of the block's number
	slotAddr   = common.Address{0xc2} // stores 1 in the slot that the calldata names
)

// proposer is the consensus client of a validator, with one node that has all state and no peers.
type proposer struct {
	*testing.T
	n      *running
	client *gethrpc.Client // engine and eth
	signer types.Signer
	nonce  uint64 // of the next transaction
	random byte   // of the last attributes
	final  common.Hash
}

// proposerGenesis is a chain of the rules of Prague.
func proposerGenesis() *core.Genesis {
	genesis := pragueGenesis()
	genesis.Timestamp = 1000
	genesis.Alloc[randaoAddr] = types.Account{Code: []byte{0x44, 0x43, 0x55, 0x00}, Balance: common.Big0}
	genesis.Alloc[slotAddr] = types.Account{Code: []byte{0x60, 1, 0x5f, 0x35, 0x55, 0x00}, Balance: common.Big0}
	return genesis
}

func newProposer(t *testing.T) *proposer {
	t.Helper()
	genesis, cfg := proposerGenesis(), localConfig(t)
	check(t, Init(cfg, genesis, discard))
	n := start(t, cfg)
	p := &proposer{T: t, n: n, client: n.rpc.EngineClient(), signer: types.LatestSigner(genesis.Config)}
	t.Cleanup(p.client.Close)
	return p
}

// head is the node's.
func (p *proposer) head() *types.Header { return p.n.chain.CurrentHeader() }

// attributes are those of the next block on a parent, different each time.
func (p *proposer) attributes(parent *types.Header) *engine.PayloadAttributes {
	p.random++
	return &engine.PayloadAttributes{
		Timestamp: parent.Time + 12, Random: common.Hash{1, p.random}, SuggestedFeeRecipient: common.Address{0xfe, p.random},
		Withdrawals: []*types.Withdrawal{}, BeaconRoot: &common.Hash{2, p.random},
	}
}

// choose makes a block the head.
func (p *proposer) choose(head common.Hash, attributes *engine.PayloadAttributes) (response engine.ForkChoiceResponse, err error) {
	return p.forkchoice(engine.ForkchoiceStateV1{HeadBlockHash: head, FinalizedBlockHash: p.final}, attributes)
}

func (p *proposer) forkchoice(state engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (response engine.ForkChoiceResponse, err error) {
	err = p.client.CallContext(p.Context(), &response, "engine_forkchoiceUpdatedV3", state, attributes)
	return response, err
}

// mustChoose wants VALID.
func (p *proposer) mustChoose(head common.Hash, attributes *engine.PayloadAttributes) *engine.PayloadID {
	p.Helper()
	response, err := p.choose(head, attributes)
	check(p.T, err)
	status := response.PayloadStatus
	if status.Status != engine.VALID || status.LatestValidHash == nil || *status.LatestValidHash != head || status.ValidationError != nil || p.head().Hash() != head {
		p.Fatalf("head %x: %+v", head, status)
	}
	return response.PayloadID
}

// proposal is a block with what newPayload needs in addition.
type proposal struct {
	engine.ExecutableData
	root     common.Hash
	requests []hexutil.Bytes
	value    *big.Int
}

// get returns a payload of the attributes.
func (p *proposer) get(id engine.PayloadID, attributes *engine.PayloadAttributes) *proposal {
	p.Helper()
	var envelope engine.ExecutionPayloadEnvelope
	check(p.T, p.client.CallContext(p.Context(), &envelope, "engine_getPayloadV4", id))
	built := &proposal{ExecutableData: *envelope.ExecutionPayload, root: *attributes.BeaconRoot, requests: []hexutil.Bytes{}, value: envelope.BlockValue}
	for _, request := range envelope.Requests {
		built.requests = append(built.requests, request)
	}
	return built
}

// build returns a payload on a parent, which must be the head, with all of the transactions.
func (p *proposer) build(parent *types.Header, attributes *engine.PayloadAttributes, txs ...*types.Transaction) *proposal {
	p.Helper()
	for wait := time.Millisecond; ; wait *= 2 {
		id := p.mustChoose(parent.Hash(), attributes)
		if id == nil {
			p.Fatal("no payload is built")
		}
		time.Sleep(wait) // the pool follows the head
		built := p.get(*id, attributes)
		if !slices.ContainsFunc(txs, func(tx *types.Transaction) bool { return !built.has(p.T, tx) }) {
			return built
		}
		if wait > 20*time.Second {
			p.Fatalf("%d transactions in the payload, without one of %d that were sent", len(built.Transactions), len(txs))
		}
		attributes.Timestamp++ // another payload
	}
}

func (b *proposal) has(t *testing.T, tx *types.Transaction) bool {
	t.Helper()
	raw, err := tx.MarshalBinary()
	check(t, err)
	return slices.ContainsFunc(b.Transactions, func(other []byte) bool { return string(other) == string(raw) })
}

// send hands a payload to the node.
func (p *proposer) send(b *proposal) engine.PayloadStatusV1 {
	p.Helper()
	var status engine.PayloadStatusV1
	check(p.T, p.client.CallContext(p.Context(), &status, "engine_newPayloadV4", b.ExecutableData, []common.Hash{}, b.root, b.requests))
	return status
}

// valid sends a payload and wants VALID.
func (p *proposer) valid(b *proposal) {
	p.Helper()
	if status := p.send(b); status.Status != engine.VALID || status.LatestValidHash == nil || *status.LatestValidHash != b.BlockHash || status.ValidationError != nil {
		p.Fatalf("payload %d: %+v", b.Number, status)
	}
}

// invalid sends a payload and wants INVALID with this latest valid hash; nil: null.
func (p *proposer) invalid(what string, b *proposal, latest *common.Hash) {
	p.Helper()
	status := p.send(b)
	if status.Status != engine.INVALID || (status.LatestValidHash == nil) != (latest == nil) || latest != nil && *status.LatestValidHash != *latest {
		p.Errorf("%s: %+v, latest valid hash %v, want INVALID and %v", what, status, status.LatestValidHash, latest)
	}
}

// propose builds a block of the transactions on the head and makes it the head.
func (p *proposer) propose(txs ...*types.Transaction) *proposal {
	p.Helper()
	b := p.build(p.head(), p.attributes(p.head()), txs...)
	p.valid(b)
	p.mustChoose(b.BlockHash, nil)
	return b
}

// changed is a copy of a payload with a change, and a hash that is right.
func (p *proposer) changed(b *proposal, change func(*proposal)) *proposal {
	p.Helper()
	other := *b
	change(&other)
	requests := make([][]byte, len(other.requests))
	for i, request := range other.requests {
		requests[i] = request
	}
	block, err := engine.ExecutableDataToBlockNoHash(other.ExecutableData, []common.Hash{}, &other.root, requests)
	check(p.T, err)
	other.BlockHash = block.Hash()
	return &other
}

// transact sends a transaction that tips 2 gwei.
func (p *proposer) transact(to common.Address, data ...byte) *types.Transaction {
	p.Helper()
	tx := types.MustSignNewTx(richKey, p.signer, &types.DynamicFeeTx{
		ChainID: p.n.chain.Config().ChainID, Nonce: p.nonce, GasFeeCap: big.NewInt(20e9), GasTipCap: big.NewInt(2e9), Gas: 100_000, To: &to, Data: data,
	})
	p.nonce++
	raw, err := tx.MarshalBinary()
	check(p.T, err)
	check(p.T, p.client.CallContext(p.Context(), new(common.Hash), "eth_sendRawTransaction", hexutil.Bytes(raw)))
	return tx
}

// minedIn is the block of a transaction by its receipt, nil if there is none.
func (p *proposer) minedIn(tx *types.Transaction) *common.Hash {
	p.Helper()
	var receipt *struct{ BlockHash common.Hash }
	check(p.T, p.client.CallContext(p.Context(), &receipt, "eth_getTransactionReceipt", tx.Hash()))
	if receipt == nil {
		return nil
	}
	return &receipt.BlockHash
}

// numbered is the hash of a block by number or tag.
func (p *proposer) numbered(tag string) common.Hash {
	p.Helper()
	var block *struct{ Hash common.Hash }
	check(p.T, p.client.CallContext(p.Context(), &block, "eth_getBlockByNumber", tag, false))
	if block == nil {
		return common.Hash{}
	}
	return block.Hash
}

// known says whether the node returns a block by its hash.
func (p *proposer) known(hash common.Hash) bool {
	p.Helper()
	var block *struct{ Hash common.Hash }
	check(p.T, p.client.CallContext(p.Context(), &block, "eth_getBlockByHash", hash, false))
	return block != nil
}

// code is that of an error of the API, 0 without one.
func code(err error) int {
	var coded gethrpc.Error
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return 0
}

// wants checks the code of an error.
func (p *proposer) wants(what string, err error, want int) {
	p.Helper()
	if code(err) != want || err == nil {
		p.Errorf("%s: %v, want code %d", what, err, want)
	}
}
