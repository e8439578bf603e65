// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethlog "github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// await polls a node's status.
func await(t *testing.T, n *running, what string, wanted func(beamStatus) bool) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-n.done:
			t.Fatalf("node ended: %v", err)
		default:
		}
		status := beam{n.Node}.status()
		if wanted(status) {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("no %s: %+v %+v", what, status, status.Backfill)
		}
	}
}

// writer is a contract that stores the second word of its calldata at the first, and one that destroys
// itself in chains from before Cancun.
var writer = common.Address{0xbb}

// chainOn makes blocks with transfers to new accounts and storage that comes, changes and goes.
func chainOn(genesis *core.Genesis, parent *types.Block, n int, salt byte) []*types.Block {
	genesis.Alloc[writer] = types.Account{Code: []byte{0x60, 0x20, 0x35, 0x5f, 0x35, 0x55, 0x00}, Balance: common.Big0}
	signer, rich := types.LatestSigner(genesis.Config), crypto.PubkeyToAddress(richKey.PublicKey)
	fill := func(i int, gen *core.BlockGen) {
		salt := salt
		if parent != nil && i < int(parent.NumberU64()) {
			salt = 0
		}
		gen.SetParentBeaconRoot(common.Hash{salt})
		number := gen.Number().Int64()
		for k := range int64(4) {
			tx := &types.DynamicFeeTx{
				ChainID: genesis.Config.ChainID, Nonce: gen.TxNonce(rich), GasFeeCap: big.NewInt(5e9), GasTipCap: big.NewInt(1),
				Gas: 100_000, To: &writer,
			}
			tx.Data = append(common.BigToHash(big.NewInt((number*7+k)%61)).Bytes(), common.BigToHash(big.NewInt((number+k)%3)).Bytes()...)
			if k == 0 {
				to := common.BigToAddress(big.NewInt(number<<8 + int64(salt)))
				tx.To, tx.Data, tx.Value = &to, nil, common.Big1
			}
			gen.AddTx(types.MustSignNewTx(richKey, signer, tx))
		}
	}
	total := n
	if parent != nil {
		total += int(parent.NumberU64())
	}
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, beacon.New(ethash.NewFaker()), total, fill)
	return blocks[total-n:]
}

// bring makes blocks the head, one after another, and wants VALID at once.
func bring(t *testing.T, n *running, blocks ...*types.Block) {
	t.Helper()
	for _, block := range blocks {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if outcome := n.importer.NewPayload(ctx, block); outcome.Status != importer.Valid {
			t.Fatalf("block %d: %+v", block.NumberU64(), outcome)
		}
		outcome, err := n.importer.Forkchoice(ctx, importer.Forkchoice{Head: block.Hash()})
		cancel()
		check(t, err)
		if outcome.Status != importer.Valid || n.chain.CurrentHeader().Hash() != block.Hash() {
			t.Fatalf("head %d: %+v", block.NumberU64(), outcome)
		}
	}
}

// beamedTo makes the datadir of a node that is still beaming, with the states of all blocks in the hot store.
func beamedTo(t *testing.T, cfg *config.Config, genesis *core.Genesis, blocks ...*types.Block) {
	t.Helper()
	first := *cfg
	first.Beam.Backfill, first.P2P.StaticNodes = false, nil
	n := start(t, withGenesis(t, &first, genesis))
	bring(t, n, blocks...)
	n.stop(t)
}

// kill copies what is on disk while the node runs: that is what a kill leaves.
func kill(t *testing.T, n *running) *config.Config {
	t.Helper()
	cfg := n.cfg
	cfg.DataDir = filepath.Join(t.TempDir(), "killed")
	check(t, filepath.WalkDir(n.cfg.DataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(n.cfg.DataDir, path)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(cfg.DataDir, rel), 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(cfg.DataDir, rel), content, 0o600)
	}))
	n.stop(t)
	return &cfg
}

