package node

import (
	"context"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	bparams "github.com/ethereum/go-ethereum/beacon/params"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

var richKey, _ = crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")

// pragueGenesis is a small network of today's rules.
func pragueGenesis() *core.Genesis {
	config := *params.MergedTestChainConfig
	config.OsakaTime, config.BPO1Time, config.BPO2Time, config.AmsterdamTime = nil, nil, nil, nil
	alloc := core.SystemContractAllocs()
	alloc[crypto.PubkeyToAddress(richKey.PublicKey)] = types.Account{Balance: big.NewInt(1e18)}
	return &core.Genesis{Config: &config, Alloc: alloc, GasLimit: 30_000_000, Difficulty: common.Big0, BaseFee: big.NewInt(params.InitialBaseFee)}
}

// blockOn makes the next block of a chain, with one transfer, as the beacon chain's next
// block would carry it.
func blocksOn(t *testing.T, genesis *core.Genesis, n int, beaconRoot func(i int, chain []*types.Block) common.Hash) []*types.Block {
	t.Helper()
	signer := types.LatestSigner(genesis.Config)
	var made []*types.Block
	for i := range n {
		// Roots depend on the blocks before, so the chain is made again with one more.
		_, blocks, _ := core.GenerateChainWithGenesis(genesis, beacon.New(ethash.NewFaker()), i+1, func(j int, gen *core.BlockGen) {
			if j < len(made) {
				gen.SetParentBeaconRoot(*made[j].BeaconRoot())
			} else {
				gen.SetParentBeaconRoot(beaconRoot(j, made))
			}
			tx, err := types.SignNewTx(richKey, signer, &types.DynamicFeeTx{
				ChainID: genesis.Config.ChainID, Nonce: uint64(j),
				GasFeeCap: big.NewInt(5e9), GasTipCap: big.NewInt(1), Gas: 21000, To: &common.Address{0xaa}, Value: big.NewInt(1),
			})
			check(t, err)
			gen.AddTx(tx)
		})
		made = blocks
	}
	return made
}

// engineLog is an Engine API that says VALID to all and notes what it was asked.
type engineLog struct {
	calls chan any
}

type payloadCall struct {
	hash, beaconRoot common.Hash
	requests         int
}

func (e *engineLog) NewPayloadV4(payload engine.ExecutableData, _ []common.Hash, root *common.Hash, requests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	e.calls <- payloadCall{payload.BlockHash, *root, len(requests)}
	return engine.PayloadStatusV1{Status: engine.VALID, LatestValidHash: &payload.BlockHash}, nil
}

func (e *engineLog) ForkchoiceUpdatedV3(update engine.ForkchoiceStateV1, _ *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	e.calls <- update
	return engine.ForkChoiceResponse{PayloadStatus: engine.PayloadStatusV1{Status: engine.VALID, LatestValidHash: &update.HeadBlockHash}}, nil
}

// The light client must follow a real committee change, verify what it is told, and turn
// each head into newPayload and forkchoiceUpdated on the in-process engine.
func TestLightClientDrivesEngine(t *testing.T) {
	api := newBeaconAPI(t)
	genesis := pragueGenesis()
	extend := func(n int) *types.Block {
		blocks := blocksOn(t, genesis, n, func(i int, _ []*types.Block) common.Hash { return api.roots()[i] })
		api.extend(t, blocks[n-1])
		return blocks[n-1]
	}
	first := extend(1)

	log := &engineLog{calls: make(chan any, 16)}
	server := gethrpc.NewServer()
	check(t, server.RegisterName("engine", log))
	defer server.Stop()
	light := &lightClient{
		config: bparams.ClientConfig{ChainConfig: api.config, Apis: []string{api.url}, Threshold: 342},
		engine: gethrpc.DialInProc(server),
		log:    slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- light.Run(ctx) }()

	expect := func(block *types.Block, finalized common.Hash) {
		t.Helper()
		want := []any{
			payloadCall{block.Hash(), *block.BeaconRoot(), 0},
			engine.ForkchoiceStateV1{HeadBlockHash: block.Hash(), SafeBlockHash: finalized, FinalizedBlockHash: finalized},
		}
		for _, call := range want {
			select {
			case got := <-log.calls:
				if got != call {
					t.Fatalf("engine was called with %+v, want %+v", got, call)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("no call %+v; beacon API was asked for %v", call, api.requests)
			}
		}
	}
	expect(first, common.Hash{})
	expect(extend(2), first.Hash())
	expect(extend(3), first.Hash())

	cancel()
	select {
	case err := <-done:
		check(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("light client does not stop")
	}
}
