// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

const (
	// syncPoll is how often the node looks whether it still syncs.
	syncPoll = time.Second
	// syncInterval is how often the progress of the sync is announced, as in go-ethereum.
	syncInterval = time.Minute
)

// syncState is what the subscription syncing announces while the node syncs; then it announces false.
type syncState struct {
	Syncing bool                  `json:"syncing"`
	Status  ethereum.SyncProgress `json:"status"`
}

// Syncing announces the progress of the sync, and false once the node is ready: at first what holds now, then each change
// of it, and the progress every minute (eth_subscribe).
func (api *logAPI) Syncing(ctx context.Context) (*gethrpc.Subscription, error) {
	sub, err := api.subscribe(ctx, api.syncs, api.b.Beam != nil, interest{})
	if err != nil {
		return nil, err
	}
	notifier, _ := gethrpc.NotifierFromContext(ctx)
	_ = notifier.Notify(sub.ID, newSyncState(api.b.Beam.Progress())) // a connection that fails here ends the subscription
	return sub, nil
}

func newSyncState(progress Progress) any {
	if !progress.Syncing {
		return false
	}
	return &syncState{true, ethereum.SyncProgress{StartingBlock: progress.Start, CurrentBlock: progress.Current, HighestBlock: progress.Highest}}
}

// runSyncing queues the states of the sync until ctx ends, then closes the feed.
func (f *eventFeed) runSyncing(ctx context.Context, beam Beam) error {
	defer f.close()
	ticker := time.NewTicker(syncPoll)
	defer ticker.Stop()
	syncing, announced := beam.Progress().Syncing, time.Now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		progress := beam.Progress()
		if progress.Syncing != syncing || syncing && time.Since(announced) >= syncInterval {
			syncing, announced = progress.Syncing, time.Now()
			f.add(feedEvent{value: newSyncState(progress)})
		}
	}
}
