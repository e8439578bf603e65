// SPDX-License-Identifier: LGPL-3.0-or-later

package page

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// sample is a state with something of everything.
func sample() State {
	return State{
		Version: "1.0.0", Network: "mainnet", Phase: "beaming", Waits: []string{"The rest of the state waits for peers."}, Head: 23_000_017, Newest: 23_000_018,
		Backfill: &Backfill{
			Share: 0.4242, ETA: 5000, ETALow: 4000, ETAHigh: 9000, Rate: 7e6, Bytes: 40e9, Remaining: 60e9, Accounts: 120e6, Slots: 600e6, Codes: 90_000,
			Map: strings.Repeat("f", 24) + "8000" + strings.Repeat("0", 36), Large: []Contract{{"0x" + strings.Repeat("ab", 32), strings.Repeat("f0", 32)}},
		},
		History: History{Share: 0.5, Oldest: 22_950_000},
		Blocks: []Block{
			{Number: 23_000_016, Outcome: "valid", Txs: 200, Gas: 30e6, Millis: 900, Waited: 700, Guessed: 120, Run: 80, Written: 30, Faults: 1200, Trips: 5, Nodes: 4000, Codes: 20, Bytes: 900_000},
			{Number: 23_000_017, Outcome: "incomplete", Txs: 180, Gas: 22e6, Millis: 420, Waited: 120, Guessed: 180, Run: 120, Faults: 40, Trips: 2, Nodes: 90, Codes: 1, Bytes: 50_000},
		},
		Totals: Totals{Valid: 17, Incomplete: 1},
		Peers: []Peer{
			{ID: strings.Repeat("1a", 32), Name: "Geth/v1.17.10-stable/linux-amd64/go1.26<script>", Head: 23_000_017, Latency: 42, Gives: []string{"blocks 0 to 23000017", "state by ranges"}, Received: 62_585_000, Sent: 307_000},
			{ID: strings.Repeat("2b", 32), Name: "sunbeam/v1.0.0/linux-amd64/go1.26", Inbound: true, Head: 23_000_017, Latency: 88, Gives: []string{"state by hash", "parts of the state (Sunbeam)"}},
		},
		Disk: Disk{Hot: 1.2e9, Free: 800e9, Stores: []Store{{"chaindata", 41e9}, {"beam-hot", 1.3e9}, {"nodes", 2e6}}, LogIndex: 4.2e9},
	}
}

// start runs a server, and says where it is and how often it asked for the state. stop ends it.
func start(t *testing.T) (url string, asked *atomic.Int64, stop func()) {
	t.Helper()
	asked = new(atomic.Int64)
	s := NewServer(Config{Addr: "127.0.0.1:0", VHosts: []string{"localhost"}, Log: slog.New(slog.DiscardHandler), State: func() State {
		state := sample()
		state.Head += uint64(asked.Add(1))
		return state
	}})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	<-s.Ready()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s.URL(), asked, stop
}

// get requests something by a Host header; empty: the usual one. The caller closes the body.
func get(t *testing.T, method, url, host string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		request.Host = host
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// TestFiles: the page is whole by itself, and says nothing to names that it does not know.
func TestFiles(t *testing.T) {
	url, asked, _ := start(t)
	for path, want := range map[string]string{
		"": "text/html", "page.css": "text/css", "page.js": "javascript", "icon.svg": "image/svg+xml", "state": "application/json",
	} {
		for host, status := range map[string]int{"": 200, "localhost:8580": 200, "LOCALHOST": 200, "[::1]:1": 200, "evil.example": 403, "localhost.evil.example:80": 403} {
			response := get(t, http.MethodGet, url+path, host)
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != status {
				t.Errorf("%q as %q: %s, %v", path, host, response.Status, err)
			}
			if status == 200 && (!strings.Contains(response.Header.Get("Content-Type"), want) || response.Header.Get("Content-Security-Policy") == "") {
				t.Errorf("%q: %v", path, response.Header)
			}
			if path != "icon.svg" && strings.Contains(string(body), "//") && strings.Contains(string(body), "http") && status == 200 && path != "state" {
				t.Errorf("%q names another place", path)
			}
		}
	}
	for path, status := range map[string]int{"nothing": 404, "../server.go": 404, "state/x": 404} {
		if response := get(t, http.MethodGet, url+path, ""); response.StatusCode != status {
			t.Errorf("%q: %s", path, response.Status)
		}
	}
	if response := get(t, http.MethodPost, url+"state", ""); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", response.Status)
	}
	if asked.Load() == 0 || asked.Load() > 12 {
		t.Errorf("the state was asked for %d times", asked.Load())
	}
}

// event reads the next state from a stream.
func event(t *testing.T, in *bufio.Scanner) (s State) {
	t.Helper()
	for in.Scan() {
		if line, ok := strings.CutPrefix(in.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatal("the stream ended")
	return s
}

// TestStream: nobody is asked for the state while nobody looks; streams share one, are limited in number, and end with the server.
func TestStream(t *testing.T) {
	url, asked, stop := start(t)
	if asked.Load() != 0 {
		t.Error("the state was asked for although nobody looks")
	}
	var open []*http.Response
	for range maxStreams {
		response := get(t, http.MethodGet, url+"events", "")
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		open = append(open, response)
	}
	if response := get(t, http.MethodGet, url+"events", ""); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: %s", response.Status)
	}
	in := bufio.NewScanner(open[0].Body)
	first, second := event(t, in), event(t, in)
	if first.Head <= sample().Head || second.Head <= first.Head {
		t.Errorf("heads %d and %d", first.Head, second.Head)
	}
	stop() // hangs if open streams keep the server
	for _, response := range open {
		if _, err := io.Copy(io.Discard, response.Body); err != nil && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		response.Body.Close()
	}
}

// TestAddressTaken: an address that cannot be listened on is an error with its name.
func TestAddressTaken(t *testing.T) {
	url, _, _ := start(t)
	addr := strings.Trim(strings.TrimPrefix(url, "http://"), "/")
	err := NewServer(Config{Addr: addr, Log: slog.New(slog.DiscardHandler), State: sample}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), addr) {
		t.Error(err)
	}
}
