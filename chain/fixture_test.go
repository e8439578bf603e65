package chain_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
)

var (
	key, _ = crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
	sender = crypto.PubkeyToAddress(key.PublicKey)
	logger = common.HexToAddress("0x1061") // its code emits an empty log
)

// network makes real blocks: executed by go-ethereum, two transactions with a log each.
type network struct {
	genesis *core.Genesis
	db      ethdb.Database
}

func newNetwork(config *params.ChainConfig) (*network, *types.Block) {
	alloc := core.SystemContractAllocs()
	alloc[sender] = types.Account{Balance: new(big.Int).Lsh(big.NewInt(1), 100)}
	alloc[logger] = types.Account{Code: []byte{0x60, 0, 0x60, 0, 0xa0}} // LOG0(0, 0)
	n := &network{genesis: &core.Genesis{Config: config, Alloc: alloc, GasLimit: 30_000_000, Difficulty: new(big.Int)}}
	n.db, _, _ = core.GenerateChainWithGenesis(n.genesis, beacon.New(ethash.NewFaker()), 0, nil)
	return n, n.genesis.ToBlock()
}

// extend makes a branch of length blocks on parent; salt tells branches apart.
func (n *network) extend(parent *types.Block, length int, salt byte) ([]*types.Block, []types.Receipts) {
	signer := types.LatestSigner(n.genesis.Config)
	return core.GenerateChain(n.genesis.Config, parent, beacon.New(ethash.NewFaker()), n.db, length, func(_ int, g *core.BlockGen) {
		g.SetCoinbase(common.Address{salt})
		for range 2 {
			to := logger
			g.AddTx(types.MustSignNewTx(key, signer, &types.DynamicFeeTx{
				ChainID: n.genesis.Config.ChainID, Nonce: g.TxNonce(sender), To: &to, Gas: 60_000,
				GasFeeCap: big.NewInt(100 * params.GWei), GasTipCap: big.NewInt(1), Data: []byte{salt},
			}))
		}
	})
}

// merged is a network that is at its newest fork from genesis on.
func merged() *params.ChainConfig {
	config := *params.MergedTestChainConfig
	return &config
}

// world is a network with a main branch of 12 blocks and a side branch of 6 from block 8 on.
type twoBranches struct {
	genesis      *core.Genesis
	main, side   []*types.Block
	mainR, sideR []types.Receipts
}

func newTwoBranches() *twoBranches {
	n, genesis := newNetwork(merged())
	w := &twoBranches{genesis: n.genesis}
	w.main, w.mainR = n.extend(genesis, 12, 1)
	w.side, w.sideR = n.extend(w.main[7], 6, 2)
	return w
}

func open(t *testing.T, genesis *core.Genesis) (*chain.Chain, *db.DB) {
	t.Helper()
	d, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return load(t, d, genesis), d
}

func load(t *testing.T, d *db.DB, genesis *core.Genesis) *chain.Chain {
	t.Helper()
	c, err := chain.New(d.Chain(), genesis)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func commit(t *testing.T, c *chain.Chain, blocks []*types.Block, receipts []types.Receipts) {
	t.Helper()
	for i, block := range blocks {
		if err := c.Commit(block, receipts[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func setHead(t *testing.T, c *chain.Chain, block *types.Block) chain.Reorg {
	t.Helper()
	reorg, err := c.SetHead(block.Hash())
	if err != nil {
		t.Fatal(err)
	}
	check(t, c)
	if c.CurrentHeader().Hash() != block.Hash() {
		t.Fatalf("head is %d, want %d", c.CurrentHeader().Number, block.Number())
	}
	return reorg
}

func check(t *testing.T, c *chain.Chain) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatalf("inconsistent: %v", err)
	}
}

func headersOf(blocks []*types.Block) []*types.Header {
	headers := make([]*types.Header, len(blocks))
	for i, block := range blocks {
		headers[i] = block.Header()
	}
	return headers
}
