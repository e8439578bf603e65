// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

// SwarmOptions says which nodes fetch a state together.
type SwarmOptions struct {
	TestbedOptions
	Nodes   int           // that start together, all connected with each other
	Late    bool          // one more starts when these are half done
	Upload  int64         // bytes per second that the full peer sends, to all of them together
	Timeout time.Duration // for each of the two runs
	LogDir  string        // where the nodes' logs are kept; empty: nowhere
}

func (o *SwarmOptions) check() error {
	switch {
	case o.Nodes < 1 || o.Nodes > 32:
		return fmt.Errorf("%d nodes: 1 to 32 are possible", o.Nodes)
	case o.Upload < 10_000:
		return fmt.Errorf("an upload of %d bytes per second", o.Upload)
	case o.Timeout <= 0:
		return fmt.Errorf("timeout %v: a run needs time", o.Timeout)
	}
	return o.TestbedOptions.check(21_000)
}

// SwarmResult is the outcome. A state is what one node alone gets from the full peer, blocks included.
type SwarmResult struct {
	OK               bool    `json:"ok"`               // all became full, with a sound state, and no outcome was wrong
	Nodes            int     `json:"nodes"`            // the late one included
	ShareFromSwarm   float64 `json:"shareFromSwarm"`   // of their bytes, the least of all nodes but the one that took most from the full peer; of the late one, if there is one
	FullUploadStates float64 `json:"fullUploadStates"` // that the full peer sent to all together
	SecondsLast      float64 `json:"secondsLast"`      // from a node's start until it was full, the longest

	StateBytes   int64       `json:"stateBytes"`   // of one state
	SecondsAlone float64     `json:"secondsAlone"` // that one node needs alone
	FullBytes    int64       `json:"fullBytes"`    // that the full peer sent
	Each         []SwarmNode `json:"each"`
}

// SwarmNode is what became of one node.
type SwarmNode struct {
	Late      bool    `json:"late,omitempty"`
	Seconds   float64 `json:"seconds"`   // until it was full
	FromFull  int64   `json:"fromFull"`  // bytes
	FromSwarm int64   `json:"fromSwarm"` // bytes
	Share     float64 `json:"share"`     // of all bytes, what came from other Sunbeam nodes
	Valid     int     `json:"valid"`     // blocks
	Wrong     int     `json:"wrong"`     // blocks called INVALID
	Sound     bool    `json:"sound"`     // what is on disk is one complete state and nothing else
	Memory    uint64  `json:"memory"`    // bytes, most
}

// Swarm lets one node become full from one geth whose upload is limited, then several that start together, and prints who
// gave how much to whom; the last line is a SwarmResult.
func Swarm(ctx context.Context, opts SwarmOptions, out io.Writer) (result *SwarmResult, err error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	testbed, err := opts.newTestbed(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, testbed.Close()) }()
	s := &swarm{opts: opts, testbed: testbed}
	if err := errors.Join(testbed.RunScenario(ctx, s.run, s.chain), ctx.Err()); err != nil {
		return nil, err
	}
	if !opts.JSON {
		s.result.table(out, &opts)
	}
	return s.result, json.NewEncoder(out).Encode(s.result)
}

// swarm is one measurement: two runs on a chain that goes on all the time.
type swarm struct {
	opts    SwarmOptions
	testbed *demo.Testbed
	result  *SwarmResult

	mu        sync.Mutex
	followers []*mockcl.Follower // who is told of new blocks
}

// chain has blocks built until ctx ends.
func (s *swarm) chain(ctx context.Context) error {
	chain := mockcl.Chain{
		Builder: s.testbed.Builder,
		Slot:    s.opts.Slot,
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			return s.testbed.Traffic.Block(s.opts.Gas, backfillMix())
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

func (s *swarm) run(ctx context.Context) error {
	alone, err := s.lap(ctx, "alone", 1, false)
	if err != nil {
		return err
	}
	s.result = &SwarmResult{OK: alone[0].right(), Nodes: s.opts.Nodes, StateBytes: alone[0].FromFull, SecondsAlone: alone[0].Seconds}
	together := alone
	if s.opts.Late {
		s.result.Nodes++
	}
	if s.result.Nodes > 1 {
		if together, err = s.lap(ctx, "together", s.opts.Nodes, s.opts.Late); err != nil {
			return err
		}
	}
	s.result.sum(together)
	return nil
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
		if i == 0 || n.Share < r.ShareFromSwarm {
			r.ShareFromSwarm = n.Share
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
	fmt.Fprintf(out, "%4s %9s %14s %8s %17s %6s %7s %6s\n", "node", "full, s", "from full, MB", "states", "from swarm, MB", "share", "blocks", "state")
	for i, n := range r.Each {
		name, state := fmt.Sprint(i+1), "NOT sound"
		if n.Late {
			name = "late"
		}
		if n.Sound {
			state = "sound"
		}
		fmt.Fprintf(out, "%4s %9.1f %14.1f %8.2f %17.1f %6.2f %7d %6s\n", name, n.Seconds, float64(n.FromFull)/1e6, float64(n.FromFull)/float64(r.StateBytes),
			float64(n.FromSwarm)/1e6, n.Share, n.Valid, state)
	}
	fmt.Fprintf(out, "%d nodes: the full peer sent %.2f states, share from the swarm %.2f, last one full after %.1f s\n", r.Nodes, r.FullUploadStates, r.ShareFromSwarm, r.SecondsLast)
}
