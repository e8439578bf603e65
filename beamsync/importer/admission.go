// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// ancestorTimeout is how long a job waits for ancestors from peers. The forkchoice head waits for ever. Peers send
// a header within seconds; this leaves room for a network outage.
const ancestorTimeout = 3 * time.Minute

var (
	// errEvicted cancels a job that waits for ancestors when there are too many jobs.
	errEvicted = errors.New("evicted: too many blocks are being imported")
	// errExpired cancels a job whose ancestors do not come.
	errExpired = fmt.Errorf("no peer sent the ancestors within %v", ancestorTimeout)
)

// makeRoomLocked makes room for the job of a block, and returns false if the block must not have one. Jobs that wait for
// ancestors are evicted, the oldest first, those without children before those with. The forkchoice head and blocks
// whose parent is executed or has a job are always admitted: with those alone, the number of jobs is bounded by the
// blocks that can be executed.
func (i *Importer) makeRoomLocked(block *types.Block) bool {
	if len(i.mu.jobs) < maxJobs {
		return true
	}
	if victim := i.victimLocked(); victim != nil {
		victim.giveUp(errEvicted)
		delete(i.mu.jobs, victim.block.Hash())
		i.mu.evicted++
		return true
	}
	return block.Hash() == i.mu.choice.Head || i.mu.jobs[block.ParentHash()] != nil ||
		i.cfg.Chain.Status(block.ParentHash()) == chain.Executed
}

// victimLocked returns the job to evict, or nil.
func (i *Importer) victimLocked() *importJob {
	var victim *importJob
	var victimHasChild bool
	parents, needed := make(map[common.Hash]bool), i.neededLocked()
	for _, job := range i.mu.jobs {
		parents[job.block.ParentHash()] = true
	}
	for hash, job := range i.mu.jobs {
		if since := job.fetchingSince(); since.IsZero() || needed[hash] {
			continue
		}
		hasChild := parents[hash]
		if victim == nil || victimHasChild && !hasChild || hasChild == victimHasChild && job.since.Before(victim.since) {
			victim, victimHasChild = job, hasChild
		}
	}
	return victim
}

// neededLocked returns the blocks with jobs that the forkchoice head needs: itself and its ancestors.
func (i *Importer) neededLocked() map[common.Hash]bool {
	needed := make(map[common.Hash]bool)
	for hash := i.mu.choice.Head; ; {
		job := i.mu.jobs[hash]
		if job == nil {
			return needed
		}
		needed[hash] = true
		hash = job.block.ParentHash()
	}
}

// expire cancels jobs that have waited too long for ancestors, and logs once what was dropped since the last time.
func (i *Importer) expire() {
	i.mu.Lock()
	needed, expired := i.neededLocked(), 0
	for hash, job := range i.mu.jobs {
		since := job.fetchingSince()
		if !since.IsZero() && !needed[hash] && time.Since(since) >= ancestorTimeout && job.giveUp(errExpired) {
			expired++
		}
	}
	evicted := i.mu.evicted
	i.mu.evicted = 0
	i.mu.Unlock()
	if expired+evicted > 0 {
		i.cfg.Log.Warn("Dropped blocks whose ancestors no peer sends", "expired", expired, "evicted", evicted)
	}
}

// acquireSlot waits for a slot to execute a block, and returns a function that releases it. One slot is reserved for
// the forkchoice head and its ancestors: executions on side chains whose state is unavailable can occupy all others.
func (i *Importer) acquireSlot(ctx context.Context, job *importJob) (release func(), err error) {
	job.enter(stageSlot)
	select {
	case i.slots <- struct{}{}:
		return func() { <-i.slots }, nil
	default:
	}
	for {
		arrival := i.nextArrival()
		var reserved chan struct{}
		if i.reserve(job) {
			reserved = i.headSlot
		}
		select {
		case i.slots <- struct{}{}:
			return func() { <-i.slots }, nil
		case reserved <- struct{}{}:
			i.mu.Lock()
			i.mu.inHeadSlot = job
			i.mu.Unlock()
			return func() { <-i.headSlot }, nil
		case <-arrival:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// reserve says whether a job may use the reserved slot: its block is the forkchoice head, an ancestor of it, or a child
// of the executed head, which is the next forkchoice head most of the time. If it may, a job in that slot that no longer
// leads to the head is cancelled.
func (i *Importer) reserve(job *importJob) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	needed := i.neededLocked()
	if !needed[job.block.Hash()] && (len(needed) > 0 || job.block.ParentHash() != i.mu.choice.Head) {
		return false
	}
	if other := i.mu.inHeadSlot; other != nil && other != job && !needed[other.block.Hash()] {
		other.giveUp(errSuperseded)
	}
	return true
}
