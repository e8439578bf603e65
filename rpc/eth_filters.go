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
	filterLife = 5 * time.Minute // without being polled, as in go-ethereum
	maxFilters = 1024            // over all clients
)

// errFilterNotFound is go-ethereum's answer to an id that was never given out, or whose filter is over.
var errFilterNotFound = errors.New("filter not found")

// filterAPI is the part of the eth namespace for clients that poll what others subscribe to. A filter is a feed
// of heads that is emptied when it is polled. It ends when it is not: after filterLife, or by being feedBuffer heads behind.
type filterAPI struct {
	logs *logAPI

	mu   sync.Mutex
	open map[gethrpc.ID]*filter
}

type filter struct {
	query  *filters.FilterCriteria // of logs; nil: blocks
	feed   <-chan chain.HeadEvent
	stop   func()
	polled time.Time
}

func newFilterAPI(logs *logAPI) *filterAPI {
	return &filterAPI{logs: logs, open: make(map[gethrpc.ID]*filter)}
}

// NewBlockFilter begins to gather the hashes of blocks that become canonical.
func (api *filterAPI) NewBlockFilter() (gethrpc.ID, error) { return api.add(nil) }

// NewFilter begins to gather logs as Logs announces them.
func (api *filterAPI) NewFilter(query filters.FilterCriteria) (gethrpc.ID, error) {
	if err := checkFeed(query); err != nil {
		return "", err
	}
	return api.add(&query)
}

func (api *filterAPI) add(query *filters.FilterCriteria) (gethrpc.ID, error) {
	api.mu.Lock()
	defer api.mu.Unlock()
	maps.DeleteFunc(api.open, func(_ gethrpc.ID, f *filter) bool {
		over := time.Since(f.polled) > filterLife
		if over {
			f.stop()
		}
		return over
	})
	if len(api.open) >= maxFilters {
		return "", errors.New("too many filters")
	}
	id := gethrpc.NewID()
	f := &filter{query: query, polled: time.Now()}
	f.feed, f.stop = api.logs.fan.subscribe()
	api.open[id] = f
	return id, nil
}

// UninstallFilter ends a filter. It returns false if there is none.
func (api *filterAPI) UninstallFilter(id gethrpc.ID) bool {
	api.mu.Lock()
	defer api.mu.Unlock()
	f, ok := api.open[id]
	if ok {
		f.stop()
		delete(api.open, id)
	}
	return ok
}

// GetFilterChanges returns what a filter has gathered since it was asked last: logs or hashes of blocks.
func (api *filterAPI) GetFilterChanges(id gethrpc.ID) (any, error) {
	f, events, err := api.take(id)
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

// take empties a filter's feed.
func (api *filterAPI) take(id gethrpc.ID) (f *filter, events []chain.HeadEvent, err error) {
	api.mu.Lock()
	defer api.mu.Unlock()
	f, ok := api.open[id]
	if !ok {
		return nil, nil, errFilterNotFound
	}
	f.polled = time.Now()
	for {
		select {
		case ev, ok := <-f.feed:
			if !ok { // it fell behind: what it has is not all
				delete(api.open, id)
				return nil, nil, errFilterNotFound
			}
			events = append(events, ev)
		default:
			return f, events, nil
		}
	}
}

// GetFilterLogs returns all logs that a filter of logs describes, as GetLogs does.
func (api *filterAPI) GetFilterLogs(ctx context.Context, id gethrpc.ID) ([]*types.Log, error) {
	api.mu.Lock()
	f, ok := api.open[id]
	api.mu.Unlock()
	if !ok || f.query == nil {
		return nil, errFilterNotFound
	}
	return api.logs.GetLogs(ctx, *f.query)
}

// newHeaders are the blocks that became canonical, the newest maxHeads of them.
func newHeaders(ev chain.HeadEvent) []*types.Header {
	headers := ev.Reorg.New
	if len(headers) == 0 { // a move back to an ancestor
		headers = []*types.Header{ev.Block.Header()}
	}
	return headers[max(0, len(headers)-maxHeads):]
}

// changedLogs are the logs that match, of blocks that are canonical no more, with removed set, and then of those that became it.
func changedLogs(ev chain.HeadEvent, query filters.FilterCriteria) (logs []*types.Log) {
	for _, log := range slices.Concat(ev.Removed, ev.Logs) {
		if logMatches(log, query) && inRange(log, query) {
			logs = append(logs, log)
		}
	}
	return logs
}
