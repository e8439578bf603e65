// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// BenchmarkGetLogs searches 3,000 blocks, in go-ethereum and in ours, by the index of each and by our blooms. The clients are in
// this process, so JSON is part of it.
func BenchmarkGetLogs(b *testing.B) {
	o := newOsakaChain(b, 3000)
	index, wait := o.index(b)
	wait()
	o.waitForGeth(b)
	address, topic, commonest := o.samples()
	ours, blooms := o.ours(b, index, 0), o.ours(b, nil, 0)
	for _, query := range []struct {
		name string
		call rpcCall
	}{
		{"address", rpcCall{"eth_getLogs", []any{object{"fromBlock": "0x0", "address": address}}}},
		{"topic", rpcCall{"eth_getLogs", []any{object{"fromBlock": "0x0", "topics": []any{topic}}}}},
		{"commonest", rpcCall{"eth_getLogs", []any{object{"fromBlock": "0x0", "address": commonest}}}},
		{"none", rpcCall{"eth_getLogs", []any{object{"fromBlock": "0x0", "address": "0x0000000000000000000000000000000000000bad"}}}},
	} {
		if want, got := response(o.geth, query.call), response(ours, query.call); got != want {
			b.Fatalf("%s: got %.300s, want %.300s", query.name, got, want)
		}
		for name, client := range map[string]interface {
			CallContext(ctx context.Context, result any, method string, args ...any) error
		}{"geth": o.geth, "ours": ours, "blooms": blooms} {
			b.Run(query.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					var raw json.RawMessage
					if err := client.CallContext(b.Context(), &raw, query.call.method, query.call.params...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// waitForGeth waits until go-ethereum has indexed its chain.
func (o *osakaChain) waitForGeth(b *testing.B) {
	b.Helper()
	for {
		backend := o.gethNode.APIBackend.NewMatcherBackend()
		at, err := backend.SyncLogIndex(b.Context())
		backend.Close()
		if err != nil {
			b.Fatal(err)
		}
		if at.IndexedBlocks.Count() == uint64(len(o.receipts)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// samples are an address and a topic that few logs have, and the address that most have.
func (o *osakaChain) samples() (rare common.Address, topic common.Hash, commonest common.Address) {
	addresses, topics := make(map[common.Address]int), make(map[common.Hash]int)
	var order []*types.Log
	for _, receipts := range o.receipts {
		for _, receipt := range receipts {
			for _, log := range receipt.Logs {
				order = append(order, log)
				addresses[log.Address]++
				if len(log.Topics) > 0 {
					topics[log.Topics[0]]++
				}
			}
		}
	}
	rare, topic, commonest = order[0].Address, order[0].Topics[0], order[0].Address
	for _, log := range order {
		if addresses[log.Address] < addresses[rare] {
			rare = log.Address
		}
		if addresses[log.Address] > addresses[commonest] {
			commonest = log.Address
		}
		if len(log.Topics) > 0 && topics[log.Topics[0]] < topics[topic] {
			topic = log.Topics[0]
		}
	}
	return rare, topic, commonest
}
