// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// absentStates are states whose reads fail.
type absentStates struct{ err error }

func (s absentStates) Window() uint64 { return 128 }

func (s absentStates) Open(ctx context.Context, root common.Hash) (StateDatabase, error) {
	return trie.Open(ctx, root, noStore{}, s), nil
}

func (s absentStates) FetchNode(context.Context, trie.Fault) ([]byte, error)  { return nil, s.err }
func (s absentStates) FetchCode(context.Context, common.Hash) ([]byte, error) { return nil, s.err }

// TestAbsentState: the error code says whether a state is gone, cannot be had now, or could not be read.
func TestAbsentState(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("%w: %w", ErrNotKept, trie.ErrUnavailable):         "error 4444",
		fmt.Errorf("none of 3 peers has it: %w", trie.ErrUnavailable): "error -32002",
		errInjected: "error -32000",
	} {
		client := newFakeNode(t, func(_ *Config, b *Backend) { b.States = absentStates{err} }).client(t)
		for _, c := range stateCalls() {
			if got := response(client, c); !strings.HasPrefix(got, want) || !strings.Contains(got, err.Error()) {
				t.Errorf("%s: %s, want %s", c, got, want)
			}
		}
	}
}

type collectingHistory bool

func (c collectingHistory) Collecting() bool { return bool(c) }

// TestTransactionIndexing: while old blocks are missing, an unknown transaction is go-ethereum's error, unless it is pooled.
func TestTransactionIndexing(t *testing.T) {
	known := mainChain().blocks[4].Transactions()[0].Hash()
	for _, collecting := range []bool{false, true} {
		client := newFakeNode(t, func(_ *Config, b *Backend) { b.History = collectingHistory(collecting) }).client(t)
		for method, absent := range map[string]string{
			"eth_getTransactionByHash": "null", "eth_getTransactionReceipt": "null", "eth_getRawTransactionByHash": `"0x"`, "debug_getRawTransaction": `"0x"`,
			"trace_transaction": "null", "debug_traceTransaction": "error -32000 <nil>: transaction not found",
		} {
			if collecting {
				const text = "transaction indexing is in progress"
				absent = "error -32000 " + text + ": " + text
			}
			if got := response(client, rpcCall{method, []any{common.Hash{1}}}); got != absent {
				t.Errorf("%s, collecting %v: %s, want %s", method, collecting, got, absent)
			}
			if got := response(client, rpcCall{method, []any{known}}); got == "null" || strings.HasPrefix(got, "error") {
				t.Errorf("%s of a stored transaction: %.80s", method, got)
			}
		}
	}
}
