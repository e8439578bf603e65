// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// headersUsing returns headers of a fork before London, each with some gas used.
func headersUsing(gas ...uint64) []*types.Header {
	headers := make([]*types.Header, len(gas))
	for i, used := range gas {
		headers[i] = &types.Header{Number: big.NewInt(int64(i)), Difficulty: new(big.Int), GasUsed: used, UncleHash: types.EmptyUncleHash}
	}
	return headers
}

// bigBlocks is a chain with blocks beside it.
type bigBlocks struct {
	testChain
	blocks   map[common.Hash]*types.Block
	receipts map[common.Hash]types.Receipts
	lists    map[common.Hash]rlp.RawValue
}

func (c bigBlocks) Block(hash common.Hash) *types.Block      { return c.blocks[hash] }
func (c bigBlocks) Receipts(hash common.Hash) types.Receipts { return c.receipts[hash] }
func (c bigBlocks) AccessList(hash common.Hash) rlp.RawValue { return c.lists[hash] }

// Contracts that do the cheapest things for their bytes. The first word of their calldata is a number n from 1 on.
var (
	// clearing clears the slots n to 1: do { sstore(n, 0); n-- } while (n > 0).
	clearing = common.FromHex("6000355b60008155600190038060035700")
	// logging does the same, then logs 8 KiB without topics until less than 100,000 gas is left.
	logging = common.FromHex("6000355b600081556001900380600357" + "5b620020006000a0620186a05a1160105700")
)

// priced is a fork with the cost of zero bytes in calldata, and the slots that a transaction of 3 Mgas clears for the largest refund.
type priced struct {
	name   string
	config func(*params.ChainConfig)
	zero   uint64
	clears uint64
}

func pricedForks() []priced {
	return []priced{
		{"Berlin", func(c *params.ChainConfig) {
			c.LondonBlock, c.ArrowGlacierBlock, c.GrayGlacierBlock, c.MergeNetsplitBlock = nil, nil, nil, nil
			c.ShanghaiTime, c.CancunTime, c.PragueTime, c.OsakaTime, c.TerminalTotalDifficulty = nil, nil, nil, nil, big.NewInt(math.MaxInt64)
		}, 4, 100},
		{"Cancun", func(c *params.ChainConfig) { c.PragueTime, c.OsakaTime = nil, nil }, 4, 125},
		{"Prague", func(c *params.ChainConfig) { c.OsakaTime = nil }, 10, 1},
		{"Amsterdam", func(c *params.ChainConfig) { c.AmsterdamTime = new(uint64) }, 64, 1},
	}
}

// largestBlocks builds the blocks of a fork with the most bytes for their gas: calldata, logs, and small transactions.
func largestBlocks(f priced) (blocks []*types.Block, receipts []types.Receipts) {
	const gas, transfers = 2_900_000, 200
	config := testchain.Config()
	f.config(config)
	slots := make(map[common.Hash]common.Hash)
	for i := range f.clears {
		slots[common.BigToHash(new(big.Int).SetUint64(i+1))] = common.Hash{31: 1}
	}
	contract := func(kind, i byte) common.Address { return common.Address{kind, 18: i, 19: 1} }
	alloc := make(types.GenesisAlloc)
	for i := range byte(2) {
		alloc[contract(0, i)] = types.Account{Code: clearing, Storage: slots}
		alloc[contract(1, i)] = types.Account{Code: logging, Storage: slots}
	}
	genesis := testchain.Genesis(config, testchain.Funded(1), alloc)
	if config.LondonBlock == nil {
		genesis.BaseFee, genesis.Difficulty = nil, big.NewInt(131_072)
	}
	made := testchain.New(genesis)
	return made.Extend(made.Root(), 3, func(n int, b *testchain.Block) {
		send := func(to common.Address, gas uint64, data []byte) {
			b.Send(testchain.Key(1), &types.LegacyTx{
				Nonce: b.TxNonce(testchain.Address(1)), To: &to, Gas: gas, GasPrice: big.NewInt(10 * params.GWei), Data: data, Value: new(big.Int),
			})
		}
		word := common.BigToHash(new(big.Int).SetUint64(f.clears))
		for i := range byte(2) {
			switch n {
			case 0:
				zeros := (gas - 60_000 - f.clears*5_100) / f.zero
				send(contract(0, i), gas, append(word[:], make([]byte, zeros)...))
			case 1:
				send(contract(1, i), gas, word[:])
			}
		}
		for i := 0; n == 2 && i < transfers; i++ {
			send(testchain.Address(1), params.TxGas, nil)
		}
	})
}

