// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// heavyCalls read more than a few trie nodes.
func heavyCalls() []rpcCall {
	keys := make([]string, 60)
	for i := range keys {
		keys[i] = common.BigToHash(big.NewInt(int64(i))).Hex()
	}
	reader := object{"to": readerAddr}
	return []rpcCall{
		{"eth_call", []any{reader, "latest"}},
		{"eth_estimateGas", []any{reader}},
		{"eth_createAccessList", []any{reader}},
		{"eth_simulateV1", []any{object{"blockStateCalls": []object{{"calls": []object{reader}}}}}},
		{"eth_getProof", []any{readerAddr, keys, "latest"}},
		{"eth_getStorageValues", []any{object{readerAddr.Hex(): keys}, "latest"}},
		{"debug_traceCall", []any{reader, "latest", object{"tracer": "callTracer"}}},
		{"debug_traceBlockByNumber", []any{"0x5", object{"tracer": "prestateTracer"}}},
		{"debug_intermediateRoots", []any{mainChain().blocks[5].Hash()}},
		{"debug_accountRange", []any{"latest", "0x", 100, true, true, true}},
		{"debug_getModifiedAccountsByNumber", []any{2, 6}},
		{"trace_call", []any{reader, []string{"trace"}}},
		{"trace_callMany", []any{[]any{[]any{reader, []string{"trace"}}}}},
		{"trace_block", []any{"0x5"}},
		{"trace_replayBlockTransactions", []any{"0x5", []string{"stateDiff"}}},
		{"trace_filter", []any{object{"fromBlock": "0x2", "toBlock": "0x6"}}},
	}
}

// TestFetchCap: a call that would fetch more than the cap is refused with the flag that says so, whatever the method.
func TestFetchCap(t *testing.T) {
	for flag, limit := range map[string]FetchCap{"(--rpc.fetchcap)": {Items: 8}, "(--rpc.fetchcap.bytes)": {Bytes: 2000}} {
		n := newFakeNode(t, func(c *Config, _ *Backend) { c.Fetches.Call = limit })
		capped, free := n.client(t), newFakeNode(t).client(t)
		for _, c := range heavyCalls() {
			before := n.states.count()
			got := response(capped, c)
			if !strings.HasPrefix(got, "error -32005") || !strings.Contains(got, flag) {
				t.Errorf("%s: %.300s", c, got)
			}
			if fetched := n.states.count() - before; limit.Items > 0 && fetched > 4*int(limit.Items) {
				t.Errorf("%s fetched %d with a cap of %d", c, fetched, limit.Items)
			}
			if got := response(free, c); strings.HasPrefix(got, "error") {
				t.Errorf("without a cap, %s: %.300s", c, got)
			}
		}
		if got := response(capped, rpcCall{"eth_getBalance", []any{userAddr, "latest"}}); strings.HasPrefix(got, "error") {
			t.Errorf("%s: a small call: %s", flag, got)
		}
	}
}

// TestCallerFetchCap: an address that has fetched its part of a minute is refused, others are not, and neither is IPC.
func TestCallerFetchCap(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Fetches.Caller.Items = 200 })
	srv, err := n.newRPC([]string{"eth"})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := httptest.NewServer(srv)
	t.Cleanup(endpoint.Close)
	from := func(ip string) *gethrpc.Client {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true} // a port of its own for each call
		client, err := gethrpc.DialOptions(t.Context(), endpoint.URL, gethrpc.WithHTTPClient(&http.Client{Transport: transport}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	heavy := heavyCalls()[0]
	until := func(client *gethrpc.Client) (calls int, last string) {
		for last = "0x"; !strings.HasPrefix(last, "error") && calls < 100; calls++ {
			last = response(client, heavy)
		}
		return calls, last
	}
	loud, quiet := from("127.0.0.1"), from("127.0.0.2")
	if calls, last := until(loud); calls == 1 || !strings.HasPrefix(last, "error -32005") || !strings.Contains(last, "(--rpc.fetchcap.caller)") {
		t.Fatalf("%d calls, then %s", calls, last)
	}
	if got := response(quiet, heavy); strings.HasPrefix(got, "error") {
		t.Errorf("another caller: %s", got)
	}
	if calls, last := until(n.client(t)); calls != 100 {
		t.Errorf("IPC: %d calls, then %s", calls, last)
	}
}

// TestCallerPeriod: what a caller has fetched counts less and less.
func TestCallerPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &callerFetches{cap: FetchCap{Items: 100}, at: time.Now()}
		c.add(time.Now(), 150, 9999)
		for _, step := range []struct {
			wait    time.Duration
			refused bool
		}{{0, true}, {29 * time.Second, true}, {2 * time.Second, false}, {time.Hour, false}} {
			time.Sleep(step.wait)
			if err := c.check(time.Now()); (err != nil) != step.refused {
				t.Errorf("after %v: %v", step.wait, err)
			}
		}
		if c.items != 0 || c.bytes != 9999 {
			t.Errorf("%v items, %v bytes", c.items, c.bytes)
		}
	})
}

// TestCallerAddr: ports do not tell callers apart, nor do the addresses of one IPv6 network.
func TestCallerAddr(t *testing.T) {
	for _, c := range []struct {
		transport, remote, want string
		ok                      bool
	}{
		{"http", "10.0.0.1:5000", "10.0.0.1", true},
		{"ws", "[::ffff:10.0.0.1]:7", "10.0.0.1", true},
		{"http", "[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::", true},
		{"ws", "[fe80::1%eth0]:80", "fe80::", true},
		{"http", "unknown", "invalid IP", true},
		{"ipc", "@", "invalid IP", false},
		{"", "", "invalid IP", false},
	} {
		addr, ok := callerAddr(gethrpc.PeerInfo{Transport: c.transport, RemoteAddr: c.remote})
		if addr.String() != c.want || ok != c.ok {
			t.Errorf("%s %s: %v, %t", c.transport, c.remote, addr, ok)
		}
	}
	b := newFakeNode(t, func(c *Config, _ *Backend) { c.Fetches.Caller.Items = 1 }).b
	if b.callers.of(context.Background()) != nil {
		t.Error("a call of the node itself has a cap")
	}
}
