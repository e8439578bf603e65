// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// Of the whole test run: made by TestMain.
var (
	binary string // sunbeam
	states string // where generated states are kept
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sunbeam-e2e")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary, states = filepath.Join(dir, "sunbeam"), filepath.Join(dir, "states")
	if cache, err := os.UserCacheDir(); err == nil && large {
		states = filepath.Join(cache, "sunbeam", "states") // the demo's, minutes to make
	}
	if err := demo.Build(context.Background(), binary); err != nil { //nolint:forbidigo // no caller has one
		panic(err)
	}
	m.Run()
}

// size picks a test's parameter.
func size[T any](small, full T) T {
	if large {
		return full
	}
	return small
}

// spec is the state that geth has.
func spec() stategen.Spec {
	return size(stategen.Spec{Accounts: 5000, Senders: 100, Contracts: 10, Codes: 5, Slots: 5000}, stategen.Demo())
}

const delay = 50 * time.Millisecond // each way

// newNetwork makes a geth with a large state behind a slow link, until the test ends.
func newNetwork(t *testing.T) *demo.Network {
	t.Helper()
	return newNetworkOf(t, spec())
}

// newNetworkOf does so with some state and more flags of geth.
func newNetworkOf(t *testing.T, state stategen.Spec, args ...string) *demo.Network {
	t.Helper()
	w, err := demo.NewNetwork(t.Context(), demo.NetworkConfig{
		State: state, Link: simnet.Link{Delay: delay}, CacheDir: states, Dir: t.TempDir(),
		Seed: 1, Args: args, Progress: t.Output(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "network", w.Run)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close the network: %v", err)
		}
	})
	return w
}

// background runs something until the test ends.
func background(t *testing.T, name string, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}

// start starts a node in dir with geth as its only peer; it ends with the test.
func start(t *testing.T, w *demo.Network, dir string, args ...string) *demo.Node {
	t.Helper()
	return startNode(t, demo.NodeConfig{
		Dir: dir, Genesis: w.Genesis, Peers: []string{w.Enode()}, JWTFile: w.JWTFile, Secret: w.Secret, Args: args,
	})
}

func startNode(t *testing.T, cfg demo.NodeConfig) *demo.Node {
	t.Helper()
	cfg.Binary = binary
	_, statErr := os.Stat(cfg.Dir + ".log")
	n, err := demo.StartNode(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if statErr != nil { // a node that is started again goes on with its log
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the end of sunbeam's log:\n%s", n.LogTail())
			}
		})
	}
	return n
}

// stop interrupts a node and wants it to end in order.
func stop(t *testing.T, n *demo.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// transactions are those of each block of a mockcl.Chain.
func transactions(w *demo.Network, gas uint64) func(uint64, *big.Int) []*types.Transaction {
	return func(uint64, *big.Int) []*types.Transaction { return w.Traffic.Block(gas, stategen.Mixed()) }
}

// someTransactions are those of one block.
func someTransactions(w *demo.Network) []*types.Transaction {
	return w.Traffic.Block(8_000_000, stategen.Mixed())
}

// build has geth build a block and make it its head.
func build(t *testing.T, b *mockcl.Builder, txs []*types.Transaction) *mockcl.Payload {
	t.Helper()
	p, err := b.Build(t.Context(), uint64(time.Now().Unix()), txs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bring makes a block the node's head as a patient consensus client does, and returns how
// long that took and how often newPayload did not have the outcome yet.
func bring(ctx context.Context, n *demo.Node, p *mockcl.Payload) (took time.Duration, open int, err error) {
	began := time.Now()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		status, err := n.Engine.NewPayload(ctx, p)
		if err != nil {
			return 0, open, err
		}
		if status.Status == engine.INVALID {
			return 0, open, fmt.Errorf("newPayload of block %d: INVALID: %s", p.Data.Number, *status.ValidationError)
		}
		choice, err := n.Engine.Forkchoice(ctx, p)
		if err != nil {
			return 0, open, err
		}
		if choice.Status == engine.VALID {
			return time.Since(began), open, nil
		}
		open++
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, open, fmt.Errorf("block %d is %s still, after %d times newPayload: %w", p.Data.Number, choice.Status, open, ctx.Err())
		}
	}
}

// mustBring wants a block to become the node's head within the limit.
func mustBring(t *testing.T, n *demo.Node, p *mockcl.Payload, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	took, open, err := bring(ctx, n, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("block %d VALID after %v, %d times SYNCING first", p.Data.Number, took.Round(time.Millisecond), open)
	if hash := canonical(t, n.RPC, p.Data.Number); hash != p.Data.BlockHash {
		t.Fatalf("block %d is %x, not %x", p.Data.Number, hash, p.Data.BlockHash)
	}
}

// canonical is the hash of a block by number, zero if there is none.
func canonical(t *testing.T, client *gethrpc.Client, number uint64) common.Hash {
	t.Helper()
	var header *types.Header
	if err := client.CallContext(t.Context(), &header, "eth_getHeaderByNumber", hexutil.Uint64(number)); err != nil {
		t.Fatal(err)
	}
	if header == nil {
		return common.Hash{}
	}
	return header.Hash()
}

// head is the number of a node's newest block.
func head(t *testing.T, client *gethrpc.Client) uint64 {
	t.Helper()
	var number hexutil.Uint64
	if err := client.CallContext(t.Context(), &number, "eth_blockNumber"); err != nil {
		t.Fatal(err)
	}
	return uint64(number)
}

// status is the part of beam_status that these tests look at.
type status struct {
	demo.Status
	Peers   int `json:"peers"`
	Pending []struct {
		Number         uint64  `json:"number"`
		Stage          string  `json:"stage"`
		WaitingSeconds float64 `json:"waitingSeconds"`
	} `json:"pending"`
}

// await polls the node's status until it is as wanted.
func await(t *testing.T, n *demo.Node, limit time.Duration, what string, wanted func(status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var s status
		if err := n.RPC.CallContext(ctx, &s, "beam_status"); err == nil && wanted(s) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("no %s within %v: %+v", what, limit, s)
		}
	}
}

// port is a loopback port that was free a moment ago.
func port(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// metric adds up a node's metric over all of its labels.
func metric(t *testing.T, port, name string) (sum float64) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		found = true
		sum += value
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}
