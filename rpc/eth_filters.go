package rpc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	filterExpiry = 5 * time.Minute // since the last poll, as in go-ethereum
	maxFilters   = 1024            // over all clients
)

// errFilterNotFound is go-ethereum's error for an unknown id and for the id of an expired filter.
var errFilterNotFound = errors.New("filter not found")

// filterAPI is the part of the eth namespace for clients that poll for new blocks and logs. A filter is a
// subscription to head events that is drained by each poll. It expires if it is not polled within filterExpiry,
// or if more than subscriberBuffer events wait.
type filterAPI struct {
	logs *logAPI

	mu   sync.Mutex
	open map[gethrpc.ID]*filter
}

type filter struct {
	query       *filters.FilterCriteria // of logs; nil: blocks
	events      <-chan chain.HeadEvent
	unsubscribe func()
	polled      time.Time
}

func newFilterAPI(logs *logAPI) *filterAPI {
	return &filterAPI{logs: logs, open: make(map[gethrpc.ID]*filter)}
}

// NewBlockFilter creates a filter for the hashes of blocks that become canonical.
func (api *filterAPI) NewBlockFilter() (gethrpc.ID, error) { return api.add(nil) }

// NewFilter creates a filter for the logs that the subscription Logs would announce.
func (api *filterAPI) NewFilter(query filters.FilterCriteria) (gethrpc.ID, error) {
	if err := checkSubscription(query); err != nil {
		return "", err
	}
	return api.add(&query)
}

func (api *filterAPI) add(query *filters.FilterCriteria) (gethrpc.ID, error) {
	api.mu.Lock()
	defer api.mu.Unlock()
	maps.DeleteFunc(api.open, func(_ gethrpc.ID, f *filter) bool {
		expired := time.Since(f.polled) > filterExpiry
		if expired {
			f.unsubscribe()
		}
		return expired
	})
	if len(api.open) >= maxFilters {
		return "", errors.New("too many filters")
	}
	id := gethrpc.NewID()
	f := &filter{query: query, polled: time.Now()}
	f.events, f.unsubscribe = api.logs.heads.subscribe()
	api.open[id] = f
	return id, nil
}

// UninstallFilter removes a filter. It returns false if there is none.
func (api *filterAPI) UninstallFilter(id gethrpc.ID) bool {
	api.mu.Lock()
	defer api.mu.Unlock()
	f, ok := api.open[id]
	if ok {
		f.unsubscribe()
		delete(api.open, id)
	}
	return ok
}

// GetFilterChanges returns the logs or block hashes since the last poll.
func (api *filterAPI) GetFilterChanges(id gethrpc.ID) (any, error) {
	f, events, err := api.drain(id)
	if err != nil {
		return nil, err
	}
	if f.query == nil {
		hashes := []common.Hash{}
		for _, ev := range events {
			for _, header := range newHeaders(ev) {
				hashes = append(hashes, header.Hash())
			}
		}
		return hashes, nil
	}
	logs := []*types.Log{}
	for _, ev := range events {
		logs = append(logs, changedLogs(ev, *f.query)...)
	}
	return logs, nil
}

// drain returns the events that wait in a filter.
func (api *filterAPI) drain(id gethrpc.ID) (f *filter, events []chain.HeadEvent, err error) {
	api.mu.Lock()
	defer api.mu.Unlock()
	f, ok := api.open[id]
	if !ok {
		return nil, nil, errFilterNotFound
	}
	f.polled = time.Now()
	for {
		select {
		case ev, ok := <-f.events:
			if !ok { // dropped by the feed: events are missing
				delete(api.open, id)
				return nil, nil, errFilterNotFound
			}
			events = append(events, ev)
		default:
			return f, events, nil
		}
	}
}

// GetFilterLogs returns all logs that match a log filter, as GetLogs does.
func (api *filterAPI) GetFilterLogs(ctx context.Context, id gethrpc.ID) ([]*types.Log, error) {
	api.mu.Lock()
	f, ok := api.open[id]
	api.mu.Unlock()
	if !ok || f.query == nil {
		return nil, errFilterNotFound
	}
	return api.logs.GetLogs(ctx, *f.query)
}

// newHeaders are the headers of the blocks that became canonical, the newest maxHeads of them.
func newHeaders(ev chain.HeadEvent) []*types.Header {
	headers := ev.Reorg.New
	if len(headers) == 0 { // the head moved back to an ancestor
		headers = []*types.Header{ev.Block.Header()}
	}
	return headers[max(0, len(headers)-maxHeads):]
}

// changedLogs are the matching logs of blocks that are no longer canonical, with removed set, followed by those
// of blocks that became canonical.
func changedLogs(ev chain.HeadEvent, query filters.FilterCriteria) (logs []*types.Log) {
	for _, log := range slices.Concat(ev.Removed, ev.Logs) {
		if logMatches(log, query) && inRange(log, query) {
			logs = append(logs, log)
		}
	}
	return logs
}
