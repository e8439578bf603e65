// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	gethmetrics "github.com/ethereum/go-ethereum/metrics"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/metrics"
)

var discard = slog.New(slog.DiscardHandler)

// stopTime is far more than a node takes to stop. It writes go-ethereum's journal of its states then, in small pieces: on a machine that has
// much else to do, this takes seconds.
const stopTime = 30 * time.Second

// localConfig is a node that talks to nobody, on ports of the system's choice.
func localConfig(t *testing.T) *config.Config {
	cfg := config.Default()
	cfg.DataDir = filepath.Join(t.TempDir(), "d")
	cfg.P2P.Port, cfg.P2P.NoDiscovery, cfg.P2P.NAT = 0, true, "none"
	cfg.Engine.Addr, cfg.Engine.Port = "127.0.0.1", 0
	cfg.Store.CacheMB = 64
	return cfg
}

// withGenesis writes a genesis file and makes it the configuration's.
func withGenesis(t *testing.T, cfg *config.Config, genesis *core.Genesis) *config.Config {
	text, err := json.Marshal(genesis)
	check(t, err)
	cfg.Genesis = filepath.Join(t.TempDir(), "genesis.json")
	check(t, os.WriteFile(cfg.Genesis, text, 0o600))
	return cfg
}

// running is a node whose endpoints are open.
type running struct {
	*Node
	cancel context.CancelFunc
	done   chan error
}

// start makes and runs a node; prepare may change it in between.
func start(t *testing.T, cfg *config.Config, prepare ...func(*Node)) *running {
	t.Helper()
	n, err := New(cfg, discard)
	check(t, err)
	for _, f := range prepare {
		f(n)
	}
	return run(t, n)
}

// run runs a node until its endpoints are open.
func run(t *testing.T, n *Node) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Node: n, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- n.Run(ctx) }()
	t.Cleanup(cancel)
	for _, ready := range []<-chan struct{}{n.host.Started(), n.rpc.Ready()} {
		select {
		case <-ready:
		case err := <-r.done:
			t.Fatalf("node ended: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("node does not start")
		}
	}
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	begin := time.Now()
	r.cancel()
	select {
	case err := <-r.done:
		check(t, err)
	case <-time.After(stopTime):
		stacks := make([]byte, 1<<20)
		t.Fatalf("node still runs %s after it was told to stop; what it does:\n%s", time.Since(begin), stacks[:runtime.Stack(stacks, true)])
	}
}

func TestStartAndStop(t *testing.T) {
	cfg := localConfig(t)
	cfg.Network = "sepolia"
	cfg.Metrics.Enabled, cfg.Metrics.Port = true, 0
	node := start(t, cfg)
	if hash := node.chain.Genesis().Hash(); hash != params.SepoliaGenesisHash {
		t.Errorf("genesis %s", hash)
	}
	for _, secret := range []string{"nodekey", "jwtsecret"} {
		stat, err := os.Stat(filepath.Join(cfg.DataDir, "geth", secret))
		check(t, err)
		if stat.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", secret, stat.Mode().Perm())
		}
	}
	client, err := gethrpc.Dial(cfg.IPCEndpoint())
	check(t, err)
	defer client.Close()
	var id hexutil.Uint64
	check(t, client.Call(&id, "eth_chainId"))
	if id != 11155111 {
		t.Errorf("eth_chainId %d", id)
	}
	var status map[string]any
	check(t, client.Call(&status, "beam_status"))
	if status["phase"] != "beaming" || status["network"] != "sepolia" {
		t.Errorf("beam_status %v", status)
	}

	// Everything that go-ethereum counts by now, databases included, can be shown.
	families, err := metrics.GoEthereum(gethmetrics.DefaultRegistry).Gather()
	if err == nil {
		_, err = prometheus.Gatherers{metrics.GoEthereum(gethmetrics.DefaultRegistry)}.Gather() // checks names and kinds
	}
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"eth_db_chaindata_disk_write", "rpc_requests"} {
		if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name }) {
			t.Errorf("no %s among %d go-ethereum metrics", name, len(families))
		}
	}

	// The directory is ours until we stop.
	if _, err := New(cfg, discard); !errors.Is(err, db.ErrInUse) || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("second instance: error %v, want %v that names the directory", err, db.ErrInUse)
	}
	self := node.host.Self().ID()
	node.stop(t)

	// The next run has the same key, and takes the network from the datadir.
	cfg.Network = ""
	node = start(t, cfg)
	if node.host.Self().ID() != self || node.network.name != "sepolia" {
		t.Errorf("second run: id %s, network %s", node.host.Self().ID(), node.network.name)
	}
	node.stop(t)

	cfg.Network = "hoodi"
	if _, err := New(cfg, discard); err == nil || !strings.Contains(err.Error(), "another network") {
		t.Errorf("other network on the same datadir: %v", err)
	}
}

