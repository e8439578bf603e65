// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestLogLimits: a query beyond a limit is an error with the limit, its flag, and blocks that fit. eth_getLogs and
// eth_getFilterLogs have the same limits.
func TestLogLimits(t *testing.T) {
	all := len(mustLogs(t, Logs{}, object{"fromBlock": "0x0"}))
	for _, test := range []struct {
		name   string
		limits Logs
		query  object
		want   string // of the response; empty: logs
	}{
		{"as many as allowed", Logs{Results: all}, object{"fromBlock": "0x0"}, ""},
		{"one more", Logs{Results: all - 1}, object{"fromBlock": "0x0"}, "error -32005 <nil>: query returns more than "},
		{"few", Logs{Results: 3}, object{"fromBlock": "0x0"}, "error -32005 <nil>: query returns more than 3 logs (--rpc.max-logs-per-response), ask for fewer blocks: the limit allows blocks 0x0 to 0x"},
		{"bytes", Logs{Bytes: 2000}, object{"fromBlock": "0x0"}, "error -32005 <nil>: query returns more than 2000 bytes of logs (--rpc.logs-response-max-size), ask for fewer blocks: the limit allows blocks 0x0 to 0x"},
		{"one block", Logs{Results: 1, Bytes: 1}, object{"fromBlock": "0x3", "toBlock": "0x3"}, ""},
		{"block hash", Logs{Results: 1, Bytes: 1}, object{"blockHash": mainChain().blocks[3].Hash()}, ""},
		{"range", Logs{Range: 5}, object{"fromBlock": "0x2", "toBlock": "0x7"}, ""},
		{"longer range", Logs{Range: 5}, object{"fromBlock": "0x2", "toBlock": "0x8"}, "error -32602 <nil>: exceed maximum block range 5"},
		{"selectors", Logs{Selectors: 2}, object{"address": []common.Address{{1}, {2}}, "topics": []any{[]common.Hash{{1}, {2}}}}, ""},
		{"addresses", Logs{Selectors: 2}, object{"address": make([]common.Address, 3)}, "error -32000 <nil>: exceed max addresses or topics per search position"},
		{"topics", Logs{Selectors: 2}, object{"topics": []any{make([]common.Hash, 3)}}, "error -32000 <nil>: exceed max addresses or topics per search position"},
	} {
		client := newFakeNode(t, func(c *Config, _ *Backend) { c.Logs = test.limits }).client(t)
		got := response(client, rpcCall{"eth_getLogs", []any{test.query}})
		if test.want == "" && !strings.HasPrefix(got, "[") || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %s, want %q", test.name, got, test.want)
		}
		if _, once := test.query["blockHash"]; once {
			continue
		}
		var id string
		if err := client.Call(&id, "eth_newFilter", test.query); err != nil {
			if !strings.HasSuffix(test.want, err.Error()) {
				t.Errorf("%s: eth_newFilter: %v", test.name, err)
			}
			continue
		}
		if logs := response(client, rpcCall{"eth_getFilterLogs", []any{id}}); logs != got {
			t.Errorf("%s: eth_getFilterLogs %s, eth_getLogs %s", test.name, logs, got)
		}
	}
}

func mustLogs(t *testing.T, limits Logs, query object) (logs []*types.Log) {
	t.Helper()
	client := newFakeNode(t, func(c *Config, _ *Backend) { c.Logs = limits }).client(t)
	if err := client.Call(&logs, "eth_getLogs", query); err != nil {
		t.Fatal(err)
	}
	return logs
}

// TestLogLimitHint: the blocks that an error allows fit into the limit, and one more block does not.
func TestLogLimitHint(t *testing.T) {
	limits := Logs{Results: 5}
	client := newFakeNode(t, func(c *Config, _ *Backend) { c.Logs = limits }).client(t)
	text := response(client, rpcCall{"eth_getLogs", []any{object{"fromBlock": "0x1"}}})
	_, last, found := strings.Cut(text, "blocks 0x1 to ")
	if !found {
		t.Fatal(text)
	}
	if got := len(mustLogs(t, limits, object{"fromBlock": "0x1", "toBlock": last})); got > limits.Results {
		t.Errorf("%d logs up to block %s", got, last)
	}
}

// TestLogTags: a tag whose block is not known is an error.
func TestLogTags(t *testing.T) {
	client := newFakeNode(t).client(t)
	for _, tag := range []string{"safe", "finalized"} {
		for _, member := range []string{"fromBlock", "toBlock"} {
			want := "error -32000 <nil>: " + tag + " header not found"
			if got := response(client, rpcCall{"eth_getLogs", []any{object{"fromBlock": "0x0", member: tag}}}); got != want {
				t.Errorf("%s %s: got %s, want %s", member, tag, got, want)
			}
		}
	}
}
