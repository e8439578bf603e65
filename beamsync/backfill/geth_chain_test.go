// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill_test

import (
	"context"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

const (
	oracleBlocks   = 112 // the last ones change the state; a scan begins within them
	oracleQuiet    = 98
	oracleAccounts = 2500
	oracleSlots    = 12_000 // of the large contract: more than one response
)

var (
	oracleKey, _ = crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
	large        = common.HexToAddress("0x1a49e")
)

// oracle is go-ethereum's own chain, with the interfaces that its protocol handlers need.
type oracle struct{ *core.BlockChain }

type snapOracle struct{ oracle }

func (o oracle) Chain() *core.BlockChain { return o.BlockChain }

func (o oracle) TxPool() eth.TxPool { return nil }

func (o oracle) BlobPool() eth.BlobPool { return nil }

func (o oracle) AcceptTxs() bool { return false }

func (o oracle) RunPeer(peer *eth.Peer, h eth.Handler) error { return h(peer) }

func (o oracle) PeerInfo(enode.ID) any { return nil }

func (o oracle) Handle(*eth.Peer, eth.Packet) error { return nil }

func (o snapOracle) RunPeer(peer *snap.Peer, h snap.Handler) error { return h(peer) }

func (o snapOracle) Handle(*snap.Peer, snap.Packet) error { return nil }

func (o oracle) Header(hash common.Hash) *types.Header { return o.GetHeaderByHash(hash) }

func (o oracle) HeaderByNumber(number uint64) *types.Header { return o.GetHeaderByNumber(number) }

func (o oracle) Block(hash common.Hash) *types.Block { return o.GetBlockByHash(hash) }

func (o oracle) Receipts(hash common.Hash) types.Receipts { return o.GetReceiptsByHash(hash) }

func (o oracle) AccessList(common.Hash) rlp.RawValue { return nil }

func (o oracle) Oldest() uint64 { return 0 }

func (o oracle) target(number uint64) backfill.Target {
	return backfill.Target{Root: o.HeaderByNumber(number).Root, Number: number, Seed: o.GetCanonicalHash(number - number%backfill.SeedInterval)}
}

// newOracle builds the chain. It is on disk: a memory database sorts all its keys for each iterator.
func newOracle(t *testing.T) oracle {
	t.Helper()
	kv, err := leveldb.New(t.TempDir(), 16, 16, "", false)
	if err != nil {
		t.Fatal(err)
	}
	alloc := make(types.GenesisAlloc)
	sender := crypto.PubkeyToAddress(oracleKey.PublicKey)
	alloc[sender] = types.Account{Balance: new(big.Int).Lsh(common.Big1, 100)}
	store := []byte{0x5f, 0x35, 0x5f, 0x35, 0x55, 0x60, 0x20, 0x35, 0x5f, 0x35, 0x5f, 0x1a, 0x55, 0x00} // two sstores
	slots := func(n int) map[common.Hash]common.Hash {
		storage := make(map[common.Hash]common.Hash)
		for i := range n {
			storage[common.BigToHash(big.NewInt(int64(i)))] = common.BigToHash(big.NewInt(int64(1 + i*i%300)))
		}
		return storage
	}
	alloc[large] = types.Account{Code: store, Storage: slots(oracleSlots), Balance: common.Big1}
	for i := range oracleAccounts {
		account := types.Account{Balance: big.NewInt(int64(i + 1))}
		if i%20 == 0 {
			account.Code = append(slices.Clone(store), byte(i%97))
			account.Storage = slots(1 + i%250) // many of them alike
		}
		alloc[common.BigToAddress(big.NewInt(int64(0x1000000+i)))] = account
	}
	config := *params.MergedTestChainConfig
	config.CancunTime, config.PragueTime, config.OsakaTime, config.BlobScheduleConfig = nil, nil, nil, nil // an empty block changes nothing
	genesis := &core.Genesis{Config: &config, Alloc: alloc, GasLimit: 30_000_000, Difficulty: common.Big0}
	engine := beacon.New(ethash.NewFaker())
	signer := types.LatestSigner(genesis.Config)
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, engine, oracleBlocks, func(i int, gen *core.BlockGen) {
		if i < oracleQuiet {
			return
		}
		for n := range 8 {
			to := large
			if n%2 == 1 {
				to = common.BigToAddress(big.NewInt(int64(0x1000000 + (i*40+n*35)%oracleAccounts)))
			}
			gen.AddTx(types.MustSignNewTx(oracleKey, signer, &types.DynamicFeeTx{
				ChainID: genesis.Config.ChainID, Nonce: gen.TxNonce(sender), To: &to, Gas: 400_000, GasFeeCap: gen.BaseFee(), GasTipCap: common.Big0,
				Data: common.BigToHash(new(big.Int).SetBytes(binary.BigEndian.AppendUint64(nil, uint64(1000*i+n)))).Bytes(),
			}))
		}
	})
	//nolint:forbidigo // the oracle holds the whole state
	chain, err := core.NewBlockChain(rawdb.NewDatabase(kv), genesis, engine, &core.BlockChainConfig{
		StateScheme: rawdb.PathScheme, TrieTimeLimit: 5 * time.Minute, NoPrefetch: true, SnapshotLimit: 64, SnapshotWait: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		chain.Stop()
		kv.Close()
	})
	if _, err = chain.InsertChain(blocks); err != nil {
		t.Fatal(err)
	}
	return oracle{chain}
}

// connect runs one of our peers against go-ethereum's handlers.
func (o oracle) connect(t *testing.T, id string) *p2p.Peer {
	t.Helper()
	ethOurs, ethTheirs := gethp2p.MsgPipe()
	snapOurs, snapTheirs := gethp2p.MsgPipe()
	head := o.CurrentHeader()
	go func() {
		defer ethTheirs.Close()
		peer := eth.NewPeer(69, gethp2p.NewPeer(enode.ID{1}, "ours", nil), ethTheirs, nil, nil, o.Config())
		defer peer.Close()
		if peer.Handshake(7, o, eth.BlockRangeUpdatePacket{LatestBlock: head.Number.Uint64(), LatestBlockHash: head.Hash()}) == nil {
			_ = eth.Handle(o, peer) // ends with the pipe
		}
	}()
	go func() {
		defer snapTheirs.Close()
		peer := snap.NewPeer(snap.SNAP1, gethp2p.NewPeer(enode.ID{1}, "ours", nil), snapTheirs)
		defer peer.Close()
		_ = snap.Handle(snapOracle{o}, peer) // ends with the pipe
	}()
	joined := make(chan struct{})
	client := p2p.NewPeer(p2p.Link{ID: id, Version: 69, Eth: ethOurs, Snap: snapOurs},
		p2p.PeerConfig{NetworkID: 7, Chain: o, OnJoin: func(*p2p.Peer) { close(joined) }})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- client.Run(ctx); close(over) }()
	t.Cleanup(func() {
		cancel()
		for range over {
		}
	})
	select {
	case <-joined:
	case err := <-over:
		t.Fatalf("no join: %v", err)
	}
	return client
}
