// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

// A beaming node gives node data to the code of geth v1.10.26: all that it has of the state that it stands
// on is there, by hash, and nothing else. The geth v1.10.26 that it beams from stays connected.
func TestGivesNodeData(t *testing.T) {
	w := newOldNetwork(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--beam.backfill=false", "--beam.warmup.size", "0")
	var head *types.Header
	for range 3 {
		p := build(t, w.Builder, someTransactions(w))
		mustBring(t, n, p, 20*time.Second)
		head = w.Builder.Head()
	}

	got := download(t, w, n, head)
	if got.Nodes < 300 || got.Codes < 2 || got.Missing < 1000 { // three blocks touched a part of the state
		t.Error("that is not what a beaming node has")
	}
	onlyEth66(t, n) // with geth, still
	stop(t, n)
}

// A fresh node becomes a full one by hash alone, with nothing else to do, and gives the whole state by hash
// although it knows its nodes by path.
func TestGivesWholeStateByHash(t *testing.T) {
	w := newOldNetwork(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	n := start(t, w, dir)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), 20*time.Second)
	began := time.Now()
	nodes := awaitWhole(t, n)
	t.Logf("%.0f nodes/s from one peer, %v away, the switch to full mode included", float64(nodes)/time.Since(began).Seconds(), 2*delay)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), 20*time.Second) // on top of what is on disk
	got := download(t, w, n, w.Builder.Head())
	if got.Nodes < w.Spec.Accounts || got.Codes == 0 || got.Missing > 0 || got.Accounts < w.Spec.Accounts || got.Slots < w.Spec.Slots*9/10 { // traffic clears some
		t.Error("that is not the whole state")
	}
	stop(t, n)
}

// download has the code of geth v1.10.26 ask the node for the state of its head.
func download(t *testing.T, w *demo.Network, n *demo.Node, head *types.Header) *gethpeer.Downloaded {
	t.Helper()
	got, err := gethpeer.GetNodeData(t.Context(), enode(t, n), w.Genesis, head.Root, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(got)
	if got.Head != head.Hash() {
		t.Errorf("the node says its head is %x, not %x", got.Head, head.Hash())
	}
	return got
}

// enode is where the node listens.
func enode(t *testing.T, n *demo.Node) string {
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
