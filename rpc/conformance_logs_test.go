// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/logindex"
)

// osakaChain is the recorded chain of 3,000 blocks, in go-ethereum and in ours.
type osakaChain struct {
	geth     *gethrpc.Client
	gethNode *eth.Ethereum
	chain    *chain.Chain
	store    *db.DB
	receipts []types.Receipts // by number
}

// newOsakaChain takes the first blocks of the chain.
func newOsakaChain(t testing.TB, blocks int) *osakaChain {
	t.Helper()
	files := realdata.Files(t, "osaka3000.tar.gz", "genesis.json", "chain.rlp")
	w := &fixtureChain{genesis: new(core.Genesis)}
	if err := json.Unmarshal(files["genesis.json"], w.genesis); err != nil {
		t.Fatal(err)
	}
	w.config, w.blocks = w.genesis.Config, []*types.Block{w.genesis.ToBlock()}
	for stream := rlp.NewStream(bytes.NewReader(files["chain.rlp"]), 0); len(w.blocks) <= blocks; {
		block := new(types.Block)
		if err := stream.Decode(block); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if block.NumberU64() > 0 {
			w.blocks = append(w.blocks, block)
		}
	}
	client, backend := runGethForLogs(t, w)
	o := &osakaChain{geth: client, gethNode: backend}
	var err error
	if o.store, err = db.Open(t.TempDir(), db.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.store.Close() })
	if o.chain, err = chain.New(o.store.Chain(), w.genesis); err != nil {
		t.Fatal(err)
	}
	for _, block := range w.blocks {
		receipts := backend.BlockChain().GetReceiptsByHash(block.Hash())
		o.receipts = append(o.receipts, receipts)
		if block.NumberU64() > 0 {
			if err := o.chain.Commit(block, receipts); err != nil {
				t.Fatal(err)
			}
		}
	}
	head := w.blocks[len(w.blocks)-1].Hash()
	if _, err = o.chain.SetHead(head); err != nil {
		t.Fatal(err)
	}
	if err := o.chain.SetMarkers(w.blocks[5].Hash(), w.blocks[5].Hash()); err != nil {
		t.Fatal(err)
	}
	return o
}

// limitedRange is geth's --rpc.rangelimit in the namespace limited of go-ethereum.
const limitedRange = 97

