// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"log/slog"
	"math/big"
	"slices"
	"strings"
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

// blocksOn makes the next block of a chain, with one transfer, as the beacon chain's next
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

// gloasGenesis is a network whose third block is the first of Osaka and of Amsterdam, the
// execution side of Gloas.
func gloasGenesis() *core.Genesis {
	genesis := pragueGenesis()
	fork := genesis.Timestamp + 3*10 // GenerateChain makes a block every 10 s
	genesis.Config.OsakaTime, genesis.Config.AmsterdamTime = &fork, &fork
	return genesis
}

// beaconBlocks makes execution blocks for the beacon blocks of an API.
type beaconBlocks struct {
	api     *beaconAPI
	genesis *core.Genesis
}

// next makes execution block n for the next beacon block.
func (b beaconBlocks) next(t *testing.T, n int) *types.Block {
	t.Helper()
	blocks := blocksOn(t, b.genesis, n, func(i int, _ []*types.Block) common.Hash { return b.api.roots()[i] })
	return blocks[n-1]
}

// extend makes execution block n and adds the next beacon block with it.
func (b beaconBlocks) extend(t *testing.T, n int, finalize bool) *types.Block {
	t.Helper()
	block := b.next(t, n)
	b.api.extend(t, block, finalize)
	return block
}

// engineLog is an Engine API that says VALID to all and notes what it was asked.
type engineLog struct {
	calls chan any
}

type payloadCall struct {
	version          int
	hash, beaconRoot common.Hash
	accessList       common.Hash // its hash, zero without one
	requests         int
}

type forkchoiceCall struct {
	version int
	engine.ForkchoiceStateV1
}

func (e *engineLog) newPayload(version int, payload *engine.ExecutableData, root *common.Hash, requests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	call := payloadCall{version: version, hash: payload.BlockHash, beaconRoot: *root, requests: len(requests)}
	if len(payload.BlockAccessList) > 0 {
		call.accessList = crypto.Keccak256Hash(payload.BlockAccessList)
	}
	e.calls <- call
	return engine.PayloadStatusV1{Status: engine.VALID, LatestValidHash: &payload.BlockHash}, nil
}

func (e *engineLog) NewPayloadV4(payload engine.ExecutableData, _ []common.Hash, root *common.Hash, requests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	return e.newPayload(4, &payload, root, requests)
}

func (e *engineLog) NewPayloadV5(payload engine.ExecutableData, _ []common.Hash, root *common.Hash, requests []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	return e.newPayload(5, &payload, root, requests)
}

func (e *engineLog) forkchoiceUpdated(version int, update engine.ForkchoiceStateV1) (engine.ForkChoiceResponse, error) {
	e.calls <- forkchoiceCall{version, update}
	return engine.ForkChoiceResponse{PayloadStatus: engine.PayloadStatusV1{Status: engine.VALID, LatestValidHash: &update.HeadBlockHash}}, nil
}

func (e *engineLog) ForkchoiceUpdatedV3(update engine.ForkchoiceStateV1, _ *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return e.forkchoiceUpdated(3, update)
}

func (e *engineLog) ForkchoiceUpdatedV4(update engine.ForkchoiceStateV1, _ *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	return e.forkchoiceUpdated(4, update)
}

// The light client must follow a real committee change and the Gloas fork, verify what it is
// told, and turn each head into newPayload and forkchoiceUpdated on the in-process engine.
func TestLightClientDrivesEngine(t *testing.T) {
	api := newBeaconAPI(t)
	blocks := beaconBlocks{api, gloasGenesis()}
	first := blocks.extend(t, 1, false)

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
		newPayload := payloadCall{version: 4, hash: block.Hash(), beaconRoot: *block.BeaconRoot()}
		forkchoice := forkchoiceCall{3, engine.ForkchoiceStateV1{HeadBlockHash: block.Hash(), SafeBlockHash: finalized, FinalizedBlockHash: finalized}}
		if hash := block.Header().BlockAccessListHash; hash != nil {
			newPayload.version, newPayload.accessList, forkchoice.version = 5, *hash, 4
		}
		for _, call := range []any{newPayload, forkchoice} {
			select {
			case got := <-log.calls:
				if got != call {
					t.Fatalf("engine was called with %+v, want %+v", got, call)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("no call %+v; beacon API was asked for %v", call, api.asked())
			}
		}
	}
	expect(first, common.Hash{})
	second := blocks.extend(t, 2, true)
	expect(second, first.Hash())

	api.enterGloas()
	third := blocks.extend(t, 3, true)
	if third.Header().BlockAccessListHash == nil {
		t.Fatal("block 3 is not of Amsterdam")
	}
	expect(third, second.Hash())
	withheld := api.withhold(t, blocks.next(t, 4)) // no execution block, no call
	expect(blocks.extend(t, 4, false), second.Hash())
	if !slices.Contains(api.asked(), withheld) {
		t.Errorf("%s was not asked for", withheld)
	}
	// A final beacon block of Gloas proves the execution block before its own: its own is known
	// to be part of the chain by the next beacon block only.
	expect(blocks.extend(t, 5, true), third.Hash())

	cancel()
	select {
	case err := <-done:
		check(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("light client does not stop")
	}
}

// The light client must enter Gloas where the execution chain enters Amsterdam: both are
// one fork, scheduled in two configurations.
func TestGloasScheduledLikeAmsterdam(t *testing.T) {
	for name, network := range map[string]struct {
		beacon    *bparams.ChainConfig
		execution *params.ChainConfig
	}{
		"mainnet": {bparams.MainnetLightConfig, params.MainnetChainConfig},
		"sepolia": {bparams.SepoliaLightConfig, params.SepoliaChainConfig},
		"hoodi":   {bparams.HoodiLightConfig, params.HoodiChainConfig},
	} {
		amsterdam := network.execution.AmsterdamTime
		if name == "sepolia" && amsterdam == nil {
			t.Error("Sepolia has no Amsterdam")
		}
		var gloas *uint64
		for _, fork := range network.beacon.Forks {
			if strings.EqualFold(fork.Name, forkGloas) {
				start := network.beacon.GenesisTime + fork.Epoch*bparams.EpochLength*12
				gloas = &start
			}
		}
		if (gloas == nil) != (amsterdam == nil) || gloas != nil && *gloas != *amsterdam {
			t.Errorf("%s: Gloas at %v, Amsterdam at %v", name, gloas, amsterdam)
		}
	}
}
