// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
)

// sendingPool is a pool of which only Send is called.
type sendingPool struct {
	Pool
	send func(*types.Transaction) error
}

func (p sendingPool) Send(_ context.Context, tx *types.Transaction) error { return p.send(tx) }

// TestSendRawTransactionSync: the receipt comes with the block, or an error with the hash after the time that the caller
// gives, which is bounded. An error of the pool comes at once.
func TestSendRawTransactionSync(t *testing.T) {
	block := mainChain().blocks[mainChainBlocks]
	tx := block.Transactions()[0]
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	run := func(milliseconds uint64, included bool, refused error) (jsonObject, time.Duration, error) {
		var (
			receipt jsonObject
			took    time.Duration
			failure error
		)
		synctest.Test(t, func(t *testing.T) {
			var n *fakeNode
			send := func(*types.Transaction) error {
				if included {
					n.chain.head = mainChainBlocks
					n.heads.add(feedEvent{})
				}
				return refused
			}
			n = newFakeNode(t, func(c *Config, b *Backend) { c.Log, b.Pool = nil, sendingPool{send: send} })
			n.chain.head = mainChainBlocks - 1
			api := &submitSyncAPI{n.b, n.heads, newLimiter("waiters", 1)}
			start := time.Now()
			receipt, failure = api.SendRawTransactionSync(t.Context(), raw, &milliseconds)
			took = time.Since(start)
		})
		return receipt, took, failure
	}
	if receipt, took, err := run(0, true, nil); err != nil || took > 0 || receipt["transactionHash"] != tx.Hash() {
		t.Errorf("included: %v after %v, %v", receipt, took, err)
	}
	for milliseconds, want := range map[uint64]time.Duration{0: defaultReceiptWait, 1500: 1500 * time.Millisecond, 1 << 60: maxReceiptWait} {
		_, took, err := run(milliseconds, false, nil)
		var timeout *receiptTimeoutError
		if !errors.As(err, &timeout) || timeout.ErrorData() != tx.Hash().Hex() || timeout.ErrorCode() != 4 || took != want {
			t.Errorf("%d ms: %v after %v, want %v", milliseconds, err, took, want)
		}
	}
	if _, took, err := run(0, false, errInjected); !errors.Is(err, errInjected) || took > 0 {
		t.Errorf("refused: %v after %v", err, took)
	}
}

// Transactions without a chain ID are taken only if the configuration says so.
func TestUnprotectedTransactions(t *testing.T) {
	tx := types.MustSignNewTx(userKey, types.HomesteadSigner{}, &types.LegacyTx{Gas: 21000, GasPrice: big.NewInt(1e9), To: &counterAddr})
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, taken := range []bool{false, true} {
		sent := false
		n := newFakeNode(t, func(c *Config, b *Backend) {
			c.Unprotected = taken
			b.Pool = sendingPool{send: func(*types.Transaction) error { sent = true; return nil }}
		})
		if _, err := (&submitAPI{n.b}).SendRawTransaction(t.Context(), raw); (err == nil) != taken || sent != taken {
			t.Errorf("wanted: %v, sent: %v, %v", taken, sent, err)
		}
	}
}
