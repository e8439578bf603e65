// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Strategy is how a block gets the state that it reads.
type Strategy string

// The strategies. Only Beam is what the node does; the others are what it is compared with.
const (
	// Naive executes, and every missing trie node is a request and a round trip of its own.
	Naive Strategy = "naive"
	// Trinity does what the Trinity client did: it fetches the accounts that the block names
	// together, then runs all transactions at once, concurrently with the execution, each on the parent's
	// state. Whoever misses a node waits for that one node; what is waited for at the same time
	// shares a trip. So a trip goes down one level of the tries.
	Trinity Strategy = "trinity"
	// Paths executes, and every missing key is a round trip: its whole path in one request.
	Paths Strategy = "paths"
	// Beam prefetches what the block is going to read, then executes it.
	Beam Strategy = "beam"
	// BAL knows all accounts and slots beforehand, as from a block access list.
	BAL Strategy = "bal"
)

// Strategies lists all of them, from the slowest idea on.
func Strategies() []Strategy { return []Strategy{Naive, Trinity, Paths, Beam, BAL} }

// ParseStrategies reads a list of strategies separated by commas, or "all".
func ParseStrategies(text string) ([]Strategy, error) {
	if text == "all" {
		return Strategies(), nil
	}
	var list []Strategy
	for name := range strings.SplitSeq(text, ",") {
		s := Strategy(strings.TrimSpace(name))
		if !slices.Contains(Strategies(), s) {
			return nil, fmt.Errorf("unknown strategy %q (all, or of %v)", name, Strategies())
		}
		list = append(list, s)
	}
	return list, nil
}

// single says whether a request names one node only.
func (s Strategy) single() bool { return s == Naive || s == Trinity }

// attempt is one block on its way to an outcome.
type attempt struct {
	*client
	file    *witnessfile.File
	headers *ancestors
	source  *source
	listing *listing // of BAL
	cpu     cpuWatch // zero: not measured
}

// run judges the block.
func (a *attempt) run(ctx context.Context, strategy Strategy) *evm.Result {
	switch strategy {
	case Trinity:
		return a.besidePreviews(ctx)
	case Beam:
		a.source.trips.stage("prefetch")
		// An error of a prefetch tells nothing about the block.
		_ = a.prefetcher.Prefetch(ctx, a.file.Block, a.file.Parent, a.headers, a.source)
		a.cpu.prefetchDone()
	case BAL:
		a.source.trips.stage("prefetch")
		if err := a.fetchListed(ctx); err != nil {
			return &evm.Result{Outcome: evm.Incomplete, Err: err}
		}
	case Naive, Paths:
	}
	return a.execute(ctx)
}

// execute judges a block as the importer does: header, body, then execution.
func (a *attempt) execute(ctx context.Context) *evm.Result {
	a.source.trips.stage("execute")
	file := a.file
	if file.HasParent {
		if err := chain.VerifyHeader(file.Config, file.Block.Header(), file.Parent); err != nil {
			return &evm.Result{Outcome: evm.Invalid, Err: err}
		}
	}
	if err := chain.VerifyBody(file.Config, file.Block); err != nil {
		return &evm.Result{Outcome: evm.Invalid, Err: err}
	}
	return file.Execute(ctx, a.executor, trie.Open(ctx, file.PreRoot, a.store, a.source), a.headers)
}