// TestFull takes a node through its life: beaming, the switch to full mode, restarts in order and after a kill,
// a reorg to a side chain that was executed before the switch.
func TestFull(t *testing.T) {
	genesis := pragueGenesis()
	main := chainOn(genesis, nil, 200, 0)
	side := chainOn(genesis, main[14], 6, 1) // on block 15
	cfg := localConfig(t)
	beamedTo(t, cfg, genesis, main[:12]...)
	hot := filepath.Join(cfg.DataDir, "geth", "beam-hot")

	n := start(t, cfg)
	bring(t, n, main[12:15]...)
	if outcome := n.importer.NewPayload(t.Context(), side[0]); outcome.Status != importer.Valid {
		t.Fatalf("side chain: %+v", outcome)
	}
	bring(t, n, main[15:20]...)
	await(t, n, "switch to full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() && s.HotBytes == 0 })
	if left, err := os.ReadDir(hot); err != nil || len(left) > 0 {
		t.Errorf("left of the hot store: %v, error %v", left, err)
	}
	bring(t, n, main[20:30]...)
	bring(t, n, side...)        // its first block was executed while beaming
	bring(t, n, main[29:60]...) // and back
	wholeState(t, n, main[59])
	n.stop(t)

	n = start(t, cfg) // in order: the journal has all
	if status := (beam{n.Node}).status(); status.Phase != importer.FullNode.String() || !n.full().Has(main[59].Root()) {
		t.Fatalf("after a restart: %+v", status)
	}
	bring(t, n, main[60:90]...)
	cfg = kill(t, n)

	n = start(t, cfg) // the states since the switch are made again
	bring(t, n, main[90])
	await(t, n, "catching up", func(s beamStatus) bool { return s.CatchUp == nil && s.Phase == importer.FullNode.String() })
	bring(t, n, main[91:]...)
	wholeState(t, n, main[199])
	n.stop(t)
}

// wholeState wants all leaves of a block's state to be reachable.
func wholeState(t *testing.T, n *running, block *types.Block) {
	t.Helper()
	held := trie.OpenServed(n.stateAt(block.Root()), nil, block.Root())
	if held == nil {
		t.Fatalf("no state of block %d", block.NumberU64())
	}
	var owners []common.Hash
	accounts, slots := 0, 0
	if !held.Leaves(common.Hash{}, common.Hash{}, func(key common.Hash, value []byte) bool {
		var account types.SlimAccount
		check(t, rlp.DecodeBytes(value, &account))
		if len(account.Root) > 0 {
			owners = append(owners, key)
		}
		accounts++
		return true
	}) {
		t.Fatalf("accounts of block %d are not all there", block.NumberU64())
	}
	for _, owner := range owners {
		if !held.Leaves(owner, common.Hash{}, func(common.Hash, []byte) bool { slots++; return true }) {
			t.Fatalf("storage of %x at block %d is not all there", owner, block.NumberU64())
		}
	}
	if accounts < int(block.NumberU64()) || slots < 20 {
		t.Errorf("block %d: %d accounts, %d slots", block.NumberU64(), accounts, slots)
	}
	for _, owner := range append(owners, common.Hash{}) {
		leaves := func(state p2p.State) (all []string) {
			state.Leaves(owner, common.Hash{0x20}, func(key common.Hash, value []byte) bool {
				all = append(all, fmt.Sprintf("%x: %x", key, value))
				return len(all) < 300
			})
			return all
		}
		if given, want := leaves(n.served().State(block.Root())), leaves(held); !slices.Equal(given, want) {
			t.Errorf("block %d: peers are given %d leaves of %x, not %d, or others", block.NumberU64(), len(given), owner, len(want))
		}
	}
}

// snapshot copies a datadir, as a kill at this moment would leave it.
func snapshot(t *testing.T, cfg *config.Config) *config.Config {
	t.Helper()
	killed := *cfg
	killed.DataDir = filepath.Join(t.TempDir(), "killed")
	check(t, os.CopyFS(killed.DataDir, os.DirFS(cfg.DataDir)))
	return &killed
}

// TestKillAtSwitch ends the process at each step from the complete state to the end of the switch to full mode,
// and wants the next one to go on.
func TestKillAtSwitch(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 40, 0)
	cfg := localConfig(t)
	beamedTo(t, cfg, genesis, blocks[:20]...)
	n, err := New(cfg, discard)
	check(t, err)
	left := make(map[string]*config.Config)
	leave := func(moment string) { left[moment] = snapshot(t, cfg) }

	leave("before the walk")
	check(t, n.store.DropFull())
	check(t, n.backfill.Run(t.Context()))
	leave("complete")
	target, ok := n.backfill.Complete()
	if !ok {
		t.Fatal("not complete")
	}
	full, err := n.store.EnableFull(target.Root, n.cache)
	check(t, err)
	leave("enabled")
	// The head moves on while blocks are executed again.
	again := &running{Node: n}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.importer.Run(ctx) }()
	bring(t, again, blocks[20:30]...)
	check(t, n.importer.SwitchToFull(t.Context(), executable{full}, n.chain.HeaderByNumber(target.Number), func() error {
		leave("executed again")
		check(t, n.store.MarkFull())
		leave("marked")
		return nil
	}))
	leave("handed over")
	bring(t, again, blocks[30])
	leave("a block later")
	hot := filepath.Join(cfg.DataDir, "geth", "beam-hot", "1")
	files, err := os.ReadDir(hot)
	check(t, err)
	cfg2 := snapshot(t, cfg)
	for _, file := range files[:len(files)/2] { // half deleted
		check(t, os.Remove(filepath.Join(cfg2.DataDir, "geth", "beam-hot", "1", file.Name())))
	}
	left["hot half deleted"] = cfg2
	check(t, n.store.Hot().Retire())
	leave("hot deleted")
	cancel()
	check(t, <-ended)
	check(t, n.Close())
	leave("closed")

	for moment, cfg := range left {
		t.Run(moment, func(t *testing.T) {
			n := start(t, cfg)
			head := n.chain.CurrentHeader().Number.Uint64()
			if head < 20 {
				t.Fatalf("head %d", head)
			}
			bring(t, n, blocks[head:35]...)
			await(t, n, "switch to full mode", func(s beamStatus) bool {
				return s.Phase == importer.FullNode.String() && s.HotBytes == 0 && s.CatchUp == nil
			})
			bring(t, n, blocks[35:]...)
			wholeState(t, n, blocks[39])
			n.stop(t)
			n = start(t, cfg)
			if status := (beam{n.Node}).status(); status.Phase != importer.FullNode.String() {
				t.Errorf("after one more restart: %+v", status)
			}
			wholeState(t, n, blocks[39])
			n.stop(t)
		})
	}
}

