// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

const (
	forksGenesis = 1_700_000_000 // seconds
	forksSlot    = 10            // seconds between the blocks of core.GenerateChain
	forksBlocks  = 26
)

// Block numbers at which a chain of all forks enters them; it begins in Paris.
const (
	shanghaiBlock  = 4
	cancunBlock    = 8
	pragueBlock    = 12
	osakaBlock     = 16
	amsterdamBlock = 20
)

// sumAddr is a contract that writes the calldata's first word, PREVRANDAO and a log.
var sumAddr = common.HexToAddress("0x5a5a")

// forksGenesisBlock is a network that goes through all forks since Paris.
func forksGenesisBlock() *core.Genesis {
	at := func(block uint64) *uint64 { return new(uint64(forksGenesis + block*forksSlot)) }
	config := *params.MergedTestChainConfig
	config.ChainID, config.Ethash = stategen.ChainID(), nil
	config.ShanghaiTime, config.CancunTime, config.PragueTime = at(shanghaiBlock), at(cancunBlock), at(pragueBlock)
	config.OsakaTime, config.AmsterdamTime = at(osakaBlock), at(amsterdamBlock)
	blobs := *params.DefaultBlobSchedule
	config.BlobScheduleConfig = &blobs
	alloc := core.SystemContractAllocs()
	alloc[sumAddr] = types.Account{Balance: new(big.Int), Code: []byte{
		0x44, 0x5f, 0x35, 0x55, // storage[calldata] = PREVRANDAO
		0x43, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xa0, 0x00, // log the block's number
	}}
	for i := range 3 {
		alloc[crypto.PubkeyToAddress(stategen.Sender(i).PublicKey)] = types.Account{Balance: new(big.Int).Lsh(common.Big1, 90)}
	}
	return &core.Genesis{
		Config: &config, Timestamp: forksGenesis, GasLimit: 30_000_000, BaseFee: big.NewInt(params.InitialBaseFee), Difficulty: new(big.Int),
		ExtraData: []byte("all forks"), Alloc: alloc,
	}
}

// writeGenesis writes a genesis file.
func writeGenesis(t *testing.T, genesis *core.Genesis) string {
	t.Helper()
	text, err := json.Marshal(genesis)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "genesis.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// enginePayload is the parameters of newPayload.
type enginePayload struct {
	data     engine.ExecutableData
	hashes   []common.Hash
	root     *common.Hash
	requests []hexutil.Bytes
}

// version is that of newPayload in the payload's fork.
func (p *enginePayload) version() int {
	number := uint64(0)
	if p.data.Timestamp > forksGenesis {
		number = (p.data.Timestamp - forksGenesis) / forksSlot
	}
	return newPayloadVersion(number)
}

// newPayloadVersion is that of a block by its slot.
func newPayloadVersion(number uint64) int {
	switch {
	case number >= amsterdamBlock:
		return 5
	case number >= pragueBlock:
		return 4
	case number >= cancunBlock:
		return 3
	case number >= shanghaiBlock:
		return 2
	}
	return 1
}

// block decodes the payload, whatever its block hash.
func (p *enginePayload) block() (*types.Block, error) {
	var requests [][]byte
	if p.requests != nil {
		requests = make([][]byte, len(p.requests))
		for i, request := range p.requests {
			requests[i] = request
		}
	}
	return engine.ExecutableDataToBlockNoHash(p.data, p.hashes, p.root, requests)
}

// whole says whether the block hash is that of the payload.
func (p *enginePayload) whole() bool {
	block, err := p.block()
	return err == nil && block.Hash() == p.data.BlockHash
}

// makeChain makes blocks on genesis. The first ones are the same for all branches.
func makeChain(t *testing.T, genesis *core.Genesis, common uint64, branch byte) []*enginePayload {
	t.Helper()
	requests := make([][][]byte, forksBlocks)
	var nonces [3]uint64
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, beacon.New(ethash.NewFaker()), forksBlocks, func(i int, gen *core.BlockGen) {
		name := branch
		if uint64(i) < common {
			name = 0
		}
		fillBlock(t, genesis, gen, &nonces, name)
		requests[i] = gen.ConsensusLayerRequests()
	})
	chain := make([]*enginePayload, len(blocks))
	for i, block := range blocks {
		chain[i] = payloadOf(block, requests[i])
		if made, err := chain[i].block(); err != nil || made.Hash() != block.Hash() {
			t.Fatalf("block %d does not decode into itself: %v", i+1, err)
		}
	}
	return chain
}

