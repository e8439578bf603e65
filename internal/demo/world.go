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
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// WorldConfig says what the world is like.
type WorldConfig struct {
	State    stategen.Spec // of Paris: the world's geth is a v1.10
	Link     simnet.Link   // between the node and geth
	CacheDir string        // where states are kept, to be made once
	Dir      string        // for this run; must exist
	Seed     uint64        // of the transactions
	Args     []string      // more flags of geth
	Geths    int           // that have the state; 0: one. The first one builds, the others follow
	Progress io.Writer     // is told what takes long
	Log      *slog.Logger
}

// World is a network of one real geth or several, each seen through a link with latency.
type World struct {
	Spec    stategen.Spec
	Geth    *gethpeer.Process
	Proxy   *simnet.Proxy
	Others  []*Other // beside Geth
	Builder *mockcl.Builder
	Traffic *stategen.Traffic
	Genesis string // file for the node
	JWTFile string // the node's Engine API is to use the same secret
	Secret  [32]byte

	engine *mockcl.Client
}

// Other is a geth that is told of the blocks that the first one builds.
type Other struct {
	Geth   *gethpeer.Process
	Proxy  *simnet.Proxy
	Engine *mockcl.Client
}

// NewWorld makes the state unless it is there, and starts geth on a copy of it. The
// world ends by Close; its proxy works while Run runs.
func NewWorld(ctx context.Context, cfg WorldConfig) (*World, error) {
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
	w := &World{
		Spec:    cfg.State,
		Traffic: stategen.NewTraffic(cfg.State, cfg.Seed),
		Genesis: filepath.Join(cfg.Dir, "genesis.json"),
		Secret:  [32]byte{0xbe, 0xa4},
	}
	genesis, err := json.MarshalIndent(cfg.State.Genesis(), "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.Genesis, genesis, 0o644); err != nil {
		return nil, err
	}
	peer.Dir, peer.JWTSecret = dir, w.Secret
	peer.Args = append(peer.Args, cfg.Args...)
	if w.Geth, err = gethpeer.Start(ctx, peer); err != nil {
		return nil, err
	}
	w.JWTFile = filepath.Join(dir, "jwt.hex")
	err = w.connect(ctx, cfg)
	for i := 1; err == nil && i < cfg.Geths; i++ {
		err = w.add(ctx, cfg, peer, kept, fmt.Sprintf("%s-%d", dir, i+1))
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// add starts one more geth on a copy of the state.
func (w *World) add(ctx context.Context, cfg WorldConfig, peer gethpeer.Config, kept, dir string) (err error) {
	if err := gethpeer.Copy(kept, dir); err != nil {
		return err
	}
	other := new(Other)
	peer.Dir = dir
	if other.Geth, err = gethpeer.Start(ctx, peer); err != nil {
		return err
	}
	w.Others = append(w.Others, other)
	if other.Proxy, err = simnet.Listen(ctx, other.Geth.RLPx(), cfg.Link, cfg.Log); err != nil {
		return err
	}
	other.Engine, err = mockcl.Dial(ctx, filepath.Base(dir), other.Geth.Auth(), w.Secret)
	return err
}

// peerConfig is that of a geth which has the state's forks.
func peerConfig(ctx context.Context, cfg WorldConfig) (peer gethpeer.Config, err error) {
	if !cfg.State.Paris {
		peer.Binary, err = gethpeer.Binary(ctx)
		return peer, err
	}
	peer = gethpeer.Config{Old: true, NetworkID: stategen.ChainID().Uint64(), GasLimit: cfg.State.Genesis().GasLimit, Args: []string{"--rpc.txfeecap", "0"}}
	peer.Binary, err = gethpeer.OldBinary(ctx)
	return peer, err
}

func makeState(ctx context.Context, cfg WorldConfig, peer gethpeer.Config, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	start := time.Now()
	fmt.Fprintf(cfg.Progress, "Making the state %s; it is kept for the next time in %s\n", cfg.State.Name(), dir)
	report := func(number uint64) {
		if number%10 == 0 {
			fmt.Fprintf(cfg.Progress, "  block %d after %.0f s\n", number, time.Since(start).Seconds())
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

func (w *World) connect(ctx context.Context, cfg WorldConfig) (err error) {
	if w.Proxy, err = simnet.Listen(ctx, w.Geth.RLPx(), cfg.Link, cfg.Log); err != nil {
		return err
	}
	if w.engine, err = mockcl.Dial(ctx, "geth", w.Geth.Auth(), w.Secret); err != nil {
		return err
	}
	w.Builder, err = mockcl.NewBuilder(ctx, w.engine, w.Geth.RPC(), w.Spec.Config())
	return err
}

// Enode is where the node finds geth: at the far end of the link.
func (w *World) Enode() string { return w.Geth.EnodeAt(w.Proxy.Addr()) }

// Enodes are where the node finds all geths.
func (w *World) Enodes() []string {
	enodes := []string{w.Enode()}
	for _, other := range w.Others {
		enodes = append(enodes, other.Geth.EnodeAt(other.Proxy.Addr()))
	}
	return enodes
}

// Sent is how many bytes the geths have sent over their links.
func (w *World) Sent() (bytes int64) {
	_, bytes = w.Proxy.Traffic()
	for _, other := range w.Others {
		_, sent := other.Proxy.Traffic()
		bytes += sent
	}
	return bytes
}

// Run keeps the link up until ctx ends. It returns early if geth ends by itself.
func (w *World) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.Proxy.Run(ctx) })
	group.Go(func() error { return ended(ctx, "geth", w.Geth.Exited(), w.Geth.Wait) })
	for _, other := range w.Others {
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
func (w *World) Close() error {
	if w.engine != nil {
		w.engine.Close()
	}
	errs := []error{w.Geth.Kill()}
	for _, other := range w.Others {
		if other.Engine != nil {
			other.Engine.Close()
		}
		errs = append(errs, other.Geth.Kill())
	}
	return errors.Join(errs...)
}
