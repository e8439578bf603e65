// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// TestStartAndStopEndpoints opens and closes endpoints by admin methods. What they answer is what go-ethereum answers.
func TestStartAndStopEndpoints(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.IPC = t.TempDir() + "/ipc" })
	n.start(t)
	ours, geth := dial(t, n.Addrs().IPC), startGethOn(t, genesisOnly("osaka"))
	first, second, theirs := freePort(t), freePort(t), freePort(t)
	alive := func(url string) bool {
		client, err := gethrpc.Dial(url)
		if err != nil {
			return false
		}
		defer client.Close()
		_, err = client.SupportedModules()
		return err == nil
	}
	for _, step := range []struct {
		method   string
		params   []any // the second is the port
		port     int
		web, ws1 bool // HTTP and WebSocket on the first port afterwards
		ws2      bool // WebSocket on the second one
	}{
		{"admin_startHTTP", []any{"127.0.0.1", 0, "*", "eth, web3,nothing", "*"}, first, true, false, false},
		{"admin_startHTTP", []any{"127.0.0.1", 0}, first, true, false, false},  // already enabled
		{"admin_startHTTP", []any{"127.0.0.1", 0}, second, true, false, false}, // runs elsewhere
		{"admin_startWS", []any{"127.0.0.1", 0, "*", "eth"}, first, true, true, false},
		{"admin_startWS", []any{"127.0.0.1", 0}, first, true, true, false},
		{"admin_stopWS", nil, 0, true, false, false},
		{"admin_stopWS", nil, 0, true, false, false},
		{"admin_startWS", []any{"127.0.0.1", 0}, second, true, false, true},
		{"admin_stopHTTP", nil, 0, false, false, true},
		{"admin_stopRPC", nil, 0, false, false, true},
		{"admin_startRPC", []any{"127.0.0.1", 0}, first, true, false, true},
		{"admin_stopHTTP", nil, 0, false, false, true},
		{"admin_stopWS", nil, 0, false, false, false},
	} {
		params, same := append([]any{}, step.params...), append([]any{}, step.params...)
		if len(params) > 1 {
			params[1], same[1] = step.port, step.port+theirs-first // other ports for go-ethereum
			if step.port == second {
				same[1] = freePort(t)
			}
		}
		got, want := response(ours, rpcCall{step.method, params}), response(geth, rpcCall{step.method, same})
		if step.method == "admin_startWS" && step.port == second {
			want = "true" // go-ethereum opens WebSocket on a port of its own only if it began with HTTP
		}
		if want = strings.ReplaceAll(want, fmt.Sprint(theirs), fmt.Sprint(first)); got != want {
			t.Errorf("%s%v: %s, want %s", step.method, params, got, want)
		}
		state := [3]bool{alive(fmt.Sprintf("http://127.0.0.1:%d", first)), alive(fmt.Sprintf("ws://127.0.0.1:%d", first)), alive(fmt.Sprintf("ws://127.0.0.1:%d", second))}
		if state != [3]bool{step.web, step.ws1, step.ws2} {
			t.Errorf("after %s%v: HTTP %t, WebSocket %t, %t", step.method, params, state[0], state[1], state[2])
		}
		if addrs := n.Addrs(); (addrs.HTTP != "") != step.web || (addrs.WS != "") != (step.ws1 || step.ws2) {
			t.Errorf("after %s%v: %+v", step.method, params, addrs)
		}
	}
}

// TestStoppedEndpointStopsAlone: a caller may close the endpoint that it calls, and the server runs on.
func TestStoppedEndpointStopsAlone(t *testing.T) {
	n := newFakeNode(t, func(c *Config, _ *Backend) {
		c.HTTP = HTTP{Enabled: true, Host: "127.0.0.1", Modules: []string{"admin", "eth"}}
		c.WS = WS{Enabled: true, Host: "127.0.0.1", Modules: []string{"eth"}}
	})
	stop := n.start(t)
	url := "http://" + n.Addrs().HTTP
	began := time.Now()
	if got := response(dial(t, url), rpcCall{method: "admin_stopHTTP"}); got != "true" {
		t.Error(got)
	}
	if _, err := dial(t, "ws://"+n.Addrs().WS).SupportedModules(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > shutdownTimeout {
		t.Errorf("took %v", took)
	}
	api := &endpointsAPI{n.web}
	if _, err := api.StartHTTP(nil, nil, nil, nil, nil); err == nil || err.Error() != errNotRunning.Error() {
		t.Errorf("after the end: %v", err)
	}
}
