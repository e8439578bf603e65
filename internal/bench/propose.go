// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// Phases of the node in which blocks are proposed.
const (
	ProposeBeaming  = "beaming"  // the rest of the state is not collected
	ProposeBackfill = "backfill" // it is being collected
	ProposeFull     = "full"
)

const (
	// warmUpSlots is how many proposals of a beaming node do not count for its fees.
	warmUpSlots = 4
	// phaseTimeout is how long the node may take to become full.
	phaseTimeout = 20 * time.Minute
)

// ProposeOptions says how a validator proposes through a fresh node.
type ProposeOptions struct {
	TestbedOptions
	Blocks int           // proposals in each phase
	Mix    stategen.Mix  // what the transactions do
	Start  time.Duration // from the node's start to the first proposal
	Phases []string      // of Propose*; during the backfill there may be fewer blocks
}

func (o *ProposeOptions) check() error {
	switch {
	case o.Blocks < 1:
		return fmt.Errorf("%d blocks", o.Blocks)
	case o.State.Senders < 20:
		return fmt.Errorf("%d senders: a mixed pool needs 20", o.State.Senders)
	case o.Start < 0:
		return fmt.Errorf("start %v: negative", o.Start)
	}
	return o.TestbedOptions.check(100_000)
}

// ProposeSum is what came of one phase. Times are in seconds.
type ProposeSum struct {
	Phase    string       `json:"phase"`
	Blocks   int          `json:"blocks"`
	Accepted int          `json:"accepted"` // VALID by geth
	Missed   int          `json:"missed"`
	Empty    int          `json:"empty"` // accepted, without transactions although geth's had some
	Txs      int          `json:"txs"`
	Blobs    int          `json:"blobs"`
	Deliver  FollowSpread `json:"getPayloadSeconds"`
	Start    FollowSpread `json:"forkchoiceSeconds"` // of forkchoiceUpdated with attributes
	Import   FollowSpread `json:"newPayloadSeconds"` // of the proposed block
	Fees     float64      `json:"fees"`              // share of those of geth's own blocks; beaming: from the fifth slot on
	FeesAll  float64      `json:"feesAll"`
	Problems []string     `json:"problems,omitempty"`
}

// Propose lets a validator propose every slot through fresh nodes, with a stock geth that judges each payload
// and builds its own of the same pool, and prints a [ProposeSum] for each phase. It fails unless every proposal was
// accepted.
func Propose(ctx context.Context, opts ProposeOptions, out io.Writer) (sums []*ProposeSum, err error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	testbed, err := opts.newTestbed(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, testbed.Close()) }()
	p := &proposing{opts: opts, testbed: testbed, out: out, random: rand.New(rand.NewPCG(1, 1))}
	if err := errors.Join(testbed.RunScenario(ctx, p.run), ctx.Err()); err != nil {
		return nil, err
	}
	for _, sum := range p.sums {
		if opts.JSON {
			err = errors.Join(err, json.NewEncoder(out).Encode(sum))
		} else {
			sum.print(out)
		}
		if sum.Missed > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d of %d proposals were missed", sum.Phase, sum.Missed, sum.Blocks))
		}
	}
	return p.sums, err
}

// proposing is one run.
type proposing struct {
	opts    ProposeOptions
	testbed *demo.Testbed
	out     io.Writer
	random  *rand.Rand
	sums    []*ProposeSum
}

func (p *proposing) wants(phase string) bool {
	for _, wanted := range p.opts.Phases {
		if wanted == phase {
			return true
		}
	}
	return false
}

// run proposes through a node that only beams, then through one that becomes full.
func (p *proposing) run(ctx context.Context) error {
	if p.wants(ProposeBeaming) {
		if err := p.through(ctx, "beaming", false, func(node *slots) error {
			return node.propose(ctx, ProposeBeaming, p.opts.Blocks, nil)
		}); err != nil {
			return err
		}
	}
	if !p.wants(ProposeBackfill) && !p.wants(ProposeFull) {
		return nil
	}
	return p.through(ctx, "full", true, func(node *slots) error {
		ctx, cancel := context.WithTimeout(ctx, phaseTimeout+time.Duration(2*p.opts.Blocks)*p.opts.Slot)
		defer cancel()
		// The switch to full mode is part of this phase: it ends with the first proposal after it.
		if err := node.propose(ctx, ProposeBackfill, 1<<30, node.isFull); err != nil {
			return err
		}
		if !p.wants(ProposeFull) {
			return nil
		}
		return node.propose(ctx, ProposeFull, p.opts.Blocks, nil)
	})
}

