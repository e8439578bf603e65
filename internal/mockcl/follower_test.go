// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl_test

import (
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

// node answers newPayload as told and remembers what it was asked.
type node struct {
	mu      sync.Mutex
	answers []string // of newPayload in order; the last one stays
	asked   []uint64 // block numbers of newPayload
	heads   []common.Hash
}

func (n *node) NewPayloadV4(data engine.ExecutableData, _ []common.Hash, _ *common.Hash, _ []hexutil.Bytes) (engine.PayloadStatusV1, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, data.Number)
	status := n.answers[0]
	if len(n.answers) > 1 {
		n.answers = n.answers[1:]
	}
	return engine.PayloadStatusV1{Status: status}, nil
}

func (n *node) ForkchoiceUpdatedV3(state engine.ForkchoiceStateV1, _ *engine.PayloadAttributes) engine.ForkChoiceResponse {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heads = append(n.heads, state.HeadBlockHash)
	return engine.ForkChoiceResponse{PayloadStatus: engine.PayloadStatusV1{Status: engine.SYNCING}}
}

// follow publishes blocks 1..count to a node and returns what was recorded.
func follow(t *testing.T, n *node, slot time.Duration, count uint64) []mockcl.Record {
	t.Helper()
	server := gethrpc.NewServer()
	if err := server.RegisterName("engine", n); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	client, err := mockcl.Dial(t.Context(), "node", web.URL, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var records []mockcl.Record
	f := mockcl.NewFollower(client, slot, func(r mockcl.Record) { records = append(records, r) }, discard())
	for i := range count {
		hash := common.Hash{byte(i + 1)}
		f.Publish(&mockcl.Payload{
			Data: engine.ExecutableData{
				Withdrawals: []*types.Withdrawal{}, // none before Shanghai
				Number:      i + 1, BlockHash: hash, LogsBloom: make([]byte, 256), ExtraData: []byte{},
				BaseFeePerGas: common.Big1, Transactions: [][]byte{},
			},
			Forkchoice: engine.ForkchoiceStateV1{HeadBlockHash: hash},
		})
	}
	f.End()
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return records
}

func TestFollowerToleratesSyncing(t *testing.T) {
	n := &node{answers: []string{engine.SYNCING, engine.ACCEPTED, engine.VALID}}
	records := follow(t, n, time.Hour, 3)
	if len(records) != 3 {
		t.Fatalf("%+v", records)
	}
	for i, r := range records {
		last := i == 2
		if r.Number != uint64(i+1) || r.Status != engine.VALID || r.Implied == last || (r.Syncing == 1) == last {
			t.Errorf("record %+v", r)
		}
	}
	if len(n.heads) != 3 || n.heads[0] != (common.Hash{1}) {
		t.Errorf("the node was told of the heads %v: SYNCING is to be followed optimistically", n.heads)
	}
}

func TestFollowerAsksAgainASlotLater(t *testing.T) {
	n := &node{answers: []string{engine.SYNCING, engine.SYNCING, engine.VALID}}
	records := follow(t, n, 10*time.Millisecond, 1)
	if len(records) != 1 || records[0].Status != engine.VALID || records[0].Syncing != 2 || records[0].Implied {
		t.Errorf("%+v", records)
	}
	if records[0].Latency < 20*time.Millisecond {
		t.Errorf("latency %v", records[0].Latency)
	}
}

func TestFollowerReportsInvalid(t *testing.T) {
	n := &node{answers: []string{engine.VALID, engine.SYNCING, engine.INVALID, engine.VALID}}
	var got []string
	for _, r := range follow(t, n, time.Hour, 4) {
		got = append(got, r.Status)
	}
	want := []string{engine.VALID, engine.SYNCING, engine.INVALID, engine.VALID}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if len(n.heads) != 3 {
		t.Errorf("%d fork choices: an invalid block must not become the head", len(n.heads))
	}
}