// payloadOf is a block as newPayload carries it.
func payloadOf(block *types.Block, requests [][]byte) *enginePayload {
	p := &enginePayload{data: *engine.BlockToExecutableData(block, nil, nil, nil).ExecutionPayload, root: block.BeaconRoot()}
	if p.root != nil {
		p.hashes = []common.Hash{}
		for _, tx := range block.Transactions() {
			p.hashes = append(p.hashes, tx.BlobHashes()...)
		}
	}
	if block.RequestsHash() != nil {
		p.requests = []hexutil.Bytes{}
		for _, request := range requests {
			p.requests = append(p.requests, request)
		}
	}
	return p
}

// fillBlock gives a block what its fork has: transactions, withdrawals, blobs, requests.
func fillBlock(t *testing.T, genesis *core.Genesis, gen *core.BlockGen, nonces *[3]uint64, branch byte) {
	t.Helper()
	number := gen.Number().Uint64()
	gen.SetCoinbase(common.Address{0xfe, branch, byte(number)})
	signer := types.MakeSigner(genesis.Config, gen.Number(), gen.Timestamp())
	send := func(from int, data types.TxData) {
		tx, err := types.SignNewTx(stategen.Sender(from), signer, data)
		if err != nil {
			t.Fatal(err)
		}
		gen.AddTx(tx)
		nonces[from]++
	}
	fee := func() *big.Int { return new(big.Int).Mul(gen.BaseFee(), common.Big2) }
	send(0, &types.LegacyTx{Nonce: nonces[0], GasPrice: fee(), Gas: 300_000, To: &common.Address{0xaa, branch}, Value: big.NewInt(int64(number))})
	send(1, &types.DynamicFeeTx{
		ChainID: genesis.Config.ChainID, Nonce: nonces[1], GasFeeCap: fee(), GasTipCap: common.Big1, Gas: 500_000, To: &sumAddr,
		Data: common.BigToHash(big.NewInt(int64(number)<<8 | int64(branch))).Bytes(),
	})
	if number >= shanghaiBlock {
		gen.AddWithdrawal(&types.Withdrawal{Validator: number, Amount: 7, Address: common.Address{0xbb, branch}})
	}
	if number >= cancunBlock {
		gen.SetParentBeaconRoot(common.Hash{0xcc, branch, byte(number)})
		if number%2 == 0 {
			send(2, &types.BlobTx{
				ChainID: uint256.MustFromBig(genesis.Config.ChainID), Nonce: nonces[2], GasFeeCap: uint256.MustFromBig(fee()), GasTipCap: uint256.NewInt(1),
				Gas: 300_000, BlobFeeCap: uint256.NewInt(1e9), BlobHashes: []common.Hash{{1, branch, byte(number)}, {1, 0xff}},
			})
		}
	}
	if number >= pragueBlock && number%3 == 0 { // a request for a withdrawal, EIP-7002: public key and amount, for a fee of 1 wei
		send(0, &types.LegacyTx{
			Nonce: nonces[0], GasPrice: fee(), Gas: 1_000_000, To: &params.WithdrawalQueueAddress, Value: common.Big1, Data: make([]byte, 56),
		})
	}
}

// String implements fmt.Stringer.
func (p *enginePayload) String() string {
	return fmt.Sprintf("block %d %x on %x", p.data.Number, p.data.BlockHash[:4], p.data.ParentHash[:4])
}