// TestLargestBlocks: the largest bodies and receipts that gas can pay for are accepted, and the bounds are near them.
func TestLargestBlocks(t *testing.T) {
	chain := newTestChain(t)
	for _, f := range pricedForks() {
		t.Run(f.name, func(t *testing.T) {
			blocks, receipts := largestBlocks(f)
			backend := bigBlocks{testChain: chain, blocks: make(map[common.Hash]*types.Block), receipts: make(map[common.Hash]types.Receipts)}
			var headers []*types.Header
			for i, block := range blocks {
				headers = append(headers, block.Header())
				backend.blocks[block.Hash()], backend.receipts[block.Hash()] = block, receipts[i]
				body, list := encodedSize(t, block.Body()), encodedSize(t, receipts[i])
				fits(t, fmt.Sprintf("body %d", i), body, maxBodySize(headers[i], 0)-blockOverhead, i == 0)
				fits(t, fmt.Sprintf("receipts %d", i), list, maxReceiptsSize(headers[i], 0)-blockOverhead, i == 1)
			}
			server := chain.serving()
			server.Chain = backend
			for _, version := range []uint{eth66, eth.ETH69, eth.ETH71} {
				c := connect(t, version, true, chain.serving(), server)
				for i, header := range headers {
					bodies, err := c.client.Bodies(testContext(t), headers[i:i+1])
					if err != nil || len(bodies) != 1 {
						t.Fatalf("eth/%d: body %d: %v", version, i, err)
					}
					equal(t, "transactions root", types.DeriveSha(types.Transactions(bodies[0].Transactions), gethtrie.NewStackTrie(nil)), header.TxHash)
					lists, err := c.client.Receipts(testContext(t), headers[i:i+1])
					if err != nil || len(lists) != 1 {
						t.Fatalf("eth/%d: receipts %d: %v", version, i, err)
					}
					equal(t, "receipts root", types.DeriveSha(lists[0], gethtrie.NewStackTrie(nil)), header.ReceiptHash)
				}
				if bodies, err := c.client.Bodies(testContext(t), headers); err != nil || len(bodies) == 0 {
					t.Errorf("eth/%d: all bodies: %d, %v", version, len(bodies), err)
				}
			}
		})
	}
}

func encodedSize(t *testing.T, v any) int {
	t.Helper()
	enc, err := rlp.EncodeToBytes(v)
	if err != nil {
		t.Fatal(err)
	}
	return len(enc)
}

// fits compares a size with its bound, which is at most five times as much if the block was made for it.
func fits(t *testing.T, what string, size, bound int, near bool) {
	t.Helper()
	if size > bound || (near && bound > 5*size) {
		t.Errorf("%s has %d bytes, bound %d", what, size, bound)
	}
}

