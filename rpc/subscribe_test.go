// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// TestSubscriptions: subscribers get heads, logs, and the removed logs of a reorg.
func TestSubscriptions(t *testing.T) {
	n := newFakeNode(t, allEndpoints(t))
	stop := n.start(t)
	for _, url := range []string{n.Addrs().IPC, "ws://" + n.Addrs().WS} {
		client := dial(t, url)
		heads, logs := make(chan *types.Header, 8), make(chan types.Log, 8)
		headSub, err := client.EthSubscribe(t.Context(), heads, "newHeads")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.EthSubscribe(t.Context(), logs, "logs", object{"address": counterAddr}); err != nil {
			t.Fatal(err)
		}
		w := mainChain()
		two := []*types.Header{w.blocks[11].Header(), w.blocks[12].Header()}
		taken := *w.receipts[3][0].Logs[0]
		taken.Removed = true
		other := &types.Log{Address: readerAddr, Topics: []common.Hash{}}
		n.chain.feed.Send(chain.HeadEvent{Block: w.blocks[12], Reorg: chain.Reorg{New: two}, Removed: []*types.Log{&taken}, Logs: append([]*types.Log{other}, w.receipts[12][0].Logs...)})
		for _, want := range two {
			if got := <-heads; got.Hash() != want.Hash() {
				t.Errorf("head %d, want %d", got.Number, want.Number)
			}
		}
		if got := <-logs; !got.Removed || got.BlockNumber != 3 {
			t.Errorf("%+v", got)
		}
		if got := <-logs; got.Removed || got.BlockNumber != 12 {
			t.Errorf("%+v", got)
		}
		headSub.Unsubscribe()
	}
	client := dial(t, "http://"+n.Addrs().HTTP)
	if _, err := client.EthSubscribe(t.Context(), make(chan any), "newHeads"); err == nil {
		t.Error("a subscription over HTTP")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestFilters: a poll returns the blocks or logs since the last one; a removed filter is unknown.
func TestFilters(t *testing.T) {
	n := newFakeNode(t, allEndpoints(t))
	stop := n.start(t)
	client := dial(t, "http://"+n.Addrs().HTTP)
	var blocks, logs gethrpc.ID
	for id, call := range map[*gethrpc.ID][]any{&blocks: {"eth_newBlockFilter"}, &logs: {"eth_newFilter", object{"address": counterAddr, "fromBlock": "0x1"}}} {
		if err := client.Call(id, call[0].(string), call[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	w := mainChain()
	taken := *w.receipts[3][0].Logs[0]
	taken.Removed = true
	n.chain.feed.Send(chain.HeadEvent{
		Block: w.blocks[12], Reorg: chain.Reorg{New: []*types.Header{w.blocks[11].Header(), w.blocks[12].Header()}},
		Removed: []*types.Log{&taken}, Logs: append([]*types.Log{{Address: readerAddr, Topics: []common.Hash{}}}, w.receipts[12][0].Logs...),
	})
	var hashes []common.Hash
	for len(hashes) == 0 && !t.Failed() { // the event is on its way
		if err := client.Call(&hashes, "eth_getFilterChanges", blocks); err != nil {
			t.Error(err)
		}
	}
	if want := []common.Hash{w.blocks[11].Hash(), w.blocks[12].Hash()}; !slices.Equal(hashes, want) {
		t.Errorf("blocks %x, want %x", hashes, want)
	}
	var changes, again, all []types.Log
	for method, into := range map[string]*[]types.Log{"eth_getFilterLogs": &all, "eth_getFilterChanges": &changes} {
		if err := client.Call(into, method, logs); err != nil {
			t.Error(method, err)
		}
	}
	if len(changes) != 2 || !changes[0].Removed || changes[0].BlockNumber != 3 || changes[1].BlockNumber != 12 {
		t.Errorf("changes %+v", changes)
	}
	if len(all) < 12 || all[0].BlockNumber != 1 {
		t.Errorf("all logs %+v", all)
	}
	if err := client.Call(&again, "eth_getFilterChanges", logs); err != nil || again == nil || len(again) > 0 {
		t.Errorf("again: %v, %v", again, err)
	}
	var gone bool
	if err := client.Call(&gone, "eth_uninstallFilter", blocks); err != nil || !gone {
		t.Error("not uninstalled", err)
	}
	for method, id := range map[string]gethrpc.ID{"eth_getFilterChanges": blocks, "eth_getFilterLogs": "0x1"} {
		if err := client.Call(new(any), method, id); err == nil || err.Error() != errFilterNotFound.Error() {
			t.Errorf("%s: %v", method, err)
		}
	}
	if err := client.Call(new(any), "eth_newFilter", object{"blockHash": common.Hash{1}}); err == nil {
		t.Error("a filter for one block")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestFilterExpiry: filters that are not polled expire, and so does one that missed an event. Their events are freed.
func TestFilterExpiry(t *testing.T) {
	mainChain()
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log, c.Subscriptions.Filters = nil, 3 })
		feed := n.heads
		api := newFilterAPI(&logAPI{b: n.b, heads: feed})
		for range 3 {
			if _, err := api.NewBlockFilter(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := api.NewBlockFilter()
		wantLimit(t, err, "too many filters on this node (limit 3, set by --rpc.max-filters;")
		feed.add(oneHead())
		time.Sleep(filterExpiry + time.Second)
		synctest.Wait()
		if len(api.open) != 0 || api.slots != 0 || feed.mu.readers != 0 || len(feed.mu.events) != 0 {
			t.Errorf("%d filters, %d slots, %d readers, %d events", len(api.open), api.slots, feed.mu.readers, len(feed.mu.events))
		}
		id, err := api.NewBlockFilter()
		if err != nil {
			t.Fatal(err)
		}
		for range maxFeedEvents + 1 {
			feed.add(oneHead())
		}
		if len(feed.mu.events) != maxFeedEvents {
			t.Errorf("%d events queued", len(feed.mu.events))
		}
		if _, err := api.GetFilterChanges(id); !errors.Is(err, errFilterNotFound) || len(api.open) != 0 || len(feed.mu.events) != 0 {
			t.Errorf("%v, %d filters, %d events", err, len(api.open), len(feed.mu.events))
		}
		wide := filters.FilterCriteria{Topics: [][]common.Hash{make([]common.Hash, 250)}}
		if _, err := api.NewFilter(wide); err != nil || api.slots != 3 {
			t.Errorf("%v, a filter with 250 topics takes %d slots", err, api.slots)
		}
		_, err = api.NewBlockFilter()
		wantLimit(t, err, "too many filters on this node")
	})
}

// wantLimit checks an error of a limit.
func wantLimit(t *testing.T, err error, text string) {
	t.Helper()
	var coded gethrpc.Error
	if !errors.As(err, &coded) || coded.ErrorCode() != -32005 || !strings.HasPrefix(err.Error(), text) {
		t.Errorf("got %v, want error -32005 %s", err, text)
	}
}

func executed(common.Hash) chain.Status { return chain.Executed }

func oneHead() feedEvent {
	return newHeadEvent(chain.HeadEvent{Block: mainChain().blocks[12]}, executed)
}

// TestFilterInParts: a poll returns no more logs than one response may have. The next one returns the rest.
func TestFilterInParts(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Logs.Results = 3 })
	api := newFilterAPI(&logAPI{b: n.b, heads: n.heads})
	id, err := api.NewFilter(filters.FilterCriteria{})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		n.heads.add(feedEvent{logs: []*types.Log{{}, {}}})
	}
	for i, want := range []int{4, 4, 2, 0} {
		changes, err := api.GetFilterChanges(id)
		if logs, ok := changes.([]*types.Log); err != nil || !ok || len(logs) != want {
			t.Errorf("poll %d: %v, %v, want %d logs", i, changes, err, want)
		}
	}
}

// TestHeadFeed: all readers get all events in order. An event is freed once the last has read it.
func TestHeadFeed(t *testing.T) {
	feed := newEventFeed(maxFeedEvents, maxFeedBytes)
	feed.add(oneHead())
	if len(feed.mu.events) != 0 || feed.end() != 1 {
		t.Error("an event that nobody reads is queued")
	}
	first, second := feed.open(), feed.open()
	_, _, changed, err := first.read()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		feed.add(oneHead())
	}
	select {
	case <-changed:
	default:
		t.Error("the reader is not woken")
	}
	late := feed.open()
	for want := range uint64(3) {
		if ev, number, _, err := first.read(); ev == nil || number != want+1 || err != nil {
			t.Errorf("event %d, %v, want %d", number, err, want+1)
		}
	}
	if ev, _, _, err := late.read(); ev != nil || err != nil {
		t.Errorf("a late reader got %v, %v", ev, err)
	}
	if len(feed.mu.events) != 3 {
		t.Errorf("%d events are queued, want 3 that one reader has not read", len(feed.mu.events))
	}
	if _, number, _, err := second.read(); number != 1 || err != nil || len(feed.mu.events) != 2 {
		t.Errorf("event %d, %v, %d events are queued", number, err, len(feed.mu.events))
	}
	second.close()
	if len(feed.mu.events) != 0 || feed.mu.bytes != 0 {
		t.Errorf("%d events of %d bytes are queued for nobody", len(feed.mu.events), feed.mu.bytes)
	}
	big := feedEvent{logs: []*types.Log{{Data: make([]byte, maxFeedBytes/4)}}}
	for range 9 {
		feed.add(big)
	}
	if len(feed.mu.events) != 3 {
		t.Errorf("%d large events are queued", len(feed.mu.events))
	}
	if _, _, _, err := first.read(); !errors.Is(err, errReaderBehind) {
		t.Errorf("a reader that is behind: %v", err)
	}
	first.close()
	late.close()
	feed.close()
	if len(feed.mu.events) != 0 || feed.mu.readers != 0 || feed.mu.bytes != 0 {
		t.Errorf("%d events of %d bytes and %d readers are left", len(feed.mu.events), feed.mu.bytes, feed.mu.readers)
	}
	if _, _, _, err := feed.open().read(); !errors.Is(err, errFeedClosed) {
		t.Errorf("a reader of a closed feed: %v", err)
	}
}

// TestPivotAnnouncesExecutedBlocks: of the blocks that become canonical with a pivot, subscribers hear of the executed
// ones only. The others are headers that the node has of BLOCKHASH, and their transactions were never seen.
func TestPivotAnnouncesExecutedBlocks(t *testing.T) {
	w := mainChain()
	var headers []*types.Header
	for _, block := range w.blocks[1:13] {
		headers = append(headers, block.Header())
	}
	last := w.blocks[12]
	event := newHeadEvent(chain.HeadEvent{Block: last, Reorg: chain.Reorg{New: headers}}, func(hash common.Hash) chain.Status {
		if hash == last.Hash() {
			return chain.Executed
		}
		return chain.Unknown
	})
	if len(event.headers) != 1 || event.headers[0].Hash() != last.Hash() || len(headers) != 12 {
		t.Errorf("announced %d of %d headers", len(event.headers), len(headers))
	}
}
