package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// SwarmOptions says which nodes are to collect a state together.
type SwarmOptions struct {
	State    stategen.Spec
	Nodes    int           // that start together, all connected with each other
	Late     bool          // one more starts when these are half done
	Upload   int64         // bytes per second that the full peer sends, to all of them together
	RTT      time.Duration // of all links
	Slot     time.Duration // from block to block
	Gas      uint64        // that each block uses, about
	Patience time.Duration // for each of the two runs
	CacheDir string        // for generated states
	Sunbeam  string        // binary; empty: built from the module around the working directory
	LogDir   string        // where the nodes' logs are kept; empty: nowhere
	JSON     bool          // nothing but the result
	Progress io.Writer     // is told what takes long
}

func (o *SwarmOptions) check() error {
	switch {
	case o.Nodes < 1 || o.Nodes > 32:
		return fmt.Errorf("%d nodes: 1 to 32 are possible", o.Nodes)
	case o.Upload < 10_000:
		return fmt.Errorf("an upload of %d bytes per second", o.Upload)
	case o.RTT < 0 || o.Slot <= 0 || o.Patience <= 0:
		return fmt.Errorf("round trip %v, slot %v, patience %v: negative, or nothing", o.RTT, o.Slot, o.Patience)
	case o.Gas < 21_000 || o.Gas > 500_000_000:
		return fmt.Errorf("%d gas in a block: 21 thousand to 500 million are possible", o.Gas)
	case o.State.Accounts < 1 || o.State.Senders < 1 || o.State.Contracts < 1:
		return errors.New("a state without accounts, senders or contracts")
	}
	return o.State.Check()
}

// SwarmResult is the outcome. A state is what one node alone gets from the full peer, blocks included.
type SwarmResult struct {
	OK               bool    `json:"ok"`               // all became full, with a sound state, and no outcome was wrong
	Nodes            int     `json:"nodes"`            // the late one included
	ShareFromFellow  float64 `json:"shareFromFellow"`  // of their bytes, the least of all nodes but the one that took most from the full peer; of the late one, if there is one
	FullUploadStates float64 `json:"fullUploadStates"` // that the full peer sent to all together
	SecondsLast      float64 `json:"secondsLast"`      // from a node's start until it was full, the longest

	StateBytes   int64       `json:"stateBytes"`   // of one state
	SecondsAlone float64     `json:"secondsAlone"` // that one node needs alone
	FullBytes    int64       `json:"fullBytes"`    // that the full peer sent
	Each         []SwarmNode `json:"each"`
}

// SwarmNode is what became of one node.
type SwarmNode struct {
	Late        bool    `json:"late,omitempty"`
	Seconds     float64 `json:"seconds"`     // until it was full
	FromFull    int64   `json:"fromFull"`    // bytes
	FromFellows int64   `json:"fromFellows"` // bytes
	Share       float64 `json:"share"`       // of all that came from fellows
	Valid       int     `json:"valid"`       // blocks
	Wrong       int     `json:"wrong"`       // blocks called INVALID
	Sound       bool    `json:"sound"`       // what is on disk is one complete state and nothing beside it
	Memory      uint64  `json:"memory"`      // bytes, most
}

// Swarm lets one node become full from one geth whose upload is limited, then several that start together, and prints who
// gave how much to whom; the last line is a SwarmResult.
func Swarm(ctx context.Context, opts SwarmOptions, out io.Writer) (result *SwarmResult, err error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "beambench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var building errgroup.Group
	if opts.Sunbeam == "" {
		opts.Sunbeam = filepath.Join(dir, "sunbeam")
		building.Go(func() error { return demo.Build(ctx, opts.Sunbeam) })
	}
	world, err := demo.NewWorld(ctx, demo.WorldConfig{
		State: opts.State, Link: simnet.Link{Delay: opts.RTT / 2}, CacheDir: opts.CacheDir, Dir: dir,
		Seed: 1, Progress: opts.Progress, Log: slog.New(slog.DiscardHandler),
	})
	if world != nil {
		defer func() { err = errors.Join(err, world.Close()) }()
	}
	if err := errors.Join(err, building.Wait()); err != nil {
		return nil, err
	}
	s := &swarm{opts: opts, world: world, dir: dir}
	group, groupCtx := errgroup.WithContext(ctx)
	worldCtx, endWorld := context.WithCancel(groupCtx)
	defer endWorld()
	group.Go(func() error { return world.Run(worldCtx) })
	group.Go(func() error { return s.chain(worldCtx) })
	group.Go(func() error {
		defer endWorld()
		result, err = s.run(groupCtx)
		return err
	})
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	if !opts.JSON {
		result.table(out, &opts)
	}
	return result, json.NewEncoder(out).Encode(result)
}

