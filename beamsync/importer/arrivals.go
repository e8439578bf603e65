// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/chain"
)

var (
	// errArrived ends a request to peers for a block that arrived in another way. The import goes on with it.
	errArrived = errors.New("the block arrived in another way")
	// errArrivedInvalid is errArrived for a block that was rejected.
	errArrivedInvalid = fmt.Errorf("%w and is invalid", errArrived)
)

// fetchUnlessArrived runs a request to peers for parts of these blocks. It returns errArrived as soon as one of them is
// executed or has a job, and errArrivedInvalid if one is rejected: a payload, a forkchoice and the ancestors of another job are as good as peers, and whichever
// comes first is used. The job is the one that waits; nil if there is none.
func (i *Importer) fetchUnlessArrived(ctx context.Context, job *importJob, hashes []common.Hash, request func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if job != nil {
		job.setFetching(true)
		defer job.setFetching(false)
		i.announceAlone()
	}
	go func() {
		for {
			arrival := i.nextArrival()
			if arrived := i.anyArrived(hashes); arrived != nil {
				cancel(arrived)
				return
			}
			select {
			case <-arrival:
			case <-ctx.Done():
				return
			}
		}
	}()
	err := request(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errArrived) {
		return cause
	}
	return err
}

// anyArrived returns errArrived if one of these blocks is executed or has a job, errArrivedInvalid if one is rejected,
// else nil.
func (i *Importer) anyArrived(hashes []common.Hash) error {
	for _, hash := range hashes {
		switch {
		case i.lookup(hash) != nil, i.cfg.Chain.Status(hash) == chain.Executed:
			return errArrived
		case i.cfg.Chain.Rejects(hash):
			return errArrivedInvalid
		}
	}
	return nil
}

// nextArrival returns a channel that is closed when a job starts, a block is executed or rejected, or the forkchoice changes.
func (i *Importer) nextArrival() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.mu.arrival
}

// announceAlone wakes the callers of a job that begins to wait for peers, if there are none.
func (i *Importer) announceAlone() {
	if i.isAlone() {
		i.mu.Lock()
		i.announceLocked()
		i.mu.Unlock()
	}
}

// announceLocked closes the channels that nextArrival has returned.
func (i *Importer) announceLocked() {
	close(i.mu.arrival)
	i.mu.arrival = make(chan struct{})
}
