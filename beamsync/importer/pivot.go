package importer

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
)

// errSuperseded ends the work on a block that a pivot left behind.
var errSuperseded = errors.New("given up for a newer head")

// supersede cancels everything in work that is further behind number than the lag allows,
// and returns how many that were.
func (i *Importer) supersede(number uint64) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	var n int
	for _, p := range i.mu.pending {
		if p.number()+i.cfg.MaxLag < number && p.giveUp(errSuperseded) {
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

// highestExecuted is the number of the highest block that was executed here, chosen as the head
// or not; 0 on a fresh node.
func (i *Importer) highestExecuted() uint64 {
	head := i.cfg.Chain.CurrentHeader().Number.Uint64()
	i.mu.Lock()
	defer i.mu.Unlock()
	return max(head, i.mu.executed)
}

// beginBeaming notes the parent that is not executed here, and gives up what is left behind.
func (i *Importer) beginBeaming(p *pending, parent *types.Header) error {
	if err := i.cfg.Chain.AddHeaders([]*types.Header{parent}); err != nil {
		return fmt.Errorf("header of parent %x: %w", parent.Hash(), err)
	}
	highest := i.highestExecuted()
	if highest == 0 {
		i.cfg.Log.Info("Beaming begins", "number", p.number(), "hash", p.block.Hash(), "state_root", parent.Root)
		return nil
	}
	reason := pivotLag
	if p.number() <= highest+i.cfg.MaxLag {
		reason = pivotUnconnected
	}
	dropped := i.supersede(p.number())
	i.metrics.pivots.WithLabelValues(reason).Inc()
	i.cfg.Log.Warn("Pivot to the newest head", "reason", reason, "number", p.number(), "hash", p.block.Hash(),
		"executed", highest, "dropped", dropped)
	return nil
}
