// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// fullStatus is what beam_status says of a full node.
type fullStatus struct {
	Phase string `json:"phase"`
	Head  uint64 `json:"head"`
	Flat  struct {
		Share float64 `json:"share"`
		Done  bool    `json:"done"`
	} `json:"flat"`
	CatchUp *struct {
		Number, Target, Left uint64
	} `json:"catchUp"`
}

func readFull(t *testing.T, n *demo.Node) (s fullStatus) {
	t.Helper()
	if err := n.RPC.CallContext(t.Context(), &s, "beam_status"); err != nil {
		t.Fatal(err)
	}
	return s
}

// swift builds a block without waiting for its time.
func swift(t *testing.T, w *demo.Network, gas uint64) *mockcl.Payload {
	t.Helper()
	var txs []*types.Transaction
	if gas > 0 {
		txs = w.Traffic.Block(gas, stategen.Mixed())
	}
	p, err := w.Builder.Build(t.Context(), w.Builder.Head().Time+1, txs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// atOnce wants a block to be VALID without SYNCING before.
func atOnce(t *testing.T, n *demo.Node, p *mockcl.Payload) {
	t.Helper()
	took, open, err := bring(t.Context(), n, p)
	if err != nil {
		t.Fatal(err)
	}
	if open > 0 {
		t.Errorf("block %d was SYNCING %d times, VALID after %v", p.Data.Number, open, took)
	}
}

// TestFull takes a node from nothing to a full one, through the switch to full mode, a kill and a long absence, and
// then lets stock geth take over its datadir.
func TestFull(t *testing.T) {
	w := newNetwork(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	n := start(t, w, dir, "--history.chain", "all")
	mustBring(t, n, swift(t, w, 2_000_000), 30*time.Second)
	blocks := 1
	for began := time.Now(); readFull(t, n).Phase != "full"; blocks++ {
		atOnce(t, n, swift(t, w, 2_000_000))
		if time.Since(began) > size(2*time.Minute, 10*time.Minute) {
			t.Fatalf("not full after %v: %+v", time.Since(began), readFull(t, n))
		}
	}
	if s := readFull(t, n); !s.Flat.Done {
		t.Errorf("the flat state is not there with the switch: %+v", s.Flat)
	}
	t.Logf("full %v after the start, %d blocks", time.Since(n.Started).Round(time.Millisecond), blocks)
	for range 10 {
		atOnce(t, n, swift(t, w, 2_000_000))
	}
	compare(t, w, n, w.Builder.Head().Number.Uint64(), size(60, 500))

	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	n = start(t, w, dir, "--history.chain", "all")
	mustBring(t, n, swift(t, w, 2_000_000), time.Minute)
	if s := readFull(t, n); s.Phase != "full" {
		t.Fatalf("after a kill: %+v", s)
	}
	compare(t, w, n, w.Builder.Head().Number.Uint64(), 20)
	stop(t, n)

	var newest *mockcl.Payload
	missed := size(80, 300)
	for range missed {
		newest = swift(t, w, 1_000_000)
	}
	n = start(t, w, dir, "--history.chain", "all")
	began := time.Now()
	mustBring(t, n, newest, 5*time.Minute)
	t.Logf("%d missed blocks made up for in %v", missed, time.Since(began).Round(time.Millisecond))
	for range 5 {
		atOnce(t, n, swift(t, w, 2_000_000))
	}
	if status := collected(t, n); status.Oldest != 0 {
		t.Fatalf("history: %+v", status)
	}
	stop(t, n)
	takeOver(t, w, dir)
}

// takeOver lets geth judge and use the datadir of a node that has stopped.
func takeOver(t *testing.T, w *demo.Network, dir string) {
	t.Helper()
	t.Log("on disk:", completeState(t, dir))
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	geth, err := gethpeer.Start(t.Context(), gethpeer.Config{Binary: binary, Dir: dir, JWTSecret: w.Secret})
	if err != nil {
		t.Fatal(err)
	}
	tip := w.Builder.Head()
	if number, hash := head(t, geth.RPC()), canonical(t, geth.RPC(), tip.Number.Uint64()); number != tip.Number.Uint64() || hash != tip.Hash() {
		t.Fatalf("geth's head is %d, not %d: %s", number, tip.Number, geth.LogTail())
	}
	if !geth.Logged("Initialized path database") || geth.Logged("snapshot generation") {
		t.Errorf("geth derives flat state: %s", geth.LogTail())
	}
	var syncing any // also while it indexes transactions, which takes a moment
	for began := time.Now(); syncing != false; time.Sleep(50 * time.Millisecond) {
		if err := geth.RPC().CallContext(t.Context(), &syncing, "eth_syncing"); err != nil || time.Since(began) > time.Minute {
			t.Fatalf("geth syncs: %v, %v", syncing, err)
		}
	}
	engine, err := mockcl.Dial(t.Context(), "geth on sunbeam's datadir", geth.Auth(), w.Secret)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	for range 5 {
		p := swift(t, w, 2_000_000)
		status, err := engine.NewPayload(t.Context(), p)
		if err != nil || status.Status != "VALID" {
			t.Fatalf("geth says %+v (%v) of block %d: %s", status, err, p.Data.Number, geth.LogTail())
		}
		if status, err = engine.Forkchoice(t.Context(), p); err != nil || status.Status != "VALID" {
			t.Fatalf("geth says %+v (%v) of head %d", status, err, p.Data.Number)
		}
		var number hexutil.Uint64
		if err := geth.RPC().CallContext(t.Context(), &number, "eth_blockNumber"); err != nil || uint64(number) != p.Data.Number {
			t.Fatalf("geth's head is %d (%v)", number, err)
		}
	}
	if err := geth.Close(); err != nil {
		t.Fatal(err)
	}
	// It opens databases read-only, and those of its own making only: hence last.
	out, err := exec.CommandContext(t.Context(), binary, "snapshot", "verify-state", "--datadir", dir, "--state.scheme", "path").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Verified the state") {
		t.Fatalf("geth snapshot verify-state: %v\n%s", err, out)
	}
	t.Log("on disk after geth:", completeState(t, dir))
}

// completeState traverses the state in a datadir that nobody uses, and wants all of it to be there and nothing
// else.
func completeState(t *testing.T, dir string) db.StateReport {
	t.Helper()
	d, err := db.Open(dir, db.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	verdict, err := d.VerifyState(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !verdict.Complete() {
		t.Fatal(verdict)
	}
	return verdict
}

// TestBackfillAfterBreak takes a node off the network in the middle of its backfill, for more blocks than peers keep
// states of: it pivots, and does not collect again what it has.
func TestBackfillAfterBreak(t *testing.T) {
	t.Parallel() // it waits for the rate limit mostly
	w := newNetwork(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	args := []string{"--history.chain", "10", "--beam.backfill.rate", size("300", "6000")}
	n := start(t, w, dir, args...)
	mustBring(t, n, swift(t, w, 2_000_000), 30*time.Second)
	var before demo.Backfill
	await(t, n, 2*time.Minute, "half of the state", func(s status) bool { // written, and not just received
		if s.Backfill != nil {
			before = *s.Backfill
		}
		return before.Share >= 0.5 && before.Accounts+before.Slots >= size[uint64](7000, 0)
	})
	stop(t, n)
	var newest *mockcl.Payload
	for range size(140, 300) {
		newest = swift(t, w, 200_000)
	}
	n = start(t, w, dir, args...)
	mustBring(t, n, newest, time.Minute)
	var after demo.Backfill
	await(t, n, 3*time.Minute, "full node", func(s status) bool {
		if s.Backfill != nil {
			after = *s.Backfill
		}
		return s.Phase == "full"
	})
	t.Logf("%d kB for %.3f of the key space, then %d kB in %d walks", before.Bytes/1000, before.Share, after.Bytes/1000, after.Restarts+1)
	for range 3 {
		atOnce(t, n, swift(t, w, 2_000_000))
	}
	compare(t, w, n, w.Builder.Head().Number.Uint64(), 30)
	stop(t, n)
	verdict := completeState(t, dir)
	t.Log("on disk:", verdict)
	leaves, brought := uint64(verdict.Accounts+verdict.Slots), before.Accounts+before.Slots+after.Accounts+after.Slots
	if brought > leaves+leaves/8 {
		t.Errorf("received %d accounts and slots before and %d after the break, of %d in all", before.Accounts+before.Slots, after.Accounts+after.Slots, leaves)
	}
}