// TestInflatedBlocks: bodies, receipts and access lists that are larger than the gas in the header pays for are not read.
func TestInflatedBlocks(t *testing.T) {
	chain := newTestChain(t)
	header := &types.Header{Number: big.NewInt(1), Difficulty: new(big.Int), BaseFee: big.NewInt(1), GasUsed: 1_000_000, UncleHash: types.EmptyUncleHash}
	tx := types.NewTx(&types.LegacyTx{Data: make([]byte, 1<<20), Value: new(big.Int), GasPrice: new(big.Int)})
	list, err := rlp.EncodeToBytes([][]byte{make([]byte, 1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	server := chain.serving()
	server.Chain = bigBlocks{
		testChain: chain,
		blocks:    map[common.Hash]*types.Block{header.Hash(): types.NewBlockWithHeader(header).WithBody(types.Body{Transactions: types.Transactions{tx}})},
		receipts:  map[common.Hash]types.Receipts{header.Hash(): {{Status: 1, Logs: []*types.Log{{Topics: []common.Hash{}, Data: make([]byte, 1<<20)}}}}},
		lists:     map[common.Hash]rlp.RawValue{header.Hash(): list},
	}
	requests := map[message]func(*Peer) error{
		msgBlockBodies: func(p *Peer) error { _, err := p.Bodies(testContext(t), []*types.Header{header}); return err },
		msgReceipts:    func(p *Peer) error { _, err := p.Receipts(testContext(t), []*types.Header{header}); return err },
		msgAccessLists: func(p *Peer) error { _, err := p.AccessLists(testContext(t), []*types.Header{header}); return err },
	}
	for _, version := range []uint{eth66, eth.ETH69, eth.ETH71} {
		for m, request := range requests {
			if _, ok := lookup(protoEth, version, messages[m].code); !ok {
				continue
			}
			c := connect(t, version, true, chain.serving(), server)
			if err := request(c.client); !errors.Is(err, ErrPeerGone) {
				t.Fatalf("eth/%d: %s: %v", version, m, err)
			}
			if _, ok := c.client.Oversized(); !ok {
				t.Errorf("eth/%d: %s: the connection ended without a proof", version, m)
			}
		}
	}
}

// TestManyWithdrawals: withdrawals cost no gas, so a chain of somebody's own may fund its accounts by them, as many as a block has room
// for. On public networks consensus bounds them.
func TestManyWithdrawals(t *testing.T) {
	chain := newTestChain(t)
	withdrawals := make(types.Withdrawals, 150_000)
	for i := range withdrawals {
		withdrawals[i] = &types.Withdrawal{Index: uint64(i), Validator: uint64(i), Address: testchain.FillerAddress(i), Amount: 1 << 40}
	}
	header := &types.Header{Number: big.NewInt(1), Difficulty: new(big.Int), BaseFee: big.NewInt(1)}
	block := types.NewBlock(header, &types.Body{Withdrawals: withdrawals}, nil, gethtrie.NewListHasher())
	server := chain.serving()
	server.Chain = bigBlocks{testChain: chain, blocks: map[common.Hash]*types.Block{block.Hash(): block}}
	for _, version := range []uint{eth66, eth.ETH69, eth.ETH71} {
		c := connect(t, version, true, chain.serving(), server)
		bodies, err := c.client.Bodies(testContext(t), []*types.Header{block.Header()})
		if err != nil || len(bodies) != 1 || len(bodies[0].Withdrawals) != len(withdrawals) {
			t.Errorf("eth/%d: %d bodies, %v", version, len(bodies), err)
		}
	}
	for _, genesis := range []common.Hash{params.MainnetGenesisHash, params.SepoliaGenesisHash, params.HoodiGenesisHash} {
		if size := maxBodySize(block.Header(), mostWithdrawals(genesis)); size > 200_000 {
			t.Errorf("%d bytes for an empty block of the network %x", size, genesis)
		}
	}
}

// TestInflatedItem: one item may not use what the others left.
func TestInflatedItem(t *testing.T) {
	headers := headersUsing(600_000, 600_000, 600_000)
	for m, request := range map[message]func(*Peer) error{
		msgBlockBodies: func(p *Peer) error { _, err := p.Bodies(t.Context(), headers); return err },
		msgReceipts:    func(p *Peer) error { _, err := p.Receipts(t.Context(), headers); return err },
		msgAccessLists: func(p *Peer) error { _, err := p.AccessLists(t.Context(), headers); return err },
	} {
		var p *Peer
		config := PeerConfig{Chain: newTestChain(t)}
		junk := make([]byte, NewPeer(Link{ID: "p"}, config).requestBlocks(headers, map[message]func(*types.Header, int) int{
			msgBlockBodies: maxBodySize, msgReceipts: maxReceiptsSize, msgAccessLists: maxAccessListSize,
		}[m]).item+1)
		stream := answering{func(id uint64) {
			fields := map[message][]any{
				msgBlockBodies: {id, []any{[]any{[]any{junk}, []any{}}}},
				msgReceipts:    {id, false, []any{[]any{[]any{junk}}}},
				msgAccessLists: {id, []any{[]any{junk}}},
			}[m]
			payload, err := rlp.EncodeToBytes(fields)
			if err != nil {
				panic(err)
			}
			if err := p.receive(protoEth, gethp2p.Msg{Code: messages[m].code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}); err != nil {
				t.Errorf("%s: %v", m, err) // all three may have as much
			}
		}}
		p = NewPeer(Link{ID: "p", Version: eth.ETH71, Eth: stream}, config)
		wantProtocolError(t, request(p), KindOversize)
	}
}