// TestStopsInMidStart: a node that is told to stop before all of it has started stops without an error.
func TestStopsInMidStart(t *testing.T) {
	cfg := localConfig(t)
	cfg.Network, cfg.Engine.Addr = "sepolia", "localhost"
	for _, at := range []string{"genesis state", "endpoints"} {
		n, err := New(cfg, discard)
		check(t, err)
		if at == "endpoints" {
			check(t, n.beginAtGenesis(t.Context()))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("signal"))
		if err := n.Run(ctx); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// A payload that waits for peers that are not there must not keep the node from stopping,
// neither while its ancestors are looked for nor in the middle of a fault.
func TestStopsInMidFault(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 3, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	tests := []struct {
		name  string
		block *types.Block
		stage string
	}{
		{"parent unknown", blocks[2], ""},
		{"state missing", blocks[0], "prefetching"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			node := start(t, withGenesis(t, localConfig(t), genesis), func(n *Node) {
				n.began = 1 // as if the genesis state had been dropped from Hot
			})
			answered := make(chan error, 1)
			go func() { answered <- payload(t.Context(), node.rpc.EngineClient(), test.block) }()
			for deadline := time.Now().Add(3 * time.Second); ; {
				pending := node.importer.Status().Pending
				if len(pending) == 1 && (test.stage == "" || pending[0].Stage == test.stage) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("payload does not wait as it should: %+v", node.importer.Status())
				}
			}
			if test.stage != "" && len(node.host.Peers()) != 0 {
				t.Error("peers from nowhere")
			}
			node.stop(t)
			select {
			case err := <-answered:
				t.Logf("the call ended with: %v", err) // SYNCING, or its connection is gone
			case <-time.After(stopTime):
				t.Error("the call did not end")
			}
		})
	}
}

// payload sends a block as a consensus client does; all but SYNCING is an error.
func payload(ctx context.Context, client *gethrpc.Client, block *types.Block) error {
	data := engine.BlockToExecutableData(block, nil, nil, nil).ExecutionPayload
	var status engine.PayloadStatusV1
	err := client.CallContext(ctx, &status, "engine_newPayloadV4", data, []common.Hash{}, block.BeaconRoot(), []hexutil.Bytes{})
	if err == nil && status.Status != engine.SYNCING {
		return errors.New("answered " + status.Status)
	}
	return err
}

// The whole node on nothing but a beacon API: it must verify the beacon chain, execute
// the blocks and mark head and finalized.
func TestFollowsHeadByLightClient(t *testing.T) {
	api := newBeaconAPI(t)
	blocks := beaconBlocks{api, gloasGenesis()}
	first := blocks.extend(t, 1, false)
	cfg := withGenesis(t, localConfig(t), blocks.genesis)
	cfg.Beacon.API = []string{api.url}
	cfg.Beacon.Checkpoint = api.config.Checkpoint.Hex()
	cfg.Beacon.GenesisTime, cfg.Beacon.GenesisValidatorsRoot = api.config.GenesisTime, api.config.GenesisValidatorsRoot.Hex()
	cfg.Beacon.ChainConfig = filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(cfg.Beacon.ChainConfig, []byte("GENESIS_FORK_VERSION: 0x00000001\nELECTRA_FORK_VERSION: 0x05000001\nELECTRA_FORK_EPOCH: 0\n"+
		"GLOAS_FORK_VERSION: 0x07000001\nGLOAS_FORK_EPOCH: "+strconv.Itoa(gloasEpoch)+"\n"), 0o600))

	node := start(t, cfg)
	await := func(want *types.Block) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); node.chain.CurrentHeader().Hash() != want.Hash(); {
			if time.Now().After(deadline) {
				t.Fatalf("head is %d, want %d; status %+v", node.chain.CurrentHeader().Number, want.NumberU64(), node.importer.Status())
			}
			select {
			case err := <-node.done:
				t.Fatalf("node ended: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	await(first)
	finalized := func(want *types.Block) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // set after the head
			got := node.chain.Finalized()
			if got != nil && got.Hash() == want.Hash() {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("finalized %v, want block %d", got, want.NumberU64())
			}
		}
	}
	second := blocks.extend(t, 2, true)
	await(second)
	finalized(first)
	api.enterGloas()
	third := blocks.extend(t, 3, true)
	await(third)
	finalized(second)
	api.withhold(t, blocks.next(t, 4))
	await(blocks.extend(t, 4, false))
	await(blocks.extend(t, 5, true))
	finalized(third)
	node.stop(t)
}
