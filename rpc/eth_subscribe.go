package rpc

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// NewHeads announces every block that becomes canonical (eth_subscribe). If one change of head makes more than
// maxHeads canonical, it announces the newest of them.
func (api *logAPI) NewHeads(ctx context.Context) (*gethrpc.Subscription, error) {
	return api.subscribe(ctx, func(ev chain.HeadEvent, notify func(any)) {
		for _, header := range newHeaders(ev) {
			notify(header)
		}
	})
}

// Logs announces the logs of every block that becomes canonical, and again, with removed set, those of every
// block that is no longer canonical (eth_subscribe).
func (api *logAPI) Logs(ctx context.Context, query filters.FilterCriteria) (*gethrpc.Subscription, error) {
	if err := checkSubscription(query); err != nil {
		return nil, err
	}
	return api.subscribe(ctx, func(ev chain.HeadEvent, notify func(any)) {
		for _, log := range changedLogs(ev, query) {
			notify(log)
		}
	})
}

func checkSubscription(query filters.FilterCriteria) error {
	if query.BlockHash != nil {
		return invalidParams("can't subscribe to the logs of one block")
	}
	return checkSelectors(query)
}

// inRange applies the block range of a subscription. Tags do not limit it.
func inRange(log *types.Log, query filters.FilterCriteria) bool {
	number := new(big.Int).SetUint64(log.BlockNumber)
	if from := query.FromBlock; from != nil && from.Sign() >= 0 && number.Cmp(from) < 0 {
		return false
	}
	to := query.ToBlock
	return to == nil || to.Sign() < 0 || number.Cmp(to) <= 0
}

// subscribe creates a subscription. Its goroutine ends with the subscription, which ends with its connection.
func (api *logAPI) subscribe(ctx context.Context, each func(ev chain.HeadEvent, notify func(any))) (*gethrpc.Subscription, error) {
	notifier, ok := gethrpc.NotifierFromContext(ctx)
	if !ok || api.b.Heads == nil {
		return nil, gethrpc.ErrNotificationsUnsupported
	}
	sub := notifier.CreateSubscription()
	events, unsubscribe := api.heads.subscribe()
	go func() {
		defer unsubscribe()
		for {
			select {
			case ev, ok := <-events:
				if !ok {
					api.b.log.Warn("Dropped slow subscription: its connection does not keep up with new heads", "id", sub.ID)
					return
				}
				each(ev, func(v any) { _ = notifier.Notify(sub.ID, v) }) // an error also ends sub
			case err := <-sub.Err():
				api.b.log.Debug("Subscription ended", "id", sub.ID, "err", err)
				return
			}
		}
	}()
	return sub, nil
}
