package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// Config of the demo. Default fills it.
type Config struct {
	State     stategen.Spec
	Delay     time.Duration // each way
	Slot      time.Duration
	Gas       uint64 // that each block uses, about
	Mix       stategen.Mix
	Blocks    int    // to see VALID; 0: go on until interrupted
	Questions int    // to compare after each block
	CacheDir  string // for states
	Out       io.Writer
}

// Default is what `make demo` shows.
func Default(cacheDir string, out io.Writer) Config {
	return Config{
		State: stategen.Demo(), Delay: 50 * time.Millisecond, Slot: 2 * time.Second, Gas: 8_000_000,
		Mix: stategen.Mixed(), Questions: 9, CacheDir: cacheDir, Out: out,
	}
}

// patience is how long blocks may stay open beyond their slots before a demo with a
// wanted number of blocks gives up.
const patience = time.Minute

// Run shows the demo. It returns nil if ctx ended it, or if all wanted blocks were VALID;
// and only if every answer was geth's.
func Run(ctx context.Context, cfg Config) (err error) {
	fmt.Fprintln(cfg.Out, "Building geth (the version in go.mod; takes minutes the first time) and sunbeam ...")
	stage, err := NewStage(ctx, WorldConfig{
		State: cfg.State, Link: simnet.Link{Delay: cfg.Delay}, CacheDir: cfg.CacheDir,
		Seed: 1, Progress: cfg.Out, Log: slog.New(slog.DiscardHandler),
	}, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	s := &show{cfg: cfg, stage: stage, random: rand.New(rand.NewPCG(2, 0)), heads: make(chan uint64, 1)}
	return stage.Play(ctx, s.run)
}

// show is what was seen so far.
type show struct {
	cfg    Config
	stage  *Stage
	node   *Node
	random *rand.Rand
	heads  chan uint64 // VALID blocks to compare answers at; the newest is enough

	// Of tell, while the chain runs.
	valid      int
	bad        int           // blocks that were judged otherwise, or never
	firstValid time.Duration // from the node's start
	status     Status
	memory     uint64

	// Of compare, while the chain runs.
	asked     int
	different int

	printing sync.Mutex
}

// run lets a fresh node into the world.
func (s *show) run(ctx context.Context) (err error) {
	if s.node, err = StartNode(ctx, s.stage.Node("sunbeam-data")); err != nil {
		return err
	}
	s.introduce()
	err = during(ctx, s.compare, s.drive, func(ctx context.Context) error {
		return ended(ctx, "sunbeam", s.node.Exited(), s.node.Wait)
	})
	return errors.Join(err, s.node.Close(), s.sum(ctx.Err() != nil))
}

// say prints a line.
func (s *show) say(line ...any) {
	s.printing.Lock()
	defer s.printing.Unlock()
	fmt.Fprintln(s.cfg.Out, line...)
}

func (s *show) introduce() {
	spec := s.cfg.State
	fmt.Fprintf(s.cfg.Out, `
geth has %d accounts and %d contracts with %d slots; one-way delay to it is %v.
sunbeam is fresh: it knows the genesis and geth's enode, nothing else. Look around:

  curl -s %s -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["%s","latest"]}'
  curl -s %s -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"beam_status","params":[]}'
  geth attach %s
  tail -f %s

`, spec.Accounts, spec.Contracts, spec.Slots, s.cfg.Delay,
		s.node.HTTP, stategen.Account(uint64(s.random.IntN(spec.Accounts))), s.node.HTTP, s.node.IPC, s.node.Log())
}

// drive is the consensus client. When it ends there are no more heads.
func (s *show) drive(ctx context.Context) error {
	defer close(s.heads)
	if s.cfg.Blocks > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.cfg.Blocks)*s.cfg.Slot+patience)
		defer cancel()
	}
	report := func(r mockcl.Record) { s.tell(ctx, r) }
	chain := mockcl.Chain{
		Builder:   s.stage.Builder,
		Followers: []*mockcl.Follower{mockcl.NewFollower(s.node.Engine, s.cfg.Slot, report, slog.New(slog.DiscardHandler))},
		Slot:      s.cfg.Slot,
		Blocks:    s.cfg.Blocks,
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			return s.stage.Traffic.Block(s.cfg.Gas, s.cfg.Mix)
		},
	}
	return chain.Run(ctx)
}

