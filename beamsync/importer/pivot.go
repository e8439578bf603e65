// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
)

// errSuperseded cancels the job of a block that is too far behind.
var errSuperseded = errors.New("superseded by a newer head")

// supersede cancels all jobs that are further behind number than the lag allows, and returns how many it
// cancelled.
func (i *Importer) supersede(number uint64) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	var n int
	for _, job := range i.mu.jobs {
		if job.number()+i.cfg.MaxLag < number && job.giveUp(errSuperseded) {
			n++
		}
	}
	return n
}

// withinReach says whether the ancestors of a block are worth fetching and executing: not on a
// fresh node, and not if that has lagged too far.
func (i *Importer) withinReach(number uint64) bool {
	highest := i.highestExecuted()
	return highest > 0 && number <= highest+i.cfg.MaxLag || number == 1
}

// highestExecuted is the number of the highest block that was executed here, canonical or not; 0 on a fresh node.
func (i *Importer) highestExecuted() uint64 {
	head := i.cfg.Chain.CurrentHeader().Number.Uint64()
	i.mu.Lock()
	defer i.mu.Unlock()
	return max(head, i.mu.executed)
}

// beginBeaming stores the header of a parent that is not executed here and those fetched below it, and cancels the jobs of blocks that the pivot
// skips.
func (i *Importer) beginBeaming(job *importJob, parent *types.Header) error {
	headers := []*types.Header{parent}
	for at := job.ancestors[parent.ParentHash]; at != nil; at = job.ancestors[at.ParentHash] {
		headers = append(headers, at) // they show it if the block descends from one that is rejected meanwhile
	}
	if err := i.cfg.Chain.AddHeaders(headers); err != nil {
		return fmt.Errorf("header of parent %x: %w", parent.Hash(), err)
	}
	highest := i.highestExecuted()
	if highest == 0 {
		i.cfg.Log.Info("Beaming started", "number", job.number(), "hash", job.block.Hash(), "state_root", parent.Root)
		return nil
	}
	reason := pivotLag
	if job.number() <= highest+i.cfg.MaxLag {
		reason = pivotUnconnected
	}
	dropped := i.supersede(job.number())
	i.metrics.pivots.WithLabelValues(reason).Inc()
	i.cfg.Log.Warn("Pivoted to the newest head", "reason", reason, "number", job.number(), "hash", job.block.Hash(),
		"executed", highest, "dropped", dropped)
	return nil
}