// through starts a node on an empty disk, makes the head its own and has it used.
func (p *proposing) through(ctx context.Context, name string, backfill bool, use func(*slots) error) (err error) {
	config := p.testbed.Node(name, fmt.Sprintf("--beam.backfill=%t", backfill), "--miner.gaslimit", "60000000")
	node, err := demo.StartNode(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	s := &slots{
		proposing: p, node: node,
		proposer: &mockcl.Proposer{Node: node.Engine, Judge: p.testbed.Builder, Attributes: p.attributes},
		traffic:  p.testbed.Traffic,
	}
	head, err := p.testbed.Builder.Build(ctx, uint64(time.Now().Unix()), nil)
	if err != nil {
		return err
	}
	if err := s.bring(ctx, head); err != nil {
		return err
	}
	if err := sleepUntil(ctx, node.Started.Add(p.opts.Start)); err != nil {
		return err
	}
	return use(s)
}

// attributes adds withdrawals to accounts that exist and to one that may not.
func (p *proposing) attributes(a *engine.PayloadAttributes) {
	for i := range uint64(p.random.IntN(17)) {
		a.Withdrawals = append(a.Withdrawals, &types.Withdrawal{
			Index: i, Validator: i, Amount: 1 + p.random.Uint64N(1000), Address: stategen.Account(p.random.Uint64N(uint64(p.opts.State.Accounts) + 10)),
		})
	}
}

// slots are proposals through one node.
type slots struct {
	*proposing
	node     *demo.Node
	proposer *mockcl.Proposer
	traffic  *stategen.Traffic
}

func (s *slots) isFull(ctx context.Context) bool {
	status, err := s.node.Status(ctx)
	return err == nil && status.Full()
}

// bring hands a block to the node until it is VALID.
func (s *slots) bring(ctx context.Context, payload *mockcl.Payload) error {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	for {
		status, err := s.proposer.Import(ctx, payload)
		if status == engine.VALID {
			_, err := s.node.Engine.Forkchoice(ctx, payload)
			return err
		}
		if status == engine.INVALID || ctx.Err() != nil {
			return fmt.Errorf("block %d is %s at the node: %w", payload.Data.Number, status, err)
		}
		if err := sleepUntil(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return err
		}
	}
}

// propose proposes so many blocks, or until there is one more after done says so.
func (s *slots) propose(ctx context.Context, phase string, blocks int, done func(context.Context) bool) error {
	sum := &tally{ProposeSum: ProposeSum{Phase: phase}}
	next := time.Now()
	for last := false; sum.Blocks < blocks && !last; {
		last = done != nil && done(ctx)
		if err := s.opts.send(ctx, s.traffic.Pool(s.opts.Gas, s.opts.Mix), s.testbed.Geth.RPC(), s.node.RPC); err != nil {
			return err
		}
		if err := sleepUntil(ctx, next); err != nil {
			return err
		}
		proposal, err := s.proposer.Propose(ctx, uint64(time.Now().Unix()), func(ctx context.Context) error {
			return sleepUntil(ctx, next.Add(s.opts.Slot/2))
		})
		if err != nil {
			return err
		}
		began := time.Now()
		if err := s.bring(ctx, proposal.Payload); err != nil {
			return err
		}
		sum.add(proposal, time.Since(began))
		s.opts.report("%s %d: accepted %t, %d txs, %d blobs, value %s of %s, getPayload %v %s", phase, proposal.Payload.Data.Number, proposal.Accepted,
			proposal.Txs, proposal.Blobs, proposal.Value, proposal.Rival, proposal.Delivery.Round(time.Millisecond), proposal.Problem)
		if next = next.Add(s.opts.Slot); next.Before(time.Now()) {
			next = time.Now()
		}
	}
	s.sums = append(s.sums, sum.done())
	return nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tally adds up proposals.
type tally struct {
	ProposeSum
	deliver, start, imported []float64
	ours, theirs             big.Int // wei, from the fifth slot on
	first, firstTheirs       big.Int // before
}

func (t *tally) add(p *mockcl.Proposal, imported time.Duration) {
	t.Blocks++
	t.start = append(t.start, p.Started.Seconds())
	t.imported = append(t.imported, imported.Seconds())
	if !p.Accepted {
		t.Missed++
		t.Problems = append(t.Problems, p.Problem)
	} else {
		t.Accepted++
		t.Txs, t.Blobs = t.Txs+p.Txs, t.Blobs+p.Blobs
		t.deliver = append(t.deliver, p.Delivery.Seconds())
		if p.Txs == 0 && p.Rival.Sign() > 0 {
			t.Empty++
		}
	}
	ours, theirs := &t.ours, &t.theirs
	if t.Blocks <= warmUpSlots && t.Phase != ProposeFull {
		ours, theirs = &t.first, &t.firstTheirs
	}
	if p.Accepted {
		ours.Add(ours, p.Value)
	}
	theirs.Add(theirs, p.Rival)
}

func (t *tally) done() *ProposeSum {
	t.Deliver, t.Start, t.Import = spreadOf(t.deliver), spreadOf(t.start), spreadOf(t.imported)
	t.Fees = portion(&t.ours, &t.theirs)
	t.FeesAll = portion(new(big.Int).Add(&t.ours, &t.first), new(big.Int).Add(&t.theirs, &t.firstTheirs))
	return &t.ProposeSum
}

// portion is the share of another amount, 1 of nothing.
func portion(amount, of *big.Int) float64 {
	if of.Sign() == 0 {
		return 1
	}
	quotient, _ := new(big.Rat).SetFrac(amount, of).Float64()
	return quotient
}

func (s *ProposeSum) print(out io.Writer) {
	fmt.Fprintf(out, "%-9s %4d accepted, %d missed, %d empty; %d transactions, %d blobs; getPayload p50 %.0f ms, p99 %.0f ms; forkchoiceUpdated p99 %.0f ms; fees %.1f %% of geth's (all slots %.1f %%)\n",
		s.Phase, s.Accepted, s.Missed, s.Empty, s.Txs, s.Blobs, 1000*s.Deliver.P50, 1000*s.Deliver.P99, 1000*s.Start.P99, 100*s.Fees, 100*s.FeesAll)
	for _, problem := range s.Problems {
		fmt.Fprintf(out, "          missed: %s\n", problem)
	}
}
