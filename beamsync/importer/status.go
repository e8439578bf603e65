// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// progressInterval is how often blocks that take long are logged.
const progressInterval = 8 * time.Second

// BlockReport is what one execution took.
type BlockReport struct {
	Number       uint64          `json:"number"`
	Hash         common.Hash     `json:"hash"`
	Outcome      string          `json:"outcome"` // valid, invalid or incomplete
	Transactions int             `json:"transactions"`
	GasUsed      uint64          `json:"gasUsed"`
	Took         time.Duration   `json:"-"` // from the start of the execution to its outcome; tookSeconds in JSON
	Fetched      trie.FetchStats `json:"fetched"`

	// Where the time went, without what Fetched.Wait counts; speculatedSeconds, executedSeconds, writtenSeconds in JSON.
	Speculated time.Duration `json:"-"` // finding out what the block reads
	Executed   time.Duration `json:"-"`
	Written    time.Duration `json:"-"` // after Took
}

// Totals adds up what all executions since the start took.
type Totals struct {
	Valid      uint64          `json:"valid"`
	Invalid    uint64          `json:"invalid"`
	Incomplete uint64          `json:"incomplete"`
	Fetched    trie.FetchStats `json:"fetched"`
}

// PendingBlock is a block that is being imported.
type PendingBlock struct {
	Number  uint64        `json:"number"`
	Hash    common.Hash   `json:"hash"`
	Stage   string        `json:"stage"` // what it waits for, see job.go
	Waiting time.Duration `json:"-"`     // since its job started; waitingSeconds in JSON
}

// MarshalJSON adds the times.
func (r BlockReport) MarshalJSON() ([]byte, error) {
	type plain BlockReport
	return json.Marshal(struct {
		plain
		Took       float64 `json:"tookSeconds"`
		Speculated float64 `json:"speculatedSeconds"`
		Executed   float64 `json:"executedSeconds"`
		Written    float64 `json:"writtenSeconds"`
	}{plain(r), r.Took.Seconds(), r.Speculated.Seconds(), r.Executed.Seconds(), r.Written.Seconds()})
}

// MarshalJSON adds waitingSeconds.
func (p PendingBlock) MarshalJSON() ([]byte, error) {
	type plain PendingBlock
	return json.Marshal(struct {
		plain
		WaitingSeconds float64 `json:"waitingSeconds"`
	}{plain(p), p.Waiting.Seconds()})
}

// Status is the importer's state for beam_status.
type Status struct {
	Head    uint64         `json:"head"`
	Newest  uint64         `json:"newest"`
	Lag     uint64         `json:"lag"` // blocks between the newest known block and the head
	Last    BlockReport    `json:"last"`
	Totals  Totals         `json:"totals"`
	Pending []PendingBlock `json:"pending"`
	Waiting *Waiting       `json:"waiting,omitempty"` // absent while the node makes progress
	CatchUp *CatchUp       `json:"catchUp,omitempty"` // of a full node that missed blocks
}

// Status reports what the importer is doing now.
func (i *Importer) Status() Status {
	head := i.cfg.Chain.CurrentHeader().Number.Uint64()
	i.mu.Lock()
	defer i.mu.Unlock()
	status := Status{Head: head, Newest: max(i.newest.Load(), head), Last: i.mu.last, Totals: i.mu.totals, Pending: []PendingBlock{}, CatchUp: i.mu.catchUp}
	status.Lag = status.Newest - head
	for hash, job := range i.mu.jobs {
		status.Pending = append(status.Pending, PendingBlock{
			Number: job.number(), Hash: hash, Stage: job.stage(), Waiting: time.Since(job.since),
		})
	}
	status.Waiting = i.waiting(status.Pending, i.lastCall())
	return status
}

// maxRecent is how many reports are kept for [Importer.Recent].
const maxRecent = 32

// Recent returns what the newest executions took, the last one last.
func (i *Importer) Recent() []BlockReport {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.mu.recent)
}

// Newest is the highest block number that a payload or forkchoice named. It takes no lock.
func (i *Importer) Newest() uint64 { return i.newest.Load() }

// lag is how many blocks the head is behind the newest one that a payload or forkchoice named.
func (i *Importer) lag() uint64 {
	head := i.cfg.Chain.CurrentHeader().Number.Uint64()
	return max(i.newest.Load(), head) - head
}

// report records what an execution took, of which the times and what was fetched are known, and logs it.
func (i *Importer) report(job *importJob, result *evm.Result, report BlockReport) {
	report.Number, report.Hash, report.Outcome = job.number(), job.block.Hash(), result.Outcome.String()
	report.Transactions, report.GasUsed = len(job.block.Transactions()), job.block.GasUsed()
	fetched := report.Fetched
	i.mu.Lock()
	i.mu.last = report
	i.mu.recent = append(i.mu.recent[max(0, len(i.mu.recent)+1-maxRecent):], report)
	i.mu.totals.add(result.Outcome, fetched)
	i.mu.Unlock()

	if result.Outcome == evm.Invalid {
		return // counted and logged by reject
	}
	i.metrics.imports.WithLabelValues(report.Outcome).Inc()
	if result.Outcome == evm.Incomplete {
		return // logged by run, with the reason
	}
	level := slog.LevelInfo
	if i.cfg.Quiet {
		level = slog.LevelDebug
	}
	i.cfg.Log.Log(context.Background(), level, "Block executed", "number", report.Number, "hash", report.Hash, "outcome", report.Outcome,
		"txs", report.Transactions, "mgas", float64(report.GasUsed)/1e6, "elapsed", report.Took.Round(time.Millisecond),
		"faults", fetched.Faults, "trips", fetched.Trips, "nodes", fetched.Nodes, "codes", fetched.Codes,
		"bytes", fetched.Bytes, "waited", fetched.Wait.Round(time.Millisecond))
}

func (t *Totals) add(outcome evm.Outcome, fetched trie.FetchStats) {
	switch outcome {
	case evm.Valid:
		t.Valid++
	case evm.Invalid:
		t.Invalid++
	case evm.Incomplete:
		t.Incomplete++
	}
	t.Fetched.Add(fetched)
}

// logProgress logs that the import of blocks takes long, so that waiting is never silent: one line for each stage, with
// its oldest block, and louder ones while no block is imported.
func (i *Importer) logProgress() {
	oldest, count := make(map[string]PendingBlock), make(map[string]int)
	for _, block := range i.Status().Pending {
		if block.Waiting < progressInterval {
			continue
		}
		count[block.Stage]++
		if block.Waiting > oldest[block.Stage].Waiting {
			oldest[block.Stage] = block
		}
	}
	for _, stage := range slices.Sorted(maps.Keys(oldest)) {
		block := oldest[stage]
		o := i.troubles.note(stage, time.Now().Add(-block.Waiting))
		log := i.cfg.Log.With("number", block.Number, "hash", block.Hash, "waits_for", stage, "waiting", block.Waiting.Round(time.Second), "blocks", count[stage])
		switch {
		case o.louder:
			log.Warn("No block was imported for long", "for", o.lasts)
		case o.first:
			log.Info("Block is still being imported")
		}
	}
}

// Working says whether a block is being prefetched or executed. One that waits for its parent does not count.
func (i *Importer) Working() bool { return len(i.slots) > 0 }
