// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// TestPendingTransactionFilter: a filter returns the hashes of new pending transactions, or whole ones, and shares the
// limit of the others.
func TestPendingTransactionFilter(t *testing.T) {
	n := newFakeNode(t, func(cfg *Config, _ *Backend) { cfg.Subscriptions.Filters = 2 })
	api := newFilterAPI(&logAPI{b: n.b, heads: n.heads, pending: n.pending})
	whole := true
	hashes, err := api.NewPendingTransactionFilter(nil)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := api.NewPendingTransactionFilter(&whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.NewPendingTransactionFilter(nil); err == nil || !strings.Contains(err.Error(), "rpc.max-filters") {
		t.Errorf("a filter too many: %v", err)
	}
	tx := mainChain().blocks[12].Transactions()[0]
	n.pending.add(feedEvent{txs: []*types.Transaction{tx}})
	got, err := api.GetFilterChanges(hashes)
	if list, ok := got.([]any); err != nil || !ok || len(list) != 1 || list[0] != tx.Hash() {
		t.Errorf("hashes: %v, %v", got, err)
	}
	got, err = api.GetFilterChanges(objects)
	list, ok := got.([]any)
	if err != nil || !ok || len(list) != 1 {
		t.Fatalf("objects: %v, %v", got, err)
	}
	if object, ok := list[0].(*transactionObject); !ok || object.Hash != tx.Hash() || object.BlockHash != nil {
		t.Errorf("object: %+v", list[0])
	}
	if got, err := api.GetFilterChanges(hashes); err != nil || len(got.([]any)) != 0 {
		t.Errorf("polled again: %v, %v", got, err)
	}
}

// TestPendingSubscription: a connection hears of heads and of pending transactions, within one limit.
func TestPendingSubscription(t *testing.T) {
	n := newFakeNode(t, func(cfg *Config, b *Backend) {
		cfg.Subscriptions.PerConnection = 2
		withRunningPool(t)(cfg, b)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = n.pending.runPending(ctx, n.b.Pool) }()
	client := n.client(t)
	hashes, heads := make(chan common.Hash, 4), make(chan *types.Header, 4)
	if _, err := client.EthSubscribe(ctx, hashes, "newPendingTransactions"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.EthSubscribe(ctx, heads, "newHeads"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.EthSubscribe(ctx, hashes, "newPendingTransactions", true); err == nil || !strings.Contains(err.Error(), "too many subscriptions") {
		t.Errorf("a subscription too many: %v", err)
	}
	tx := mainChain().blocks[12].Transactions()[0]
	n.pending.add(feedEvent{txs: []*types.Transaction{tx}})
	n.heads.add(oneHead())
	if got := <-hashes; got != tx.Hash() {
		t.Errorf("announced %x", got)
	}
	if got := <-heads; got == nil {
		t.Error("no head")
	}
}

// TestSuggestedTip: the suggestion is never below what the pool accepts, nor zero after empty blocks.
func TestSuggestedTip(t *testing.T) {
	for _, least := range []uint64{1, params.GWei} {
		n := newFakeNode(t, func(cfg *Config, _ *Backend) { cfg.MinTip = least })
		if tips := n.b.sampleTips(0, nil); len(tips) != 0 {
			t.Errorf("%d tips at genesis", len(tips))
		}
		if tip := n.b.suggestTip(); !tip.IsUint64() || tip.Uint64() < least || tip.Sign() == 0 {
			t.Errorf("suggested %d, the pool accepts %d", tip, least)
		}
	}
}
