// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer_test

import (
	"context"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

func genesis() *core.Genesis {
	return &core.Genesis{
		Config: params.MergedTestChainConfig, GasLimit: 60_000_000, Difficulty: new(big.Int),
		BaseFee: big.NewInt(params.InitialBaseFee), Alloc: core.SystemContractAllocs(),
	}
}

func config(t *testing.T) gethpeer.Config {
	t.Helper()
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return gethpeer.Config{Binary: binary, Dir: filepath.Join(t.TempDir(), "geth"), Genesis: genesis(), CacheMB: 64}
}

func commit(ctx context.Context, p *gethpeer.Process) error {
	return p.RPC().CallContext(ctx, new(common.Hash), "testing_commitBlockV1", engine.PayloadAttributes{
		Timestamp: 12, Withdrawals: []*types.Withdrawal{}, BeaconRoot: &common.Hash{},
	}, []hexutil.Bytes{}, hexutil.Bytes{})
}

func blockNumber(t *testing.T, client *gethrpc.Client) uint64 {
	t.Helper()
	var number hexutil.Uint64
	if err := client.CallContext(t.Context(), &number, "eth_blockNumber"); err != nil {
		t.Fatal(err)
	}
	return uint64(number)
}

func TestMakeOnceCopyAndStart(t *testing.T) {
	cfg := config(t)
	made := 0
	fill := func(ctx context.Context, p *gethpeer.Process) error {
		made++
		return commit(ctx, p)
	}
	for range 2 {
		if err := gethpeer.Make(t.Context(), cfg, fill); err != nil {
			t.Fatal(err)
		}
	}
	if made != 1 {
		t.Fatalf("the datadir was filled %d times", made)
	}

	// Two copies stand on the same block and are different peers.
	enodes := make(map[string]bool)
	for _, name := range []string{"one", "two"} {
		run := cfg
		run.Genesis = nil
		run.Dir = filepath.Join(t.TempDir(), name)
		if err := gethpeer.Copy(cfg.Dir, run.Dir); err != nil {
			t.Fatal(err)
		}
		p, err := gethpeer.Start(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		if n := blockNumber(t, p.RPC()); n != 1 {
			t.Errorf("the copy is at block %d", n)
		}
		public, err := gethrpc.DialContext(t.Context(), p.HTTP())
		if err != nil {
			t.Fatal(err)
		}
		modules, err := public.SupportedModules()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"eth", "net", "web3", "admin", "debug", "testing", "txpool"} {
			if modules[want] == "" {
				t.Errorf("HTTP serves %v, not %s", modules, want)
			}
		}
		public.Close()
		if at := p.EnodeAt("127.0.0.1:1234"); !strings.HasSuffix(at, "@127.0.0.1:1234?discport=0") || !strings.HasPrefix(p.Enode(), at[:137]) {
			t.Errorf("enode %s, behind a proxy %s", p.Enode(), at)
		}
		enodes[p.Enode()[:137]] = true
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(p.IPC()); err == nil {
			t.Error("the socket is left over")
		}
	}
	if len(enodes) != 2 {
		t.Error("both copies have the same node key")
	}
}

func TestStartSaysWhyItFailed(t *testing.T) {
	cfg := config(t)
	cfg.Args = []string{"--no-such-flag"}
	_, err := gethpeer.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Fatalf("a bad flag: %v", err)
	}
	cfg.Genesis.Config = nil
	_, err = gethpeer.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "geth init") {
		t.Fatalf("a bad genesis: %v", err)
	}
}

func TestStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := gethpeer.Start(ctx, config(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	if tail := p.LogTail(); !strings.Contains(tail, "Blockchain stopped") {
		t.Errorf("geth was not stopped in order:\n%s", tail)
	}
}
