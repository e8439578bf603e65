// SPDX-License-Identifier: LGPL-3.0-or-later

package bench_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// TestPeers: with one good peer in 25, blocks are right, nothing stands still for a slot, invalid peers are
// sent away and the good peer does the work.
func TestPeers(t *testing.T) {
	var out bytes.Buffer
	sum, err := bench.Peers(t.Context(), bench.PeersOptions{
		Dir: dirOf(t, "1-1150000", "1-2675000", "1-21688509"), Blocks: 30, Bad: 24, RTT: 100 * time.Millisecond,
	}, inBubble(t), &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if sum.Blames["lying invalid"] != 6 || len(sum.Blames) > 8 {
		t.Errorf("blames %v", sum.Blames)
	}
	if sum.Blames["good invalid"]+sum.Blames["good useless"]+sum.Blames["good timeout"] > 0 {
		t.Errorf("the good peer was blamed: %v", sum.Blames)
	}
	if sum.LastTenth["lying"] > 0 || sum.Requests["lying"] > 6*16 {
		t.Errorf("invalid peers are still asked: %v, %v", sum.Requests, sum.LastTenth)
	}
	bad := sum.LastTenth["empty"] + sum.LastTenth["slow"] + sum.LastTenth["disconnecting"]
	if good := sum.LastTenth["good"]; good < 5 || bad > good {
		t.Errorf("in the end the good peer is asked %d times, bad ones %d\n%s", good, bad, &out)
	}
}

func TestBadPeersOptions(t *testing.T) {
	for _, opts := range []bench.PeersOptions{
		{Dir: t.TempDir(), Blocks: 1, RTT: 1},
		{Dir: dirOf(t, "1-1150000"), RTT: 1},
		{Dir: dirOf(t, "1-1150000"), Blocks: 1},
	} {
		if _, err := bench.Peers(t.Context(), opts, inBubble(t), new(bytes.Buffer)); err == nil {
			t.Errorf("%+v is fine", opts)
		}
	}
}

// TestFollow lets a real node follow a real geth, through a short stall.
func TestFollow(t *testing.T) {
	var out, progress bytes.Buffer
	err := bench.Follow(t.Context(), bench.FollowOptions{
		TestbedOptions: bench.TestbedOptions{
			State: stategen.Spec{Accounts: 2000, Senders: 50, Contracts: 5, Codes: 3, Slots: 2000},
			RTT:   10 * time.Millisecond, Slot: time.Second, Gas: 2_000_000, CacheDir: t.TempDir(), JSON: true, Progress: &progress,
		},
		Blocks: 4, Mix: stategen.Cold(), Stall: 1500 * time.Millisecond,
	}, &out)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &progress)
	}
	told := 0
	dec := json.NewDecoder(&out)
	for n := range 4 {
		var r bench.BlockResult
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Outcome != "valid" || r.Seconds <= 0 || r.Transactions == 0 || r.Gas < 1_000_000 || r.RTT != 0.01 {
			t.Errorf("block %d: %+v", n, r)
		}
		if r.Requests > 0 && r.Trips > 0 && r.NodesFetched > 0 && r.Bytes > 0 {
			told++
		}
	}
	if told == 0 { // soon the node holds all of a state so small
		t.Errorf("the node told about %d blocks", told)
	}
	var sum bench.FollowSum
	if err := dec.Decode(&sum); err != nil || dec.More() {
		t.Fatal("no summary at the end", err)
	}
	if sum.Blocks != 4 || sum.Valid != 4 || sum.Pivots != 0 || sum.Seconds.Most < sum.Seconds.P50 || sum.FirstSeconds <= 0 ||
		sum.NodesNeeded.Least < 50 || sum.NodesFetched.Most == 0 || sum.CPUSeconds <= 0 || sum.MemoryBytes < 1_000_000 {
		t.Errorf("summary %+v", sum)
	}
	if text := progress.String(); !strings.Contains(text, "4 blocks, slot 1s") || !strings.Contains(text, "0 pivots") || !strings.Contains(text, "stands still") {
		t.Errorf("summary:\n%s", text)
	}
}

func TestBadFollowOptions(t *testing.T) {
	good := bench.FollowOptions{TestbedOptions: bench.TestbedOptions{Slot: time.Second, Gas: 1_000_000, State: bench.StateOf(1000)}, Blocks: 1}
	for want, change := range map[string]func(*bench.FollowOptions){
		"0 blocks":    func(o *bench.FollowOptions) { o.Blocks = 0 },
		"not zero":    func(o *bench.FollowOptions) { o.Slot = 0 },
		"negative":    func(o *bench.FollowOptions) { o.Stall = -1 },
		"gas":         func(o *bench.FollowOptions) { o.Gas = 0 },
		"accounts":    func(o *bench.FollowOptions) { o.State = bench.StateOf(0) },
		"is negative": func(o *bench.FollowOptions) { o.State.Slots = -1 },
	} {
		opts := good
		change(&opts)
		if err := bench.Follow(t.Context(), opts, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := bench.ParseMix("hot"); err == nil {
		t.Error("there is a mix named hot")
	}
}