// tell says what became of a block.
func (s *show) tell(ctx context.Context, r mockcl.Record) {
	before := s.status.Full()
	s.count(ctx, r)
	s.say(s.line(r))
	if s.status.Full() && !before {
		s.say(fmt.Sprintf("\nsunbeam has the whole state, %.0f s after its start, and is a full node: from now on it executes on its own disk\n", time.Since(s.node.Started).Seconds()))
	}
	if r.Status == engine.VALID {
		select {
		case s.heads <- r.Number:
		default: // still busy with an older one
		}
	}
}

func (s *show) count(ctx context.Context, r mockcl.Record) {
	if r.Status == engine.VALID {
		s.valid++
		if s.valid == 1 {
			s.firstValid = time.Since(s.node.Started)
		}
	} else {
		s.bad++
	}
	if status, err := s.node.Status(ctx); err == nil {
		s.status = status
	}
	s.memory = max(s.memory, s.node.Memory())
}

func (s *show) line(r mockcl.Record) string {
	line := fmt.Sprintf("block %d  %-7s  %6.0f ms  %4d txs %5.1f Mgas", r.Number, r.Status, float64(r.Latency.Milliseconds()), r.Txs, float64(r.GasUsed)/1e6)
	if last := s.status.Last; last.Number == r.Number {
		f := last.Fetched
		line += fmt.Sprintf("  faults %4d  trips %3d  nodes %5d  codes %2d  %7.1f kB  waited %5d ms", f.Faults, f.Trips, f.Nodes, f.Codes, float64(f.Bytes)/1e3, f.Wait.Milliseconds())
	}
	if b := s.status.Backfill; b != nil {
		line += fmt.Sprintf("  state %5.1f %%", 100*b.Share)
	}
	if r.Syncing > 0 {
		line += fmt.Sprintf("  (SYNCING %d times first)", r.Syncing)
	}
	if r.Implied {
		line += "  (by a descendant)"
	}
	if r.Err != "" {
		line += "  " + r.Err
	}
	return line
}

// compare asks both nodes about VALID blocks until there are no more.
func (s *show) compare(ctx context.Context) error {
	for block := range s.heads {
		for _, q := range Questions(s.cfg.State, s.random, block, s.cfg.Questions) {
			err := Compare(ctx, q, s.node.RPC, s.stage.Geth.RPC())
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the end, not a difference
			}
			s.asked++
			if err != nil {
				s.different++
				s.say("  DIFFERENT:", err)
			}
		}
	}
	return nil
}

// sum says how it went, in the last line.
func (s *show) sum(interrupted bool) error {
	to, from := s.stage.Proxy.Traffic()
	fmt.Fprintf(s.cfg.Out, "\n%d answers compared, %d different; %d kB to geth, %d kB from it; at most %d MB of memory\n",
		s.asked, s.different, to/1000, from/1000, s.memory/1_000_000)
	total := s.status.Totals.Fetched
	fmt.Fprintf(s.cfg.Out, "demo: %d blocks VALID, first VALID after %.1f s, %d trips, %d nodes, %d bytes\n",
		s.valid, s.firstValid.Seconds(), total.Trips, total.Nodes, total.Bytes)
	switch {
	case s.different > 0:
		return fmt.Errorf("%d of %d answers differ from geth's", s.different, s.asked)
	case s.bad > 0 && !interrupted:
		return fmt.Errorf("%d blocks were not VALID", s.bad)
	case s.valid < s.cfg.Blocks:
		return fmt.Errorf("%d of %d blocks were VALID", s.valid, s.cfg.Blocks)
	}
	return nil
}
