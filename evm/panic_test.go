// SPDX-License-Identifier: LGPL-3.0-or-later

package evm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// brokenStore is a store with a bug.
type brokenStore struct{}

func (brokenStore) Node(common.Hash, []byte, common.Hash) ([]byte, error) { panic("broken store") }
func (brokenStore) Code(common.Hash) ([]byte, error)                      { panic("broken store") }

// counted returns the value of the only metric in the registry.
func counted(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "beam_speculation_panics_total" {
		t.Fatalf("metrics %v: %v", families, err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

// TestSpeculationPanics runs the three kinds of speculation into a bug: the panic goes on to the
// caller, or it is counted and logged once for the block.
func TestSpeculationPanics(t *testing.T) {
	a := newAmsterdam(t)
	spec := func() evm.Speculation {
		return evm.Speculation{
			Block: a.block, Parent: a.parent, State: trie.NewLookupCache(a.parent.Root, brokenStore{}).State(),
			LocalHeader: func(common.Hash, uint64) *types.Header { return nil },
		}
	}
	for name, c := range map[string]struct {
		run func(*evm.Executor)
		tx  float64
	}{
		"group": {func(e *evm.Executor) { e.SpeculateGroup(t.Context(), spec(), []int{5, 6}) }, 5},
		"block": {func(e *evm.Executor) { e.SpeculateBlock(t.Context(), spec()) }, 0},
		"root":  {func(e *evm.Executor) { e.SpeculateRoot(a.block, a.parent, spec().State) }, -1},
	} {
		t.Run(name+"/by default", func(t *testing.T) {
			defer func() {
				if got := recover(); got != "broken store" {
					t.Errorf("recovered %v", got)
				}
			}()
			c.run(evm.NewExecutor(a.config))
		})
		t.Run(name+"/reported", func(t *testing.T) {
			var (
				logged   bytes.Buffer
				registry = prometheus.NewRegistry()
				executor = evm.NewExecutor(a.config, evm.ReportPanics(slog.New(slog.NewJSONHandler(&logged, nil)), registry))
			)
			for range 3 {
				c.run(executor)
			}
			if got := counted(t, registry); got != 3 {
				t.Errorf("%v panics counted, want 3", got)
			}
			var line struct {
				Level, Hash, Panic, Stack string
				Number, Tx                float64
			}
			if err := json.Unmarshal(logged.Bytes(), &line); err != nil {
				t.Fatalf("want one log line, got %q: %v", logged.String(), err)
			}
			if line.Level != "ERROR" || line.Hash != a.block.Hash().Hex() || line.Number != float64(a.block.NumberU64()) || line.Tx != c.tx {
				t.Errorf("logged %+v", line)
			}
			if line.Panic != "broken store" || !strings.Contains(line.Stack, "brokenStore") {
				t.Errorf("the log does not lead to the bug: %q, %s", line.Panic, line.Stack)
			}
		})
	}
}

// countingStore counts the nodes that are read.
type countingStore struct {
	*witnessfile.File
	nodes atomic.Int64
}

func (s *countingStore) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	s.nodes.Add(1)
	return s.File.Node(owner, path, hash)
}

// TestSpeculationStops ends the context of speculations: they stop early, and that is no panic.
func TestSpeculationStops(t *testing.T) {
	file := load(t, "1-25134887")
	registry := prometheus.NewRegistry()
	executor := evm.NewExecutor(file.Config, evm.ReportPanics(slog.New(slog.DiscardHandler), registry))
	run := func(ctx context.Context) int64 {
		store := &countingStore{File: file}
		executor.SpeculateBlock(ctx, evm.Speculation{
			Block: file.Block, Parent: file.Parent, State: trie.NewLookupCache(file.PreRoot, store).State(), Mode: evm.ModePlaceholder,
			LocalHeader: func(common.Hash, uint64) *types.Header { return nil },
		})
		return store.nodes.Load()
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if whole, part := run(t.Context()), run(ended); part >= whole/2 {
		t.Errorf("a run that should stop read %d nodes, a whole one %d", part, whole)
	}
	if got := counted(t, registry); got != 0 {
		t.Errorf("%v panics counted, want 0", got)
	}
}
