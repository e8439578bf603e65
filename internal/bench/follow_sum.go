// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// witnessedBlocks is how many blocks, the last ones, geth is asked the witnesses of. It keeps
	// 128 states.
	witnessedBlocks = 5
	// witnessTimeout is how long it may take for all of them.
	witnessTimeout = 2 * time.Minute
)

// FollowSum is what came of a whole run. Times are from newPayload to VALID.
type FollowSum struct {
	Blocks       int           `json:"blocks"`
	Valid        int           `json:"valid"`
	Late         int           `json:"late"` // later than their slot
	Pivots       int           `json:"pivots"`
	Seconds      FollowSpread  `json:"seconds"`
	FirstSeconds float64       `json:"firstSeconds"`
	Building     *FollowSpread `json:"secondsBuilding,omitempty"` // of blocks that came while the node built one; with [FollowOptions.Build]
	Idle         *FollowSpread `json:"secondsIdle,omitempty"`     // of the others
	Trips        FollowSpread  `json:"trips"`                     // of the blocks that the node told about
	NodesFetched FollowSpread  `json:"nodesFetched"`              // of the same
	NodesNeeded  FollowSpread  `json:"nodesNeeded"`               // in geth's own witnesses of the last blocks
	CPUSeconds   float64       `json:"cpuSeconds"`                // of the node, over the whole run
	MemoryBytes  uint64        `json:"memoryBytes"`               // of the node, at most
	Slot         time.Duration `json:"slotNanoseconds"`
	RTT          time.Duration `json:"rttNanoseconds"`
	Stall        time.Duration `json:"stallNanoseconds"`
	Backfill     bool          `json:"backfill"`
	Warmup       bool          `json:"warmup"`
}

// FollowSpread is a distribution; all zero if there was nothing.
type FollowSpread struct {
	Least float64 `json:"least"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Most  float64 `json:"most"`
}

func spreadOf(values []float64) FollowSpread {
	if len(values) == 0 {
		return FollowSpread{}
	}
	return FollowSpread{quantile(values, 0), quantile(values, 0.5), quantile(values, 0.95), quantile(values, 0.99), quantile(values, 1)}
}

// sum prints the summary: as the last line of JSON, or below the table.
func (f *following) sum(ctx context.Context) error {
	s := FollowSum{
		Blocks: len(f.results), MemoryBytes: f.node.Memory(),
		Slot: f.opts.Slot, RTT: f.opts.RTT, Stall: f.opts.Stall, Backfill: f.opts.Backfill, Warmup: f.opts.Warmup,
	}
	var seconds, trips, nodes []float64
	var building, idle []float64
	for _, r := range f.results {
		seconds = append(seconds, r.Seconds)
		if f.building(r.Number - 1) {
			building = append(building, r.Seconds)
		} else {
			idle = append(idle, r.Seconds)
		}
		if r.Right() {
			s.Valid++
		}
		if r.Seconds > f.opts.Slot.Seconds() {
			s.Late++
		}
		if r.Requests > 0 { // the node told
			trips = append(trips, r.Trips)
			nodes = append(nodes, float64(r.NodesFetched))
		}
	}
	s.Seconds, s.Trips, s.NodesFetched = spreadOf(seconds), spreadOf(trips), spreadOf(nodes)
	if f.opts.Build {
		first, second := spreadOf(building), spreadOf(idle)
		s.Building, s.Idle = &first, &second
	}
	if len(seconds) > 0 {
		s.FirstSeconds = seconds[0]
	}
	pivots, err := readCounter(ctx, f.metrics, "beam_pivots_total")
	s.Pivots = int(pivots)
	cpu, cpuErr := readCounter(ctx, f.metrics, "process_cpu_seconds_total")
	s.CPUSeconds = cpu
	needed, neededErr := f.nodesNeeded(ctx)
	s.NodesNeeded = spreadOf(needed)
	return errors.Join(err, cpuErr, neededErr, s.print(f, len(needed)))
}

func (s *FollowSum) print(f *following, witnessed int) error {
	text := fmt.Sprintf("%d blocks, slot %v, round trip %v: newPayload to VALID p50 %.2f s, p99 %.2f s, most %.2f s, first %.2f s; %d later than their slot; %d pivots\n"+
		"trips p50 %.0f, p99 %.0f; nodes fetched p50 %.0f, fewest %.0f (as the node reports for the blocks that needed the network)\n"+
		"nodes needed p50 %.0f, fewest %.0f (in geth's witnesses of the last %d blocks)\n"+
		"the node took %.1f s of CPU, at most %d MB of memory\n",
		s.Blocks, s.Slot, s.RTT, s.Seconds.P50, s.Seconds.P99, s.Seconds.Most, s.FirstSeconds, s.Late, s.Pivots,
		s.Trips.P50, s.Trips.P99, s.NodesFetched.P50, s.NodesFetched.Least,
		s.NodesNeeded.P50, s.NodesNeeded.Least, witnessed, s.CPUSeconds, s.MemoryBytes/1_000_000)
	if s.Building != nil {
		text += fmt.Sprintf("while it built a block: p50 %.3f s, p95 %.3f s; the other blocks: p50 %.3f s, p95 %.3f s\n",
			s.Building.P50, s.Building.P95, s.Idle.P50, s.Idle.P95)
	}
	if f.opts.JSON {
		if err := json.NewEncoder(f.out).Encode(s); err != nil {
			return err
		}
		_, err := fmt.Fprint(f.opts.Progress, text)
		return err
	}
	_, err := fmt.Fprint(f.out, text)
	return err
}

// nodesNeeded is how many trie nodes the last blocks read of their parents' states, held by the
// node or not: geth executes them once more and counts.
func (f *following) nodesNeeded(ctx context.Context) (needed []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	for _, r := range f.results[max(0, len(f.results)-witnessedBlocks):] {
		var witness struct {
			State []json.RawMessage `json:"state"`
		}
		if err := f.testbed.Geth.RPC().CallContext(ctx, &witness, "debug_executionWitness", fmt.Sprintf("%#x", r.Number)); err != nil {
			return nil, fmt.Errorf("witness of block %d: %w", r.Number, err)
		}
		needed = append(needed, float64(len(witness.State)))
	}
	return needed, nil
}

// readCounter adds up all series of a counter on a page of metrics.
func readCounter(ctx context.Context, url, name string) (sum float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read the node's metrics: %w", err)
	}
	defer response.Body.Close()
	found := false
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		found = true
		sum += value
	}
	if !found {
		return 0, fmt.Errorf("the node has no metric %s", name)
	}
	return sum, nil
}
