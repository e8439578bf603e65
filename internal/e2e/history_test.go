// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
)

// historyStatus is what beam_status says of the chain behind the head.
type historyStatus struct {
	Oldest  uint64 `json:"oldestBlock"`
	History struct {
		Remaining uint64  `json:"remaining"`
		Share     float64 `json:"share"`
		Blocks    uint64  `json:"blocks"`
	} `json:"history"`
}

func (s *historyStatus) read(t *testing.T, n *demo.Node) {
	t.Helper()
	if err := n.RPC.CallContext(t.Context(), s, "beam_status"); err != nil {
		t.Fatal(err)
	}
	if s.History.Share < 0 || s.History.Share > 1 {
		t.Fatalf("%v of the history is there", s.History.Share)
	}
}

// A node beams in at the head and collects what is behind: a thousand blocks, and after a
// restart all of them, dying on the way. Then it answers about all blocks as geth does.
func TestHistory(t *testing.T) {
	t.Parallel() // geth's import takes long
	r := unpack(t, "osaka3000.tar.gz")
	geth, cfg := startPeer(t, r)
	run := func(span string) *demo.Node {
		cfg.Args = []string{"--history.chain", span}
		return startNode(t, cfg)
	}

	n := run("1000")
	follow(t, n, r)
	status := collected(t, n)
	if status.Oldest != 2001 {
		t.Errorf("of the last 1000 blocks, those from %d on are there", status.Oldest)
	}
	if sameHistory(t, n.RPC, geth.RPC(), status.Oldest, size(uint64(97), 7)) == 0 {
		t.Error("there are no logs to compare")
	}
	below := hexutil.Uint64(status.Oldest - 1)
	var answer any
	if err := n.RPC.CallContext(t.Context(), &answer, "eth_getBlockReceipts", below); code(err) != 4444 {
		t.Errorf("receipts of block %d, below what is held: %v, %v", below, answer, err)
	}
	stop(t, n)

	n = run("all")
	for status.read(t, n); status.Oldest > 1500; status.read(t, n) {
		if time.Since(n.Started) > time.Minute {
			t.Fatalf("no progress: %+v", status)
		}
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	died := status.Oldest
	n = run("all")
	status = collected(t, n)
	if status.Oldest != 0 {
		t.Errorf("history ends with block %d", status.Oldest)
	}
	if again := status.History.Blocks - min(status.History.Blocks, died-1); again > 0 {
		t.Errorf("%d blocks were collected twice", again)
	}
	t.Logf("died at %d, then collected %d blocks more", died, status.History.Blocks)
	sameHistory(t, n.RPC, geth.RPC(), 0, size(uint64(97), 7))
	r.check(t, n.RPC, 1)
	stop(t, n)
}

// follow brings a node to the head of a recording.
func follow(t *testing.T, n *demo.Node, r recording) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, file := range []string{"headnewpayload.json", "headfcu.json"} {
		for _, call := range r.calls(t, file) {
			for {
				status, err := n.Engine.Send(ctx, call)
				if err != nil {
					t.Fatal(err)
				}
				if status.Status == engine.VALID {
					break
				}
				if status.Status != engine.SYNCING {
					t.Fatalf("the head is %s", status.Status)
				}
			}
		}
	}
}

// collected waits until the history is complete.
func collected(t *testing.T, n *demo.Node) (status historyStatus) {
	t.Helper()
	began := time.Now()
	for status.read(t, n); status.History.Remaining > 0; status.read(t, n) {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("not complete after %v: %+v", time.Since(began), status)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%d blocks down to %d in %v", status.History.Blocks, status.Oldest, time.Since(began).Round(time.Millisecond))
	return status
}

// sameHistory compares answers about every step-th block from oldest on with geth's, and all logs, whose
// number it returns.
func sameHistory(t *testing.T, ours, geths *gethrpc.Client, oldest, step uint64) (logs int) {
	t.Helper()
	ask := func(method string, params ...any) any {
		t.Helper()
		var have, want any
		if err := ours.CallContext(t.Context(), &have, method, params...); err != nil {
			t.Fatalf("%s%v: %v", method, params, err)
		}
		if err := geths.CallContext(t.Context(), &want, method, params...); err != nil {
			t.Fatalf("%s%v of geth: %v", method, params, err)
		}
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("%s%v: %v, geth says %v", method, params, have, want)
		}
		return have
	}
	head := hexutil.MustDecodeUint64(ask("eth_blockNumber").(string))
	txs := 0
	for number := oldest; number <= head; number += step {
		at := hexutil.Uint64(number)
		block := ask("eth_getBlockByNumber", at, true).(map[string]any)
		ask("eth_getBlockByHash", block["hash"], false)
		ask("eth_getBlockReceipts", at)
		if list := block["transactions"].([]any); len(list) > 0 {
			hash := list[0].(map[string]any)["hash"]
			ask("eth_getTransactionByHash", hash)
			ask("eth_getTransactionReceipt", hash)
			txs += len(list)
		}
	}
	for from := oldest; from <= head; from += 1000 { // all logs
		found := ask("eth_getLogs", map[string]any{"fromBlock": hexutil.Uint64(from), "toBlock": hexutil.Uint64(min(from+999, head))})
		logs += len(found.([]any))
	}
	if txs == 0 {
		t.Error("there are no transactions to compare")
	}
	t.Logf("blocks %d to %d are as geth has them: %d transactions of every %dth block, %d logs", oldest, head, txs, step, logs)
	return logs
}

func code(err error) int {
	if coded := gethrpc.Error(nil); errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return 0
}