// runGethForLogs runs go-ethereum in this process, with a log index.
func runGethForLogs(t testing.TB, w *fixtureChain) (*gethrpc.Client, *eth.Ethereum) {
	t.Helper()
	stack, err := node.New(&node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	backend, err := eth.New(stack, &ethconfig.Config{Genesis: w.genesis, NetworkId: 7, GPO: ethconfig.FullNodeGPO, StateScheme: "hash"})
	if err != nil {
		t.Fatal(err)
	}
	for namespace, limit := range map[string]uint64{"eth": 0, "limited": limitedRange} {
		system := filters.NewFilterSystem(backend.APIBackend, filters.Config{LogQueryLimit: 1000, RangeLimit: limit})
		stack.RegisterAPIs([]gethrpc.API{{Namespace: namespace, Service: filters.NewFilterAPI(system)}})
	}
	if err := stack.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	if _, err := backend.BlockChain().InsertChain(w.blocks[1:]); err != nil {
		t.Fatal(err)
	}
	backend.BlockChain().SetFinalized(w.blocks[5].Header())
	backend.BlockChain().SetSafe(w.blocks[5].Header())
	return stack.Attach(), backend
}

// ours is a client of our node on the chain, with or without an index.
func (o *osakaChain) ours(t testing.TB, index LogIndex, limit uint64) *gethrpc.Client {
	t.Helper()
	return newFakeNode(t, func(c *Config, b *Backend) {
		c.Logs = Logs{Selectors: 1000, Range: limit, Results: 1 << 30, Bytes: 1 << 40}
		b.Chain, b.Heads, b.LogIndex = o.chain, o.chain, index
	}).client(t)
}

// index runs a log index over the chain until the test ends. Wait waits until it is complete.
func (o *osakaChain) index(t testing.TB) (index *logindex.Index, wait func()) {
	t.Helper()
	index = logindex.New(logindex.Config{Chain: o.chain, Store: o.store.Chain().KeyValue()})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		if err := index.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); running.Wait() })
	return index, func() {
		head := o.chain.CurrentHeader()
		for {
			found, err := index.Search(t.Context(), head, logindex.Query{Last: head.Number.Uint64(), Criteria: logindex.Criteria{Addresses: []common.Address{{1}}}})
			if err != nil {
				t.Fatal(err)
			}
			if found.Covers && found.First == 0 && found.Last == head.Number.Uint64() {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// logQueries makes queries of all kinds out of what the logs have.
func (o *osakaChain) logQueries(n int, random *rand.Rand) (calls []rpcCall) {
	var logs []*types.Log
	for _, receipts := range o.receipts {
		for _, receipt := range receipts {
			logs = append(logs, receipt.Logs...)
		}
	}
	address := func() common.Address {
		if random.IntN(5) == 0 {
			return common.Address{byte(random.IntN(256))}
		}
		return logs[random.IntN(len(logs))].Address
	}
	topic := func(position int) any {
		log := logs[random.IntN(len(logs))]
		switch {
		case random.IntN(4) == 0:
			return nil
		case random.IntN(8) == 0 || position >= len(log.Topics):
			return common.Hash{byte(random.IntN(256))}
		case random.IntN(3) == 0:
			return []any{log.Topics[position], common.Hash{1}, logs[random.IntN(len(logs))].TxHash}
		}
		return log.Topics[position]
	}
	head := len(o.receipts) - 1
	end := func() any {
		tags := []any{"latest", "earliest", "safe", "finalized", "pending", hexutil.Uint64(head), hexutil.Uint64(head + 1), "0x0", "0x1", "0xffffffffffffffff", "bad"}
		if random.IntN(4) == 0 {
			return tags[random.IntN(len(tags))]
		}
		return hexutil.Uint64(random.IntN(head + 1))
	}
	for range n {
		query := object{}
		switch random.IntN(8) {
		case 0:
			query["blockHash"] = o.chain.CanonicalHash(uint64(random.IntN(head + 1)))
			if random.IntN(5) == 0 {
				query["blockHash"] = common.Hash{1}
			}
			if random.IntN(9) == 0 {
				query["fromBlock"] = end()
			}
		case 1:
			query["fromBlock"] = end()
		case 2:
			query["toBlock"] = end()
		case 3:
			query["fromBlock"], query["toBlock"] = end(), end()
		default:
			first := random.IntN(head + 1)
			query["fromBlock"], query["toBlock"] = hexutil.Uint64(first), hexutil.Uint64(first+random.IntN(head+1-first))
		}
		switch random.IntN(4) {
		case 0:
			query["address"] = address()
		case 1:
			query["address"] = []common.Address{address(), address()}
		}
		if count := random.IntN(6); count > 0 && random.IntN(2) == 0 {
			topics := []any{}
			for position := range count {
				topics = append(topics, topic(position))
			}
			query["topics"] = topics
		}
		calls = append(calls, rpcCall{"eth_getLogs", []any{query}})
	}
	many := make([]common.Address, 1001)
	for i := range many {
		many[i] = common.BigToAddress(hexutil.MustDecodeBig(fmt.Sprintf("%#x", i+1)))
	}
	for _, query := range []object{
		{"fromBlock": "0x0", "address": many},
		{"fromBlock": "0x0", "address": many[:1000]},
		{"fromBlock": "0x0"},
		{},
		{"fromBlock": "0x0", "topics": []any{}},
		{"fromBlock": "0x0", "topics": []any{nil, nil}},
		{"fromBlock": "0x0", "topics": []any{[]any{}}},
		{"fromBlock": "0x0", "toBlock": "0xfff"},
		{"fromBlock": "latest", "toBlock": "0x1"},
		{"fromBlock": "0x5", "toBlock": "0x1"},
	} {
		calls = append(calls, rpcCall{"eth_getLogs", []any{query}})
	}
	return calls
}

// asGeth is a call with the same meaning for go-ethereum. Its limit of the range takes the tag latest for the highest number
// that there is, so that it refuses every range up to the head; ours takes it for the head.
func (o *osakaChain) asGeth(c rpcCall, limit uint64) rpcCall {
	query := c.params[0].(object)
	_, number := query["fromBlock"].(hexutil.Uint64)
	if limit > 0 {
		c.method = "limited_getLogs"
	}
	if to, ok := query["toBlock"]; limit == 0 || !number || query["blockHash"] != nil || ok && to != "latest" {
		return c
	}
	query = maps.Clone(query)
	query["toBlock"] = hexutil.Uint64(len(o.receipts) - 1)
	return rpcCall{c.method, []any{query}}
}

// TestLogsSameAsGeth compares queries for logs with go-ethereum's on a recorded chain, byte for byte: by blooms, while the index
// is being built, and by the index; with and without a limit of the range.
func TestLogsSameAsGeth(t *testing.T) {
	blocks, queries := 3000, 1000
	if testing.Short() {
		blocks, queries = 400, 250
	}
	o := newOsakaChain(t, blocks)
	index, wait := o.index(t)
	compare := func(name string, searched LogIndex, limit uint64, calls []rpcCall) {
		t.Helper()
		client := o.ours(t, searched, limit)
		for _, c := range calls {
			if want, got := response(o.geth, o.asGeth(c, limit)), response(client, c); got != want {
				t.Errorf("%s, range limit %d: %s\n got %.300s\nwant %.300s", name, limit, c, got, want)
			}
		}
	}
	calls := o.logQueries(queries, rand.New(rand.NewPCG(13, 4)))
	compare("while the index is built", index, 0, calls[:queries/4])
	wait()
	for _, limit := range []uint64{0, limitedRange} {
		compare("by the index", index, limit, calls)
		compare("by blooms", nil, limit, calls[:queries/4])
	}
}
