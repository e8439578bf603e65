// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// alonePatience is how long a full node hopes for a peer: after a start, the first ones connect within seconds.
const alonePatience = 10 * time.Second

// errAlone is why an unknown head is not fetched.
var errAlone = errors.New("no peers")

// isAlone says whether this is a full node that has had no peers for a while. What it lacks comes by later calls only, so callers do not wait
// for it. A beaming node needs peers for everything: its callers wait for one.
func (i *Importer) isAlone() bool {
	return i.full() != nil && i.cfg.Alone != nil && i.cfg.Alone() >= alonePatience
}

// await returns the outcome of a job to a caller: Syncing when ctx ends first, and at once when the job waits for ancestors
// and there is no peer to send them. The job goes on.
func (i *Importer) await(ctx context.Context, job *importJob) Outcome {
	for {
		arrival := i.nextArrival()
		if i.isStranded(job) {
			return syncing(nil)
		}
		select {
		case <-job.done:
			return job.outcome
		case <-arrival:
		case <-ctx.Done():
			return syncing(nil)
		}
	}
}

// isStranded says whether a job, or the lowest one that it waits for, waits for peers that are not there.
func (i *Importer) isStranded(job *importJob) bool {
	if !i.isAlone() {
		return false
	}
	i.mu.Lock()
	for parent := job; parent != nil; parent = i.mu.jobs[job.block.ParentHash()] {
		job = parent
	}
	i.mu.Unlock()
	return !job.fetchingSince().IsZero() && i.anyArrived([]common.Hash{job.block.ParentHash()}) == nil
}
