package rpc

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
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

// TestFilterExpiry: filters that are not polled expire, and so does one that missed an event.
func TestFilterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newHeadFeed()
		api := newFilterAPI(&logAPI{heads: feed})
		for range maxFilters {
			if _, err := api.NewBlockFilter(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := api.NewBlockFilter(); err == nil {
			t.Error("one too many")
		}
		time.Sleep(filterExpiry + time.Second)
		id, err := api.NewBlockFilter()
		if err != nil || len(api.open) != 1 || len(feed.mu.subscribers) != 1 {
			t.Errorf("%v, %d filters, %d subscribers", err, len(api.open), len(feed.mu.subscribers))
		}
		for range subscriberBuffer + 1 {
			feed.broadcast(chain.HeadEvent{Block: mainChain().blocks[12]})
		}
		if _, err := api.GetFilterChanges(id); !errors.Is(err, errFilterNotFound) || len(api.open) != 0 {
			t.Errorf("%v, %d filters", err, len(api.open))
		}
	})
}

// TestSlowSubscriber: a slow subscriber is dropped, and the feed does not wait for it.
func TestSlowSubscriber(t *testing.T) {
	feed := newHeadFeed()
	slow, stop := feed.subscribe()
	defer stop()
	for range subscriberBuffer + 1 {
		feed.broadcast(chain.HeadEvent{})
	}
	count := 0
	for range slow {
		count++
	}
	if count != subscriberBuffer {
		t.Errorf("got %d events before the end", count)
	}
	feed.close()
	if late, _ := feed.subscribe(); late != nil {
		if _, ok := <-late; ok {
			t.Error("an event after the end")
		}
	}
}
