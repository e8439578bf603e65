// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
)

// recording is a generated chain with the Engine API calls for it, as hive has them.
type recording string

func (r recording) file(name string) string { return filepath.Join(string(r), name) }

func (r recording) calls(t *testing.T, name string) []mockcl.Call {
	t.Helper()
	calls, err := mockcl.ReadCalls(r.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func (r recording) json(t *testing.T, name string, value any) {
	t.Helper()
	text, err := os.ReadFile(r.file(name))
	if err == nil {
		err = json.Unmarshal(text, value)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// check compares a node's head and its state with what is recorded.
func (r recording) check(t *testing.T, client *gethrpc.Client, accounts int) {
	t.Helper()
	r.outcome(t).check(t, client, accounts)
}

// outcome is what a recorded chain ends in.
type outcome struct {
	head     *types.Header
	accounts map[common.Address]account
}

type account struct {
	Balance string `json:"balance"`
	Nonce   uint64 `json:"nonce"`
}

func (r recording) outcome(t *testing.T) (o outcome) {
	t.Helper()
	var state struct {
		Accounts map[common.Address]account `json:"accounts"`
	}
	r.json(t, "headblock.json", &o.head)
	r.json(t, "headstate.json", &state)
	o.accounts = state.Accounts
	return o
}

// check compares a node's head and its state with the outcome.
func (o outcome) check(t *testing.T, client *gethrpc.Client, accounts int) {
	t.Helper()
	var head *types.Header
	if err := client.CallContext(t.Context(), &head, "eth_getHeaderByNumber", "latest"); err != nil {
		t.Fatal(err)
	}
	if head.Hash() != o.head.Hash() {
		t.Fatalf("the head is block %d %x, not %d %x", head.Number, head.Hash(), o.head.Number, o.head.Hash())
	}
	asked := 0
	for address, want := range o.accounts { // in random order
		var balance hexutil.Big
		var nonce hexutil.Uint64
		if err := client.CallContext(t.Context(), &balance, "eth_getBalance", address, "latest"); err != nil {
			t.Fatal(err)
		}
		if err := client.CallContext(t.Context(), &nonce, "eth_getTransactionCount", address, "latest"); err != nil {
			t.Fatal(err)
		}
		if balance.ToInt().String() != want.Balance || uint64(nonce) != want.Nonce {
			t.Fatalf("%x has balance %v and nonce %d, not %s and %d", address, balance.ToInt(), nonce, want.Balance, want.Nonce)
		}
		if asked++; asked == accounts {
			break
		}
	}
	t.Logf("head %d and %d of %d accounts are as recorded", head.Number, asked, len(o.accounts))
}

// unpack is the recorded chain of the data directory.
func unpack(t *testing.T, archive string) recording {
	t.Helper()
	file, err := os.Open(filepath.Join(realdata.Dir(t), archive))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return recording(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(header.Name)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// secretFile writes a JWT secret for a node.
func secretFile(t *testing.T) (path string, secret [32]byte) {
	t.Helper()
	for i := range secret {
		secret[i] = byte(rand.Uint32())
	}
	path = filepath.Join(t.TempDir(), "jwt.hex")
	if err := os.WriteFile(path, []byte(hexutil.Encode(secret[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, secret
}

// startGeth starts a geth, in a directory that ends with the test unless it is given one.
func startGeth(t *testing.T, cfg gethpeer.Config) *gethpeer.Process {
	t.Helper()
	var err error
	if cfg.Binary, err = gethpeer.Binary(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "geth")
	}
	p, err := gethpeer.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Errorf("end geth: %v", err)
		}
	})
	return p
}

// startPeer starts a geth that has a recording's chain, and says how to start a fresh node whose
// only peer it is, behind a slow link.
func startPeer(t *testing.T, r recording) (*gethpeer.Process, demo.NodeConfig) {
	t.Helper()
	genesis, err := gethpeer.ReadGenesis(r.file("genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	path, secret := secretFile(t)
	geth := startGeth(t, gethpeer.Config{Genesis: genesis, Chain: r.file("chain.rlp"), JWTSecret: secret})
	proxy, err := simnet.Listen(t.Context(), geth.RLPx(), simnet.Link{Delay: delay}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	background(t, "the link", proxy.Run)
	return geth, demo.NodeConfig{
		Dir: filepath.Join(t.TempDir(), "sunbeam"), Genesis: r.file("genesis.json"), Peers: []string{geth.EnodeAt(proxy.Addr())}, JWTFile: path, Secret: secret,
	}
}

// hive's sync test: geth has the chain, the node gets the genesis, that peer and the head.
func TestSyncFromHeadOnly(t *testing.T) {
	t.Parallel() // geth's import takes long
	r := unpack(t, "osaka3000.tar.gz")
	_, cfg := startPeer(t, r)

	want := r.outcome(t) // which takes a while to read
	n := startNode(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	calls := append(r.calls(t, "headnewpayload.json"), r.calls(t, "headfcu.json")...)
	for open := 0; ; open++ {
		var last engine.PayloadStatusV1
		for _, call := range calls {
			var err error
			if last, err = n.Engine.Send(ctx, call); err != nil {
				t.Fatal(err)
			}
		}
		if last.Status == engine.VALID {
			t.Logf("the head is VALID %v after the node's start; SYNCING %d times first", time.Since(n.Started).Round(time.Millisecond), open)
			break
		}
		if last.Status != engine.SYNCING {
			t.Fatalf("the head is %s", last.Status)
		}
	}
	want.check(t, n.RPC, 1)
	took := time.Since(n.Started)
	t.Logf("the head is served %v after the node's start", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("the head was served after %v", took)
	}
	want.check(t, n.RPC, size(50, 1000))
	stop(t, n)
}

// amsterdam is the chain in go-ethereum's own module.
func amsterdam(t *testing.T) recording {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/ethereum/go-ethereum").Output()
	if err != nil {
		t.Fatal(err)
	}
	return recording(filepath.Join(strings.TrimSpace(string(out)), "cmd", "devp2p", "internal", "ethtest", "testdata"))
}

// A chain through all forks up to Amsterdam is imported from a file, and served.
func TestImportAmsterdam(t *testing.T) {
	r := amsterdam(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	began := time.Now()
	out, err := exec.CommandContext(t.Context(), binary, "--datadir", dir, "--override.genesis", r.file("genesis.json"), "import", r.file("chain.rlp")).CombinedOutput()
	if err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	t.Logf("imported in %v", time.Since(began).Round(time.Millisecond))
	path, secret := secretFile(t)
	n := startNode(t, demo.NodeConfig{Dir: dir, Genesis: r.file("genesis.json"), JWTFile: path, Secret: secret})
	r.check(t, n.RPC, 1000)
	stop(t, n)
}

// The same chain, block by block over the Engine API: V2 to V5, with access lists. Each
// answer is geth's. The first block is genesis, which no payload can carry: INVALID.
func TestReplayAmsterdam(t *testing.T) {
	r := amsterdam(t)
	genesis, err := gethpeer.ReadGenesis(r.file("genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	path, secret := secretFile(t)
	geth := startGeth(t, gethpeer.Config{Genesis: genesis, JWTSecret: secret})
	oracle, err := mockcl.Dial(t.Context(), "geth", geth.Auth(), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	n := startNode(t, demo.NodeConfig{Dir: filepath.Join(t.TempDir(), "sunbeam"), Genesis: r.file("genesis.json"), JWTFile: path, Secret: secret})

	var ours, theirs time.Duration
	methods := make(map[string]int)
	for i, call := range append(r.calls(t, "newpayload.json"), r.calls(t, "headfcu.json")...) {
		began := time.Now()
		got, err := n.Engine.Send(t.Context(), call)
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		ours += time.Since(began)
		began = time.Now()
		want, err := oracle.Send(t.Context(), call)
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		theirs += time.Since(began)
		if strings.HasPrefix(call.Method, "engine_newPayload") && want.Status == engine.VALID { // or geth forgets old state
			choose := mockcl.Call{Method: "engine_forkchoiceUpdatedV3", Params: []json.RawMessage{
				json.RawMessage(fmt.Sprintf(`{"headBlockHash":%q,"safeBlockHash":%q,"finalizedBlockHash":%q}`, want.LatestValidHash, common.Hash{}, common.Hash{})),
				json.RawMessage("null"),
			}}
			if _, err := oracle.Send(t.Context(), choose); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		if got.Status != want.Status || !reflect.DeepEqual(got.LatestValidHash, want.LatestValidHash) {
			t.Fatalf("call %d, %s: sunbeam says %s %v, geth says %s %v", i, call.Method, got.Status, got.LatestValidHash, want.Status, want.LatestValidHash)
		}
		if valid := got.Status == engine.VALID; valid == (i == 0) {
			t.Fatalf("call %d, %s, is %s", i, call.Method, got.Status)
		}
		methods[call.Method]++
	}
	t.Logf("%v in %v, by geth in %v", methods, ours.Round(time.Millisecond), theirs.Round(time.Millisecond))
	r.check(t, n.RPC, 1000)
	stop(t, n)
}