// swarm is one measurement: two runs on a chain that goes on all the time.
type swarm struct {
	opts  SwarmOptions
	world *demo.World
	dir   string

	mu        sync.Mutex
	followers []*mockcl.Follower // who is told of new blocks
}

// chain has blocks built until ctx ends.
func (s *swarm) chain(ctx context.Context) error {
	chain := mockcl.Chain{
		Builder: s.world.Builder,
		Slot:    s.opts.Slot,
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			return s.world.Traffic.Block(s.opts.Gas, backfillMix())
		},
		Built: func(p *mockcl.Payload) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, follower := range s.followers {
				follower.Publish(p)
			}
		},
	}
	return chain.Run(ctx)
}

func (s *swarm) run(ctx context.Context) (*SwarmResult, error) {
	alone, err := s.lap(ctx, "alone", 1, false)
	if err != nil {
		return nil, err
	}
	result := &SwarmResult{OK: alone[0].right(), Nodes: s.opts.Nodes, StateBytes: alone[0].FromFull, SecondsAlone: alone[0].Seconds}
	together := alone
	if s.opts.Late {
		result.Nodes++
	}
	if result.Nodes > 1 {
		if together, err = s.lap(ctx, "together", s.opts.Nodes, s.opts.Late); err != nil {
			return nil, err
		}
	}
	result.sum(together)
	return result, nil
}

// sum adds up what became of the nodes.
func (r *SwarmResult) sum(nodes []SwarmNode) {
	r.Each = nodes
	first := 0
	for i, n := range nodes {
		r.OK = r.OK && n.right()
		r.SecondsLast = max(r.SecondsLast, n.Seconds)
		r.FullBytes += n.FromFull
		if n.FromFull > nodes[first].FromFull {
			first = i
		}
	}
	others := slices.Delete(slices.Clone(nodes), first, first+1)
	if i := slices.IndexFunc(nodes, func(n SwarmNode) bool { return n.Late }); i >= 0 {
		others = nodes[i : i+1]
	}
	for i, n := range others {
		if i == 0 || n.Share < r.ShareFromFellow {
			r.ShareFromFellow = n.Share
		}
	}
	r.FullUploadStates = float64(r.FullBytes) / float64(r.StateBytes)
}

func (n *SwarmNode) right() bool { return n.Sound && n.Wrong == 0 && n.Valid > 0 && n.Seconds > 0 }

// table prints the result for people.
func (r *SwarmResult) table(out io.Writer, opts *SwarmOptions) {
	fmt.Fprintf(out, "%d accounts, %d slots; the full peer sends %.1f MB/s, round trips of %v, a block of %.1f Mgas every %v\n",
		opts.State.Accounts, opts.State.Slots, float64(opts.Upload)/1e6, opts.RTT, float64(opts.Gas)/1e6, opts.Slot)
	fmt.Fprintf(out, "one node alone: %.1f MB in %.1f s\n", float64(r.StateBytes)/1e6, r.SecondsAlone)
	fmt.Fprintf(out, "%4s %9s %14s %8s %17s %6s %7s %6s\n", "node", "full, s", "from full, MB", "states", "from fellows, MB", "share", "blocks", "state")
	for i, n := range r.Each {
		name, state := fmt.Sprint(i+1), "NOT sound"
		if n.Late {
			name = "late"
		}
		if n.Sound {
			state = "sound"
		}
		fmt.Fprintf(out, "%4s %9.1f %14.1f %8.2f %17.1f %6.2f %7d %6s\n", name, n.Seconds, float64(n.FromFull)/1e6, float64(n.FromFull)/float64(r.StateBytes),
			float64(n.FromFellows)/1e6, n.Share, n.Valid, state)
	}
	fmt.Fprintf(out, "%d nodes: the full peer sent %.2f states, share from fellows %.2f, last one full after %.1f s\n", r.Nodes, r.FullUploadStates, r.ShareFromFellow, r.SecondsLast)
}

func (s *swarm) say(format string, args ...any) {
	if s.opts.Progress != nil {
		fmt.Fprintf(s.opts.Progress, format+"\n", args...)
	}
}
