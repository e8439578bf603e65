// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// NetworkConfig describes a network.
type NetworkConfig struct {
	State    stategen.Spec // of Paris: geth is a v1.10
	Link     simnet.Link   // between the node and geth
	CacheDir string        // where states are kept, to be made once
	Dir      string        // for this run; must exist
	Seed     uint64        // of the transactions
	Args     []string      // more flags of geth
	Geths    int           // that have the state; 0: one. The first one builds, the others follow
	Progress io.Writer     // is told what takes long
	Log      *slog.Logger

	// Stage is told what begins, and calls the function that it returns when that ends; may be nil.
	Stage func(what string) (done func())
}

// stage is Stage, if there is one.
func (cfg *NetworkConfig) stage(what string) (done func()) {
	if cfg.Stage == nil {
		return func() {}
	}
	return cfg.Stage(what)
}

// Network is a network of one real geth or several, each seen through a link with latency.
type Network struct {
	Spec       stategen.Spec
	Geth       *gethpeer.Process
	Proxy      *simnet.Proxy
	ExtraGeths []*ExtraGeth // in addition to Geth
	Builder    *mockcl.Builder
	Traffic    *stategen.Traffic
	Genesis    string // file for the node
	JWTFile    string // the node's Engine API is to use the same secret
	Secret     [32]byte

	engine *mockcl.Client
}

// ExtraGeth is a geth that is told of the blocks that the first one builds.
type ExtraGeth struct {
	Geth   *gethpeer.Process
	Proxy  *simnet.Proxy
	Engine *mockcl.Client
}

