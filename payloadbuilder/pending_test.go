// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestPending: the pending block has the pool's transactions on the head; it is built again for another head, and after a while.
func TestPending(t *testing.T) {
	for fork, config := range configs() {
		t.Run(fork, func(t *testing.T) {
			c, txs := newTestChain(config), new(listPool)
			b := newTestBuilder(t, c, txs, func(cfg *Config) { cfg.Settings.ExtraData = []byte("extra") })
			pending := func() (*types.Block, types.Receipts) {
				t.Helper()
				block, receipts, err := b.Pending(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return block, receipts
			}
			txs.set(transfer(c, 1, 0, 3), transfer(c, 2, 0, 4))
			first, receipts := pending()
			header := first.Header()
			if len(first.Transactions()) != 2 || len(receipts) != 2 || first.ParentHash() != c.head.Hash() || string(header.Extra) != "extra" {
				t.Fatalf("%d transactions, %d receipts, header %+v", len(first.Transactions()), len(receipts), header)
			}
			if header.ParentBeaconRoot != nil || header.Coinbase != (common.Address{}) || header.MixDigest != (common.Hash{}) || first.Withdrawals() == nil || header.Time <= c.head.Time {
				t.Errorf("header %+v", header)
			}
			txs.set(transfer(c, 1, 0, 3))
			if again, _ := pending(); again.Hash() != first.Hash() {
				t.Error("built again at once")
			}
			b.pending.at = time.Now().Add(-2 * pendingAge)
			if later, _ := pending(); len(later.Transactions()) != 1 {
				t.Errorf("%d transactions later", len(later.Transactions()))
			}
			envelope, err := b.BuildOnce(t.Context(), attributesOn(c, c.head), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			block := blockOf(t, envelope.ExecutionPayloadEnvelope, &common.Hash{9})
			c.adopt(t, block)
			txs.set(transfer(c, 1, 1, 3))
			if next, _ := pending(); next.ParentHash() != block.Hash() || len(next.Transactions()) != 1 {
				t.Errorf("on the next head: parent %x, %d transactions", next.ParentHash(), len(next.Transactions()))
			}
		})
	}
}

// TestPendingWithoutState: where the state of the empty block is missing, the error says so.
func TestPendingWithoutState(t *testing.T) {
	c := newTestChain(configs()["osaka"])
	b := newTestBuilder(t, c, new(listPool), func(cfg *Config) { cfg.State = func(common.Hash) State { return State{Store: emptyStore{}} } })
	if _, _, err := b.Pending(t.Context()); !errors.Is(err, ErrNotReady) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Pending(ctx); err == nil {
		t.Error("no error")
	}
}

// emptyStore has nothing.
type emptyStore struct{}

var _ trie.Store = emptyStore{}

func (emptyStore) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, nil }
func (emptyStore) Code(common.Hash) ([]byte, error)                      { return nil, nil }
