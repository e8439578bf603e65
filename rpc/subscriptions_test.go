// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"
)

// rawConnection speaks JSON-RPC over a pipe, so that only the server's side takes memory.
type rawConnection struct {
	net.Conn
	lines *bufio.Reader
}

func (n *fakeNode) connect(t *testing.T) *rawConnection {
	t.Helper()
	srv := gethrpc.NewServer()
	if err := n.register(srv, []string{"eth"}, nil); err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeCodec(gethrpc.NewCodec(theirs), 0)
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		<-done
	})
	return &rawConnection{ours, bufio.NewReader(ours)}
}

// call makes a call and returns the line of the response.
func (c *rawConnection) call(t *testing.T, method, params string) string {
	t.Helper()
	if _, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params); err != nil {
		t.Fatal(err)
	}
	line, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestSubscriptionMemory bounds the memory of one subscription, with all that go-ethereum's rpc keeps for it.
func TestSubscriptionMemory(t *testing.T) {
	const subscriptions, most = 10_000, 2048
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Subscriptions.PerConnection = subscriptions })
	conn := n.connect(t)
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	for range subscriptions {
		conn.call(t, "eth_subscribe", `["newHeads"]`)
	}
	each := (used() - before) / subscriptions
	t.Logf("%d bytes a subscription", each)
	if each > most {
		t.Errorf("%d bytes a subscription, want at most %d", each, most)
	}
}

// TestSubscriptionLimits: what exceeds a limit is refused, until another subscription has ended.
func TestSubscriptionLimits(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Subscriptions = Subscriptions{PerConnection: 4, Total: 6} })
	conn, other := n.connect(t), n.connect(t)
	subscribe := func(c *rawConnection, params, refusal string) (id string) {
		t.Helper()
		line := c.call(t, "eth_subscribe", params)
		var answer struct {
			Result string
			Error  struct {
				Code    int
				Message string
			}
		}
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			t.Fatal(err)
		}
		if refusal == "" && answer.Result == "" || refusal != "" && (answer.Error.Code != -32005 || !strings.HasPrefix(answer.Error.Message, refusal)) {
			t.Errorf("%s: got %s, want %q", params, line, refusal)
		}
		return answer.Result
	}
	own, all := "too many subscriptions on this connection (limit 4, set by --rpc.max-subscriptions-per-connection;",
		"too many subscriptions on this node (limit 6, set by --rpc.max-subscriptions;"
	wide, err := json.Marshal(object{"topics": []any{make([]common.Hash, 250)}}) // counts as three
	if err != nil {
		t.Fatal(err)
	}
	subscribe(conn, `["newHeads"]`, "")
	id := subscribe(conn, `["logs",`+string(wide)+`]`, "")
	subscribe(conn, `["newHeads"]`, own)
	subscribe(other, `["newHeads"]`, "")
	subscribe(other, `["logs",{}]`, "")
	subscribe(other, `["newHeads"]`, all)
	if line := conn.call(t, "eth_unsubscribe", `["`+id+`"]`); !strings.Contains(line, "true") {
		t.Error(line)
	}
	for range 3 {
		subscribe(conn, `["newHeads"]`, "")
	}
	subscribe(conn, `["newHeads"]`, own)
	_ = conn.Close()
	for open := range 2 { // those of the closed connection end soon after
		for n.slots() > 2+open {
			time.Sleep(time.Millisecond)
		}
		subscribe(other, `["newHeads"]`, "")
	}
	subscribe(other, `["newHeads"]`, own)
}

// slots counts the subscriptions of all connections.
func (n *fakeNode) slots() int {
	s := n.subscriptions
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.slots
}

// TestSlowConnection: a connection that does not take the events is closed, and counted once. Others go on.
func TestSlowConnection(t *testing.T) {
	registry := prometheus.NewRegistry()
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.Registerer = registry })
	slow, good := n.connect(t), n.connect(t)
	for range 10 {
		slow.call(t, "eth_subscribe", `["newHeads"]`)
	}
	good.call(t, "eth_subscribe", `["newHeads"]`)
	for range maxFeedEvents + 2 { // nobody reads from slow, so its goroutine hangs in the first event
		n.heads.add(oneHead())
		if line, err := good.lines.ReadString('\n'); err != nil || !strings.Contains(line, "eth_subscription") {
			t.Fatal(line, err)
		}
	}
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("the slow connection ended with %v", err)
	}
	n.heads.add(oneHead())
	if line, err := good.lines.ReadString('\n'); err != nil || !strings.Contains(line, "eth_subscription") {
		t.Error(line, err)
	}
	for name, want := range map[string]float64{"beam_rpc_slow_connections_total": 1, "beam_rpc_subscriptions": 1} {
		if got := metricValue(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestStuckConnection: a connection that takes nothing is closed when go-ethereum's timeout of a write has passed.
func TestStuckConnection(t *testing.T) {
	mainChain()
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log, c.Registerer = nil, prometheus.NewRegistry() })
		conn := n.connect(t)
		conn.call(t, "eth_subscribe", `["newHeads"]`)
		synctest.Wait()
		start := time.Now()
		for n.slots() > 0 && time.Since(start) < time.Minute {
			n.heads.add(oneHead())
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("took %v", took)
		}
		if _, err := conn.Write([]byte("[]")); err == nil {
			t.Error("the connection is open")
		}
		if got := metricValue(t, n.cfg.Registerer.(*prometheus.Registry), "beam_rpc_slow_connections_total"); got != 1 {
			t.Errorf("counted %v times", got)
		}
	})
}

// metricValue is the value of a metric without labels.
func metricValue(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue() + family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