// NewNetwork makes the state unless it is there, and starts geth on a copy of it. The
// network ends by Close; its proxy works while Run runs.
func NewNetwork(ctx context.Context, cfg NetworkConfig) (*Network, error) {
	peer, err := peerConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(cfg.CacheDir, cfg.State.Name())
	if err := makeState(ctx, cfg, peer, kept); err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.Dir, "geth")
	if err := gethpeer.Copy(kept, dir); err != nil {
		return nil, err
	}
	n := &Network{
		Spec:    cfg.State,
		Traffic: stategen.ContinueTraffic(cfg.State, cfg.Seed),
		Genesis: filepath.Join(cfg.Dir, "genesis.json"),
		Secret:  [32]byte{0xbe, 0xa4},
	}
	genesis, err := json.MarshalIndent(cfg.State.Genesis(), "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.Genesis, genesis, 0o644); err != nil {
		return nil, err
	}
	peer.Dir, peer.JWTSecret = dir, n.Secret
	peer.Args = append(peer.Args, cfg.Args...)
	if n.Geth, err = gethpeer.Start(ctx, peer); err != nil {
		return nil, err
	}
	n.JWTFile = filepath.Join(dir, "jwt.hex")
	err = n.connect(ctx, cfg)
	for i := 1; err == nil && i < cfg.Geths; i++ {
		err = n.addGeth(ctx, cfg, peer, kept, fmt.Sprintf("%s-%d", dir, i+1))
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// addGeth starts one more geth on a copy of the state.
func (n *Network) addGeth(ctx context.Context, cfg NetworkConfig, peer gethpeer.Config, kept, dir string) (err error) {
	if err := gethpeer.Copy(kept, dir); err != nil {
		return err
	}
	other := new(ExtraGeth)
	peer.Dir = dir
	if other.Geth, err = gethpeer.Start(ctx, peer); err != nil {
		return err
	}
	n.ExtraGeths = append(n.ExtraGeths, other)
	if other.Proxy, err = simnet.Listen(ctx, other.Geth.RLPx(), cfg.Link, cfg.Log); err != nil {
		return err
	}
	other.Engine, err = mockcl.Dial(ctx, filepath.Base(dir), other.Geth.Auth(), n.Secret)
	return err
}

// peerConfig is that of a geth which has the state's forks.
func peerConfig(ctx context.Context, cfg NetworkConfig) (peer gethpeer.Config, err error) {
	defer cfg.stage("building geth")()
	if !cfg.State.Paris {
		peer.Binary, err = gethpeer.Binary(ctx)
		return peer, err
	}
	peer = gethpeer.Config{Old: true, NetworkID: stategen.ChainID().Uint64(), GasLimit: cfg.State.Genesis().GasLimit, Args: []string{"--rpc.txfeecap", "0"}}
	peer.Binary, err = gethpeer.OldBinary(ctx)
	return peer, err
}

func makeState(ctx context.Context, cfg NetworkConfig, peer gethpeer.Config, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	defer cfg.stage("making the state")()
	start, blocks := time.Now(), "?"
	if !cfg.State.Paris {
		blocks = strconv.Itoa(cfg.State.Blocks())
	}
	fmt.Fprintf(cfg.Progress, "Making the state %s; it is kept for the next time in %s\n", cfg.State.Name(), dir)
	report := func(number uint64) {
		if number%10 == 0 {
			fmt.Fprintf(cfg.Progress, "  block %d of %s after %.0f s\n", number, blocks, time.Since(start).Seconds())
		}
	}
	peer.Dir, peer.Genesis, peer.CacheMB = dir, cfg.State.Genesis(), 1024
	peer.Args = append([]string{"--cache.gc", "2"}, peer.Args...) // of changes kept in memory
	err := gethpeer.Make(ctx, peer, func(ctx context.Context, geth *gethpeer.Process) error {
		if cfg.State.Paris {
			return fillParis(ctx, cfg.State, geth, report)
		}
		return cfg.State.Fill(ctx, geth.RPC(), func(number, _ uint64) { report(number) })
	})
	if err == nil {
		fmt.Fprintf(cfg.Progress, "  done in %.0f s\n", time.Since(start).Seconds())
	}
	return err
}

// fillParis makes a state by way of the pool and the Engine API.
func fillParis(ctx context.Context, spec stategen.Spec, geth *gethpeer.Process, report func(number uint64)) error {
	engine, err := mockcl.Dial(ctx, "geth", geth.Auth(), geth.JWTSecret())
	if err != nil {
		return err
	}
	defer engine.Close()
	builder, err := mockcl.NewBuilder(ctx, engine, geth.RPC(), spec.Config())
	if err != nil {
		return err
	}
	return spec.FillBy(ctx, func(ctx context.Context, time uint64, txs []*types.Transaction) error {
		p, err := builder.Build(ctx, time, txs)
		if err == nil {
			report(p.Data.Number)
		}
		return err
	})
}

func (n *Network) connect(ctx context.Context, cfg NetworkConfig) (err error) {
	if n.Proxy, err = simnet.Listen(ctx, n.Geth.RLPx(), cfg.Link, cfg.Log); err != nil {
		return err
	}
	if n.engine, err = mockcl.Dial(ctx, "geth", n.Geth.Auth(), n.Secret); err != nil {
		return err
	}
	n.Builder, err = mockcl.NewBuilder(ctx, n.engine, n.Geth.RPC(), n.Spec.Config())
	return err
}

// Enode is where the node finds geth: at the far end of the link.
func (n *Network) Enode() string { return n.Geth.EnodeAt(n.Proxy.Addr()) }

// Enodes are where the node finds all geths.
func (n *Network) Enodes() []string {
	enodes := []string{n.Enode()}
	for _, other := range n.ExtraGeths {
		enodes = append(enodes, other.Geth.EnodeAt(other.Proxy.Addr()))
	}
	return enodes
}

// Sent is how many bytes the geths have sent over their links.
func (n *Network) Sent() (bytes int64) {
	_, bytes = n.Proxy.Traffic()
	for _, other := range n.ExtraGeths {
		_, sent := other.Proxy.Traffic()
		bytes += sent
	}
	return bytes
}

// Run keeps the link up until ctx ends. It returns early if geth ends by itself.
func (n *Network) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.Proxy.Run(ctx) })
	group.Go(func() error { return ended(ctx, "geth", n.Geth.Exited(), n.Geth.Wait) })
	for _, other := range n.ExtraGeths {
		group.Go(func() error { return other.Proxy.Run(ctx) })
		group.Go(func() error { return ended(ctx, other.Engine.Name(), other.Geth.Exited(), other.Geth.Wait) })
	}
	return group.Wait()
}

// ended waits for a process that should not end before ctx does.
func ended(ctx context.Context, name string, exited <-chan struct{}, wait func() error) error {
	select {
	case <-ctx.Done():
		return nil
	case <-exited:
	}
	err := wait()
	if err == nil && ctx.Err() == nil {
		err = fmt.Errorf("%s ended by itself", name)
	}
	return err
}

// Close ends the geths, whose datadirs were for this run only.
func (n *Network) Close() error {
	if n.engine != nil {
		n.engine.Close()
	}
	errs := []error{n.Geth.Kill()}
	for _, other := range n.ExtraGeths {
		if other.Engine != nil {
			other.Engine.Close()
		}
		errs = append(errs, other.Geth.Kill())
	}
	return errors.Join(errs...)
}