// TestFullStateLost lets a full node's chain turn away below all states that it has: it beams again, from a peer
// that has the other chain, and becomes full once more.
func TestFullStateLost(t *testing.T) {
	genesis := pragueGenesis()
	main := chainOn(genesis, nil, 24, 0)
	side := chainOn(genesis, main[9], 20, 1) // on block 10

	other := localConfig(t)
	other.Beam.Backfill = false
	beamedTo(t, other, genesis, slices.Concat(main[:10], side)...)
	peer := start(t, other)

	cfg := localConfig(t)
	cfg.P2P.StaticNodes = []string{peer.host.Self().URLv4()}
	beamedTo(t, cfg, genesis, main[:20]...)
	n := start(t, cfg)
	await(t, n, "switch to full mode", func(s beamStatus) bool {
		return s.Phase == importer.FullNode.String() && s.HotBytes == 0 && s.StatePeers > 0
	})
	bring(t, n, main[20:]...)

	tip := side[len(side)-1]
	choice := importer.Forkchoice{Head: tip.Hash()}
	beamed := false
	for began := time.Now(); n.chain.CurrentHeader().Hash() != tip.Hash(); {
		n.importer.NewPayload(t.Context(), tip)
		_, err := n.importer.Forkchoice(t.Context(), choice)
		check(t, err)
		beamed = beamed || (beam{n.Node}).status().Phase == importer.Beaming.String()
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the other chain is not followed: %+v", beam{n.Node}.status())
		}
	}
	if !beamed {
		t.Error("it was never beaming")
	}
	await(t, n, "second switch to full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() && s.HotBytes == 0 })
	wholeState(t, n, tip)
	n.stop(t)
	peer.stop(t)
}

// rottenDir names a datadir that this process shall open instead of testing.
const rottenDir = "SUNBEAM_TEST_ROTTEN"

// TestRottenDisk: what of a full node's database cannot be read is reported as that, and not taken for
// blocks or states that are missing. go-ethereum may end the process when it finds out.
func TestRottenDisk(t *testing.T) {
	cfg := localConfig(t)
	if dir := os.Getenv(rottenDir); dir != "" {
		cfg.DataDir = dir
		handler := gethlog.LogfmtHandlerWithLevel(os.Stderr, gethlog.LevelWarn)
		gethlog.SetDefault(gethlog.NewLogger(handler))
		n, err := New(cfg, slog.New(handler))
		if err == nil {
			err = n.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // this is a process of its own
		}
		return
	}
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 60, 0)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks...)}, discard))
	n := start(t, cfg)
	await(t, n, "switch to full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() && s.HotBytes == 0 })
	n.stop(t)
	check(t, Init(cfg, genesis, discard)) // what was in the log of the database is in its tables now

	const step, footer = 2 << 10, 64
	tables, err := filepath.Glob(filepath.Join(cfg.DataDir, "geth", "chaindata", "*.ldb"))
	check(t, err)
	rotten := 0
	for _, table := range tables {
		stat, err := os.Stat(table)
		check(t, err)
		for at := int64(0); at+step+footer <= stat.Size(); at += step {
			broken := snapshot(t, cfg)
			file, err := os.OpenFile(filepath.Join(broken.DataDir, "geth", "chaindata", filepath.Base(table)), os.O_WRONLY, 0)
			check(t, err)
			_, err = file.WriteAt(bytes.Repeat([]byte{0xa5}, step), at)
			check(t, errors.Join(err, file.Close()))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRottenDisk$")
			cmd.Env = append(os.Environ(), rottenDir+"="+broken.DataDir)
			said, err := cmd.CombinedOutput()
			cancel()
			says := strings.Contains(string(said), "chaindata: leveldb/table: corruption")
			if says {
				rotten++
			}
			if err != nil && !says || strings.Contains(string(said), "beaming again") {
				t.Errorf("%s at %d: %v: %s", filepath.Base(table), at, err, said)
			}
		}
	}
	if rotten == 0 {
		t.Error("nothing was found out")
	}
}
