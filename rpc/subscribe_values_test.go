// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/event"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// TestReceiptSubscription: the receipts of a new block are announced as go-ethereum announces them.
func TestReceiptSubscription(t *testing.T) {
	w := mainChain()
	short := *w
	short.blocks = w.blocks[:mainChainBlocks]
	stack, backend := runGeth(t, &short)
	n := newFakeNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = n.heads.runHeads(ctx, n.chain, n.chain.Status) }()
	geth, ours := stack.Attach(), n.client(t)
	last := w.blocks[mainChainBlocks]
	tx := last.Transactions()[1].Hash()
	var got, want []chan json.RawMessage
	for _, params := range [][]any{{}, {nil}, {object{}}, {object{"transactionHashes": nil}}, {object{"transactionHashes": []common.Hash{tx, {1}}}}} {
		params = append([]any{"transactionReceipts"}, params...)
		got, want = append(got, announcements(t, ours, params)), append(want, announcements(t, geth, params))
	}
	announcements(t, ours, []any{"transactionReceipts", object{"transactionHashes": []common.Hash{{1}}}}) // nothing comes
	if _, err := backend.BlockChain().InsertChain([]*types.Block{last}); err != nil {
		t.Fatal(err)
	}
	n.chain.feed.Send(chain.HeadEvent{Block: last, Reorg: chain.Reorg{New: []*types.Header{last.Header()}}})
	price := regexp.MustCompile(`"effectiveGasPrice":"0x[0-9a-f]+"`) // go-ethereum announces null
	for i := range got {
		got, want := string(<-got[i]), string(<-want[i])
		if whole := response(geth, rpcCall{"eth_getBlockReceipts", []any{"latest"}}); i == 0 && got != whole {
			t.Errorf("got %s\nwant %s", got, whole)
		}
		if got = price.ReplaceAllString(got, `"effectiveGasPrice":null`); got != want {
			t.Errorf("%d\n got %s\nwant %s", i, got, want)
		}
	}
	many := object{"transactionHashes": make([]common.Hash, maxReceiptHashes+1)}
	for name, client := range map[string]*gethrpc.Client{"geth": geth, "ours": ours} {
		if _, err := client.EthSubscribe(t.Context(), make(chan any), "transactionReceipts", many); err == nil || err.Error() != errTooManyReceiptHashes.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func announcements(t *testing.T, client *gethrpc.Client, params []any) chan json.RawMessage {
	t.Helper()
	ch := make(chan json.RawMessage, 8)
	if _, err := client.EthSubscribe(t.Context(), ch, params...); err != nil {
		t.Fatal(params, err)
	}
	return ch
}

// changingBeam is a sync whose state changes.
type changingBeam struct {
	fakeBeam
	ready atomic.Bool
}

func (b *changingBeam) Progress() Progress {
	return Progress{Syncing: !b.ready.Load(), Start: 1, Current: 2, Highest: 3}
}

// TestSyncingSubscription: a subscriber hears what holds, the progress every minute, and changes at once.
func TestSyncingSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sync := new(changingBeam)
		n := newFakeNode(t, func(_ *Config, b *Backend) { b.Beam = sync })
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = n.syncs.runSyncing(ctx, sync) }()
		client := n.client(t)
		defer func() {
			cancel()
			client.Close()
			synctest.Wait()
		}()
		begin := time.Now()
		states := announcements(t, client, []any{"syncing"})
		progress := `{"syncing":true,"status":{"StartingBlock":1,"CurrentBlock":2,"HighestBlock":3,`
		for _, after := range []time.Duration{0, syncInterval, 2 * syncInterval} {
			if got := string(<-states); !strings.HasPrefix(got, progress) || time.Since(begin).Round(syncPoll) != after {
				t.Errorf("after %v: %s", time.Since(begin), got)
			}
		}
		sync.ready.Store(true)
		if got := string(<-states); got != "false" || time.Since(begin) > 2*syncInterval+2*syncPoll {
			t.Errorf("after %v: %s", time.Since(begin), got)
		}
		if got := string(<-announcements(t, client, []any{"syncing"})); got != "false" {
			t.Error(got)
		}
		time.Sleep(2 * syncInterval)
		sync.ready.Store(false)
		if got := string(<-states); !strings.HasPrefix(got, progress) {
			t.Error(got)
		}
	})
}

// TestPeerEvents: events of peers are announced in go-ethereum's form.
func TestPeerEvents(t *testing.T) {
	network := fakeNetwork{new(event.FeedOf[*gethp2p.PeerEvent])}
	n := newFakeNode(t, allEndpoints(t), func(_ *Config, b *Backend) { b.Network = network })
	n.start(t)
	client := dial(t, n.Addrs().IPC)
	events := make(chan *gethp2p.PeerEvent, 8)
	if _, err := client.Subscribe(t.Context(), "admin", events, "peerEvents"); err != nil {
		t.Fatal(err)
	}
	sent := &gethp2p.PeerEvent{Type: gethp2p.PeerEventTypeDrop, Error: "useless", RemoteAddress: "10.0.0.1:1"}
	for network.events.Send(sent) == 0 { // until the server has subscribed
		time.Sleep(time.Millisecond)
	}
	if got := <-events; *got != *sent {
		t.Errorf("%+v", got)
	}
}

// TestBlockAccessList: the list of a block that has one, null for an unknown block, an error for older blocks.
func TestBlockAccessList(t *testing.T) {
	text := `[{"address":"0x00000000000000000000000000000000000000c0","storageChanges":[],"storageReads":["0x1"],"balanceChanges":[{"blockAccessIndex":"0x1","postBalance":"0x2"}],"nonceChanges":[],"codeChanges":[]}]`
	var list bal.BlockAccessList
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	n := newFakeNode(t)
	w := *mainChain()
	w.blocks = slices.Clone(w.blocks)
	header := w.blocks[12].Header()
	hash := list.Hash()
	header.BlockAccessListHash = &hash
	w.blocks[12] = types.NewBlockWithHeader(header).WithBody(*w.blocks[12].Body()).WithAccessList(&list)
	older := types.CopyHeader(header)
	older.Extra = []byte{1}
	w.blocks[11] = types.NewBlockWithHeader(older)
	n.chain.w = &w
	client := n.client(t)
	for at, want := range map[any]string{
		"latest": text, w.blocks[12].Hash(): text, "0x99": "null", common.Hash{1}: "null",
		"0xb": "error 4444 <nil>: pruned history unavailable", "0xa": "error -32000 <nil>: block 10 has no access list: it is from before Amsterdam",
	} {
		if got := response(client, rpcCall{"eth_getBlockAccessList", []any{at}}); got != want {
			t.Errorf("%v: %s", at, got)
		}
	}
}
