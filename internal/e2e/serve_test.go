// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// pivotDistance is how far behind the head geth takes the state from in a snap sync, and some. The states
// of a full node begin where it became one.
const pivotDistance = 64 + 16

// A node that has become full is all that a fresh geth needs: it snap-syncs from that node and from nobody
// else, and has what the geth has that everything came from.
func TestGethSyncsFromUs(t *testing.T) {
	t.Parallel() // much of it is waiting
	w := newNetwork(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--history.chain", "all")
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), time.Minute)
	becomeFull(t, n)
	if status := collected(t, n); status.Oldest != 0 {
		t.Fatalf("history ends with block %d", status.Oldest)
	}
	var newest *mockcl.Payload
	for range pivotDistance {
		newest = build(t, w.Builder, w.Traffic.Block(1_000_000, stategen.Mixed()))
	}
	mustBring(t, n, newest, time.Minute)

	dir := filepath.Join(t.TempDir(), "geth")
	geth := startGeth(t, gethpeer.Config{Dir: dir, Genesis: w.Spec.Genesis(), JWTSecret: w.Secret, SyncMode: "snap"})
	if err := geth.RPC().CallContext(t.Context(), new(bool), "admin_addPeer", enodeOf(t, n)); err != nil {
		t.Fatal(err)
	}
	client, err := mockcl.Dial(t.Context(), "geth", geth.Auth(), w.Secret)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := untilValid(ctx, client, newest); err != nil {
		t.Fatalf("geth does not get there: %v\n%s", err, geth.LogTail())
	}
	t.Logf("geth called block %d VALID after %v", newest.Data.Number, time.Since(began).Round(time.Millisecond))
	next := build(t, w.Builder, someTransactions(w))
	mustBring(t, n, next, time.Minute)
	if err := untilValid(ctx, client, next); err != nil {
		t.Fatalf("geth does not go on: %v\n%s", err, geth.LogTail())
	}
	compareClient(t, w, geth.RPC(), next.Data.Number, size(40, 200))
	sameHistory(t, geth.RPC(), w.Geth.RPC(), 0, 1)
	if err := geth.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "geth.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte("Disabled snap-sync after pivot commitment")) {
		t.Error("geth's log does not tell of a snap sync")
	}
	wholeState(t, dir)
}

// becomeFull waits until a node has all of the state.
func becomeFull(t *testing.T, n *demo.Node) {
	t.Helper()
	for limit := size(2*time.Minute, 15*time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(n.Started)
		if status.Phase == "full" {
			t.Logf("full after %v", took.Round(time.Millisecond))
			return
		}
		if took > limit {
			t.Fatalf("not full after %v: %+v", took, status)
		}
	}
}

// enodeOf is where a node on loopback is found.
func enodeOf(t *testing.T, n *demo.Node) string {
	t.Helper()
	client, err := gethrpc.DialContext(t.Context(), n.IPC)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var self gethp2p.NodeInfo
	if err := client.CallContext(t.Context(), &self, "admin_nodeInfo"); err != nil {
		t.Fatal(err)
	}
	return self.Enode
}

// untilValid makes a block the head of a client, as a consensus client does: again and again.
func untilValid(ctx context.Context, client *mockcl.Client, p *mockcl.Payload) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := client.NewPayload(ctx, p); err != nil {
			return err
		}
		choice, err := client.Forkchoice(ctx, p)
		switch {
		case err != nil:
			return err
		case choice.Status == engine.VALID:
			return nil
		case choice.Status == engine.INVALID:
			return errors.New("INVALID")
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wholeState lets geth walk through all of the state in a datadir that no process uses.
func wholeState(t *testing.T, dir string) {
	t.Helper()
	geth, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	out, err := exec.CommandContext(t.Context(), geth, "snapshot", "traverse-state", "--datadir", dir, "--state.scheme", "path").CombinedOutput()
	if err != nil {
		t.Fatalf("traverse-state: %v\n%s", err, out[max(0, len(out)-2000):])
	}
	t.Logf("all of the state is there, geth says after %v", time.Since(began).Round(time.Millisecond))
}
