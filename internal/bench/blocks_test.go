// SPDX-License-Identifier: LGPL-3.0-or-later

package bench_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

func inBubble(t *testing.T) bench.Bubble {
	return func(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
}

// dirOf makes a directory of a few of the real blocks.
func dirOf(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.Symlink(filepath.Join(realdata.Dir(t), "blocks", name+".json.gz"), filepath.Join(dir, name+".json.gz")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run measures and returns what was printed.
func run(t *testing.T, opts bench.BlocksOptions) (string, error) {
	t.Helper()
	if opts.Strategies == nil {
		opts.Strategies = []bench.Strategy{bench.Beam}
	}
	if opts.RTTs == nil {
		opts.RTTs = []time.Duration{100 * time.Millisecond}
	}
	if opts.Link == "" {
		opts.Link = bench.Virtual
	}
	var out bytes.Buffer
	err := bench.Blocks(t.Context(), opts, inBubble(t), &out)
	return out.String(), err
}

// results reads what was printed as JSON.
func results(t *testing.T, opts bench.BlocksOptions) []bench.BlockResult {
	t.Helper()
	opts.JSON = true
	out, err := run(t, opts)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var list []bench.BlockResult
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var r bench.BlockResult
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// TestStrategies checks that every strategy gets blocks right and that none takes more trips
// than a simpler one.
func TestStrategies(t *testing.T) {
	names := []string{"1-1150000", "1-2675000", "560048-974567"}
	list := results(t, bench.BlocksOptions{Dir: dirOf(t, names...), Strategies: bench.Strategies()})
	if len(list) != len(names)*len(bench.Strategies()) {
		t.Fatalf("%d results", len(list))
	}
	trips := make(map[string]float64)
	for _, r := range list {
		trips[fmt.Sprintf("%d %s", r.Number, r.Strategy)] = r.Trips
		if r.Outcome != "valid" || r.Error != "" {
			t.Errorf("%d %s: %s %s", r.Number, r.Strategy, r.Outcome, r.Error)
		}
		if r.RTT != 0.1 || r.Seconds < r.Trips*r.RTT*0.999 || r.Seconds > r.Trips*r.RTT*1.001 {
			t.Errorf("%d %s: %v trips of %v s took %v s", r.Number, r.Strategy, r.Trips, r.RTT, r.Seconds)
		}
		if n := float64(r.NodesFetched) / float64(r.NodesNeeded); n < 0.95 || n > 1.5 {
			t.Errorf("%d %s: %d nodes fetched, %d needed", r.Number, r.Strategy, r.NodesFetched, r.NodesNeeded)
		}
		if r.Strategy == "naive" && r.Trips < float64(r.NodesFetched+r.Codes) {
			t.Errorf("%d naive: %d nodes and %d codes in %v trips", r.Number, r.NodesFetched, r.Codes, r.Trips)
		}
		if exact := r.Strategy != "beam" && r.Strategy != "trinity"; exact && r.KeysVain > 0 || r.KeysAsked < r.KeysVain || r.KeysNeeded == 0 {
			t.Errorf("%d %s: %d keys needed, %d asked for, %d in vain", r.Number, r.Strategy, r.KeysNeeded, r.KeysAsked, r.KeysVain)
		}
		if r.Strategy == "bal" && r.Trips > 3 {
			t.Errorf("%d bal: %v trips", r.Number, r.Trips)
		}
	}
	// How whole paths and parallel levels compare depends on the block.
	for _, number := range []int{1150000, 2675000, 974567} {
		for _, pair := range [][2]string{{"naive", "trinity"}, {"naive", "paths"}, {"trinity", "beam"}, {"paths", "beam"}, {"beam", "bal"}} {
			slow, fast := trips[fmt.Sprintf("%d %s", number, pair[0])], trips[fmt.Sprintf("%d %s", number, pair[1])]
			if slow < fast {
				t.Errorf("%d: %s takes %v trips, %s %v", number, pair[0], slow, pair[1], fast)
			}
		}
	}
}

// TestJSON checks the names that others rely on.
func TestJSON(t *testing.T) {
	out, err := run(t, bench.BlocksOptions{Dir: dirOf(t, "1-1150000"), JSON: true, RTTs: []time.Duration{50 * time.Millisecond, 0}})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), out)
	}
	for _, line := range lines {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range object {
			names = append(names, name)
		}
		want := []string{"chainId", "number", "strategy", "rtt", "outcome", "error", "txs", "gas", "nodesNeeded", "nodesFetched", "codes", "bytes", "trips", "requests", "seconds", "keysNeeded", "keysAsked", "keysVain", "cpu"}
		slices.Sort(names)
		slices.Sort(want)
		if !slices.Equal(names, want) {
			t.Errorf("fields %v", names)
		}
		if object["trips"].(float64) < 1 {
			t.Errorf("no trips: %s", line)
		}
	}
}

func TestTable(t *testing.T) {
	out, err := run(t, bench.BlocksOptions{
		Dir: dirOf(t, "1-1150000"), Strategies: []bench.Strategy{bench.Paths, bench.Beam}, Explain: true, CPU: true,
		RTTs: []time.Duration{50 * time.Millisecond, 200 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"s@50ms", "s@200ms", "1150000 paths    valid", "1150000 beam     valid", "trip   0  prefetch", "median trips", "prefetch  execute", "median CPU s"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestExplain checks that trips are accounted for.
func TestExplain(t *testing.T) {
	for _, r := range results(t, bench.BlocksOptions{Dir: dirOf(t, "560048-974567"), Explain: true, Strategies: bench.Strategies()}) {
		var sum bench.Trip
		last := -1
		for _, trip := range r.Explain {
			if trip.Trip < last || float64(trip.Trip) > r.Trips {
				t.Errorf("%s: trip %d after %d, of %v", r.Strategy, trip.Trip, last, r.Trips)
			}
			last = trip.Trip
			sum.Accounts += trip.Accounts
			sum.Slots += trip.Slots
			sum.Codes += trip.Codes
			sum.Headers += trip.Headers
		}
		if sum.Accounts < 20 || sum.Slots < 20 || uint64(sum.Codes) < r.Codes || sum.Headers == 0 {
			t.Errorf("%s: %+v for %d codes", r.Strategy, sum, r.Codes)
		}
	}
}

// TestHole: the witness of this block lacks a node that the block reads. Saying so is right, and
// nothing else is.
func TestHole(t *testing.T) {
	for _, r := range results(t, bench.BlocksOptions{Dir: dirOf(t, "1-22188088"), Strategies: []bench.Strategy{bench.Trinity, bench.Beam, bench.BAL}}) {
		if r.Outcome != "incomplete" || !strings.Contains(r.Error, "the witness file lacks node") {
			t.Errorf("%s: %s %s", r.Strategy, r.Outcome, r.Error)
		}
	}
}

// fields reads a witness file as JSON.
func fields(t *testing.T, name string) map[string]any {
	t.Helper()
	zipped, err := os.ReadFile(filepath.Join(realdata.Dir(t), "blocks", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.NewDecoder(unzip).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

func writeFields(t *testing.T, all map[string]any) (dir string) {
	t.Helper()
	encoded, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "block.json"), encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWrongOutcome: a bad block is not what the tool is for, and fails it.
func TestWrongOutcome(t *testing.T) {
	out, err := run(t, bench.BlocksOptions{Dir: wrongBlock(t), JSON: true})
	if err == nil || !strings.Contains(err.Error(), "1 of 1 outcomes are wrong") || !strings.Contains(out, `"outcome":"invalid"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestOtherFiles: without the parent's header, with a chain config.
func TestOtherFiles(t *testing.T) {
	all := fields(t, "1-2675000")
	var parent types.Header
	if err := rlp.DecodeBytes(hexutil.MustDecode(all["headers"].([]any)[0].(string)), &parent); err != nil {
		t.Fatal(err)
	}
	delete(all, "headers")
	all["preRoot"] = parent.Root
	all["ancestors"] = []string{}
	all["config"] = json.RawMessage(`{"chainId": 1, "homesteadBlock": 1150000, "daoForkBlock": 1920000, "daoForkSupport": true,
		"eip150Block": 2463000, "eip155Block": 2675000, "eip158Block": 2675000, "ethash": {}}`)
	for _, r := range results(t, bench.BlocksOptions{Dir: writeFields(t, all), Strategies: bench.Strategies()}) {
		if r.Outcome != "valid" {
			t.Errorf("%s: %s %s", r.Strategy, r.Outcome, r.Error)
		}
	}
}

// TestStoredState: what is in the store is not fetched; what the blocks before fetched does not count.
func TestStoredState(t *testing.T) {
	dir, older := dirOf(t, "1-2675000"), filepath.Join(dirOf(t, "1-1150000"), "1-1150000.json.gz")
	cold := results(t, bench.BlocksOptions{Dir: dir})[0]
	stored := results(t, bench.BlocksOptions{Dir: dir, StoredCode: true, Warm: []string{older}})[0]
	all := results(t, bench.BlocksOptions{Dir: dir, StoredCode: true, StoredState: bench.StoredState{Accounts: 100, Slots: 100}})[0]
	if all.NodesFetched > uint64(cold.NodesNeeded/10) || all.Trips > 3 {
		t.Errorf("%d nodes in %v trips with all accounts and slots stored", all.NodesFetched, all.Trips)
	}
	if cold.Codes == 0 || stored.Codes != 0 {
		t.Errorf("%d codes fetched, %d when they were stored", cold.Codes, stored.Codes)
	}
	if stored.NodesFetched > cold.NodesFetched || stored.Trips > cold.Trips || stored.NodesFetched == 0 {
		t.Errorf("%d nodes in %v trips; %d in %v with codes and an older block stored", cold.NodesFetched, cold.Trips, stored.NodesFetched, stored.Trips)
	}
}

// TestLoopback runs over TCP in real time, from two peers.
func TestLoopback(t *testing.T) {
	for _, r := range results(t, bench.BlocksOptions{
		Dir: dirOf(t, "1-1150000"), Link: bench.Loopback, Peers: 2, RTTs: []time.Duration{0, 4 * time.Millisecond},
	}) {
		if r.Outcome != "valid" || r.Seconds <= 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestBadOptions(t *testing.T) {
	good := dirOf(t, "1-1150000")
	for want, opts := range map[string]bench.BlocksOptions{
		"no witness files":  {Dir: t.TempDir()},
		"unknown link":      {Dir: good, Link: "rope"},
		"is negative":       {Dir: good, RTTs: []time.Duration{-1}},
		"no strategy":       {Dir: good, Strategies: []bench.Strategy{}},
		"no round-trip":     {Dir: good, RTTs: []time.Duration{}},
		"no such file":      {Dir: good, Warm: []string{"nowhere.json"}},
		"-1 peers":          {Dir: good, Peers: -1},
		"nor preRoot":       {Dir: writeFields(t, func() map[string]any { all := fields(t, "1-1150000"); delete(all, "headers"); return all }())},
		"which was to be e": {Dir: dirOf(t, "1-25134887"), Warm: []string{filepath.Join(wrongBlock(t), "block.json")}},
	} {
		if out, err := run(t, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", want, err, out)
		}
	}
	for _, text := range []string{"", "fast", "beam,", "beam,fast", "ALL"} {
		if list, err := bench.ParseStrategies(text); err == nil {
			t.Errorf("%q is %v", text, list)
		}
	}
	for _, text := range []string{"50", "50,", ",1", "a,1", "1,b", "1,2", "-1,-1", "101,1", "3,2,1"} {
		if stored, err := bench.ParseStoredState(text); err == nil {
			t.Errorf("%q is %v", text, stored)
		}
	}
	if stored, err := bench.ParseStoredState("57,44"); err != nil || stored != (bench.StoredState{Accounts: 57, Slots: 44}) {
		t.Errorf("%v %v", stored, err)
	}
	if list, err := bench.ParseStrategies("bal, naive"); err != nil || !slices.Equal(list, []bench.Strategy{bench.BAL, bench.Naive}) {
		t.Errorf("%v %v", list, err)
	}
}

// wrongBlock is the directory of a file whose witness proves the block bad.
func wrongBlock(t *testing.T) string {
	t.Helper()
	all := fields(t, "1-21688509")
	var block types.Block
	if err := rlp.DecodeBytes(hexutil.MustDecode(all["block"].(string)), &block); err != nil {
		t.Fatal(err)
	}
	header := block.Header()
	header.Root = common.Hash{1}
	bad := types.NewBlockWithHeader(header).WithBody(*block.Body())
	encoded, err := rlp.EncodeToBytes(bad)
	if err != nil {
		t.Fatal(err)
	}
	all["block"], all["hash"] = hexutil.Encode(encoded), bad.Hash()
	return writeFields(t, all)
}
