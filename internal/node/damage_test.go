// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/ethdb/pebble"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	goleveldb "github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

const (
	damageFillers   = 1500
	damageContracts = 24
	damageBlocks    = 40
)

func damageContract(i int) common.Address { return common.Address{0xcc, byte(i)} }

// damageWorld is a full node's datadir, a full peer with the same chain, and the chain's next blocks.
type damageWorld struct {
	cfg   *config.Config // stopped
	peer  *running
	next  []*types.Block
	peers gethClient
}

type gethClient = *gethrpc.Client

// damageChain makes blocks that touch accounts and slots all over a state with some thousand nodes.
func damageChain(genesis *core.Genesis, n int) []*types.Block {
	for addr, account := range testchain.Filler(damageFillers) {
		genesis.Alloc[addr] = account
	}
	for i := range damageContracts {
		slots := make(map[common.Hash]common.Hash)
		for slot := range int64(40) {
			slots[common.BigToHash(big.NewInt(slot))] = common.Hash{31: byte(i + 1)}
		}
		// It stores the second word of its calldata at the first. What comes after the stop makes the codes differ.
		genesis.Alloc[damageContract(i)] = types.Account{Code: []byte{0x60, 0x20, 0x35, 0x5f, 0x35, 0x55, 0x00, byte(i)}, Storage: slots, Balance: common.Big0}
	}
	signer, rich := types.LatestSigner(genesis.Config), crypto.PubkeyToAddress(richKey.PublicKey)
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, beacon.New(ethash.NewFaker()), n, func(i int, gen *core.BlockGen) {
		gen.SetParentBeaconRoot(common.Hash{7})
		for k := range 40 {
			tx := &types.DynamicFeeTx{
				ChainID: genesis.Config.ChainID, Nonce: gen.TxNonce(rich), GasFeeCap: big.NewInt(5e9), GasTipCap: big.NewInt(1), Gas: 100_000,
			}
			if k%2 == 0 {
				to := testchain.FillerAddress((i*7919 + k*37) % damageFillers)
				tx.To, tx.Value = &to, common.Big1
			} else {
				to := damageContract((i + k/2) % damageContracts)
				tx.To = &to
				tx.Data = append(common.BigToHash(big.NewInt(int64((i*11+k)%50))).Bytes(), common.BigToHash(big.NewInt(int64(i%3))).Bytes()...)
			}
			gen.AddTx(types.MustSignNewTx(richKey, signer, tx))
		}
	})
	return blocks
}

func newDamageWorld(t *testing.T, engine string) *damageWorld {
	t.Helper()
	genesis := pragueGenesis()
	blocks := damageChain(genesis, damageBlocks+6)
	file := chainFile(t, "chain.rlp", blocks[:damageBlocks]...)
	whole := chainFile(t, "whole.rlp", blocks...)
	made := func(file, engine string) *config.Config {
		cfg := localConfig(t)
		cfg.Store.Engine = engine
		check(t, Init(cfg, genesis, discard))
		check(t, Import(t.Context(), cfg, []string{file}, discard))
		return cfg
	}
	w := &damageWorld{cfg: made(file, engine), next: blocks[damageBlocks:]}
	w.peer = start(t, made(whole, db.LevelDB))
	client, err := gethrpc.Dial(w.peer.cfg.IPCEndpoint())
	check(t, err)
	t.Cleanup(client.Close)
	w.peers = client
	if engine == db.LevelDB {
		splitTables(t, chaindataOf(w.cfg))
	}
	return w
}

func chaindataOf(cfg *config.Config) string { return filepath.Join(cfg.InstanceDir(), "chaindata") }

// splitTables rewrites a LevelDB as many small tables, as a large one has.
func splitTables(t *testing.T, path string) {
	t.Helper()
	kv, err := goleveldb.OpenFile(path, &opt.Options{Filter: filter.NewBloomFilter(10), CompactionTableSize: 24 << 10, WriteBuffer: 64 << 10})
	check(t, err)
	check(t, kv.CompactRange(util.Range{}))
	check(t, kv.Close())
}

// openKV opens chaindata without a node.
func openKV(t *testing.T, cfg *config.Config) (kv ethdb.KeyValueStore) {
	t.Helper()
	var err error
	if cfg.Store.Engine == db.Pebble {
		kv, err = pebble.New(chaindataOf(cfg), 16, 16, "", false)
	} else {
		kv, err = leveldb.New(chaindataOf(cfg), 16, 16, "", false)
	}
	check(t, err)
	return kv
}

// spoil deletes or changes some of the values whose keys have one of the prefixes; n < 0: all.
func spoil(prefixes string, n int, flip bool) func(*testing.T, *config.Config, *rand.Rand) {
	return func(t *testing.T, cfg *config.Config, rng *rand.Rand) {
		t.Helper()
		kv := openKV(t, cfg)
		defer kv.Close()
		values := make(map[string][]byte)
		for _, prefix := range prefixes {
			it := kv.NewIterator([]byte(string(prefix)), nil)
			for it.Next() {
				if key := it.Key(); len(key) != 33 && (prefix == 'c' || prefix == 'a') || len(key) != 65 && prefix == 'o' {
					continue // another kind of key
				}
				values[string(it.Key())] = bytes.Clone(it.Value())
			}
			it.Release()
		}
		var keys []string
		for key := range values {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if len(keys) == 0 {
			t.Fatalf("no keys with prefix %q", prefixes)
		}
		rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		if n >= 0 {
			keys = keys[:min(n, len(keys))]
		}
		for _, key := range keys {
			if value := values[key]; flip && len(value) > 0 {
				value[rng.IntN(len(value))] ^= 1 << rng.IntN(8)
				check(t, kv.Put([]byte(key), value))
			} else {
				check(t, kv.Delete([]byte(key)))
			}
		}
	}
}

func removeKey(key string) func(*testing.T, *config.Config, *rand.Rand) {
	return func(t *testing.T, cfg *config.Config, _ *rand.Rand) {
		t.Helper()
		kv := openKV(t, cfg)
		defer kv.Close()
		check(t, kv.Delete([]byte(key)))
	}
}

// removeTables removes table files of LevelDB.
func removeTables(n int) func(*testing.T, *config.Config, *rand.Rand) {
	return func(t *testing.T, cfg *config.Config, rng *rand.Rand) {
		t.Helper()
		tables, err := filepath.Glob(filepath.Join(chaindataOf(cfg), "*.ldb"))
		check(t, err)
		if len(tables) < 8 {
			t.Fatalf("only %d tables", len(tables))
		}
		rng.Shuffle(len(tables), func(i, j int) { tables[i], tables[j] = tables[j], tables[i] })
		for _, table := range tables[:n] {
			check(t, os.Remove(table))
		}
	}
}

type damageCase struct {
	name    string
	do      func(*testing.T, *config.Config, *rand.Rand)
	noticed bool // it cannot be overlooked
}

func damageCases(engine string) []damageCase {
	cases := []damageCase{
		{"a node removed", spoil("AO", 1, false), false},
		{"nodes removed", spoil("AO", 500, false), true},
		{"account nodes removed", spoil("A", -1, false), true},
		{"storage nodes removed", spoil("O", -1, false), true},
		{"a node flipped", spoil("AO", 1, true), false},
		{"nodes flipped", spoil("AO", 500, true), true},
		{"all nodes flipped", spoil("AO", -1, true), true},
		{"root removed", removeKey("A"), true},
		{"codes removed", spoil("c", -1, false), true},
		{"codes flipped", spoil("c", -1, true), true},
		{"flat entries removed", spoil("ao", 200, false), false},
		{"flat entries flipped", spoil("ao", 200, true), false},
		{"state removed", spoil("AOcao", -1, false), true},
		{"head removed", removeKey("LastBlock"), true},
		{"schema removed", removeKey("sunbeam-schema"), true},
	}
	if engine == db.LevelDB {
		cases = append(cases, damageCase{"tables removed", removeTables(4), true}, damageCase{"manifest removed", func(t *testing.T, cfg *config.Config, _ *rand.Rand) {
			t.Helper()
			check(t, os.Remove(filepath.Join(chaindataOf(cfg), "CURRENT")))
		}, true})
	}
	return cases
}

// answers asks for accounts, codes and slots all over the state of a block.
func answers(t *testing.T, client *gethrpc.Client, number uint64, rng *rand.Rand) map[string]string {
	t.Helper()
	at := hexutil.EncodeUint64(number)
	var batch []gethrpc.BatchElem
	add := func(method string, args ...any) {
		batch = append(batch, gethrpc.BatchElem{Method: method, Args: args, Result: new(json.RawMessage)})
	}
	for range 60 {
		add("eth_getBalance", testchain.FillerAddress(rng.IntN(damageFillers)), at)
	}
	for i := range damageContracts {
		add("eth_getCode", damageContract(i), at)
		for range 4 {
			add("eth_getStorageAt", damageContract(i), common.BigToHash(big.NewInt(rng.Int64N(50))), at)
		}
	}
	add("eth_getBlockByNumber", at, true)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	check(t, client.BatchCallContext(ctx, batch))
	found := make(map[string]string)
	for _, elem := range batch {
		if elem.Error != nil {
			t.Fatalf("%s %v: %v", elem.Method, elem.Args, elem.Error)
		}
		found[fmt.Sprint(elem.Method, elem.Args)] = string(*elem.Result.(*json.RawMessage))
	}
	return found
}

// TestDamagedState damages the database of a full node in many ways. With a good peer the next blocks are VALID at once,
// every answer is that of the peer, and in the end the node is a full one whose state is complete.
func TestDamagedState(t *testing.T) {
	for at, engine := range []string{db.LevelDB, db.Pebble} {
		w := newDamageWorld(t, engine)
		for seed, c := range damageCases(engine) {
			if testing.Short() && seed%3 != at {
				continue
			}
			t.Run(engine+"/"+c.name, func(t *testing.T) { repaired(t, w, c, uint64(seed)) })
		}
		w.peer.stop(t)
	}
}

func repaired(t *testing.T, w *damageWorld, c damageCase, seed uint64) {
	t.Helper()
	cfg := snapshot(t, w.cfg)
	c.do(t, cfg, rand.New(rand.NewPCG(seed, 1)))
	cfg.P2P.StaticNodes = []string{w.peer.host.Self().URLv4()}
	n := start(t, cfg)
	await(t, n, "peer", func(s beamStatus) bool { return s.StatePeers > 0 })
	bring(t, n, w.next[:3]...)
	client, err := gethrpc.Dial(n.cfg.IPCEndpoint())
	check(t, err)
	defer client.Close()
	number := w.next[2].NumberU64()
	got, want := answers(t, client, number, rand.New(rand.NewPCG(seed, 2))), answers(t, w.peers, number, rand.New(rand.NewPCG(seed, 2)))
	for question, answer := range want {
		if got[question] != answer {
			t.Errorf("%s: %s, want %s", question, got[question], answer)
		}
	}
	bring(t, n, w.next[3:]...)
	await(t, n, "full mode", func(s beamStatus) bool {
		_, known := n.store.Damage()
		return s.Phase == importer.FullNode.String() && !known && n.store.FirstDamage() == ""
	})
	n.stop(t)
	store, err := openStore(cfg, nil, true)
	check(t, err)
	defer store.Close()
	switch report, err := store.VerifyState(t.Context(), nil); {
	case err != nil:
		t.Fatal(err)
	case c.noticed && !report.Complete():
		t.Errorf("the node calls itself full: %s", report)
	}
}

// TestDamagedStateWithoutPeers wants the node to end with an error that names the database, what is missing and the
// remedy, unless it needs nothing of what is missing.
func TestDamagedStateWithoutPeers(t *testing.T) {
	w := newDamageWorld(t, db.LevelDB)
	w.peer.stop(t)
	for seed, c := range damageCases(db.LevelDB) {
		if testing.Short() && seed%3 != 2 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			cfg := snapshot(t, w.cfg)
			c.do(t, cfg, rand.New(rand.NewPCG(uint64(seed), 1)))
			n := start(t, cfg, func(n *Node) { n.repairTimeout = time.Second })
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				outcome := n.importer.NewPayload(ctx, w.next[0])
				cancel()
				if outcome.Status == importer.Invalid {
					t.Fatalf("INVALID: %v", outcome.Reason)
				}
				if outcome.Status == importer.Valid {
					n.stop(t)
					return
				}
				select {
				case err := <-n.done:
					for _, part := range []string{"damaged", chaindataOf(cfg), "--peers", "remove"} {
						if err == nil || !strings.Contains(err.Error(), part) {
							t.Errorf("the error does not name %q: %v", part, err)
						}
					}
					return
				default:
				}
			}
		})
	}
}

// TestDamageWatch: peers have the whole time from the first need on; what they send, or a head without them, ends the wait.
func TestDamageWatch(t *testing.T) {
	type second struct {
		at      int
		damaged bool
		served  uint64
		head    uint64
		waits   bool
		over    bool
	}
	limit := int(repairTimeout / time.Second)
	tests := map[string][]second{
		"no damage":               {{0, false, 0, 1, true, false}, {limit + 1, false, 0, 1, true, false}},
		"nothing needed":          {{0, true, 0, 1, false, false}, {limit + 1, true, 0, 1, false, false}},
		"needed, nothing comes":   {{0, true, 5, 1, false, false}, {9, true, 5, 1, true, false}, {9 + limit, true, 5, 1, false, true}},
		"queries come and go":     {{0, true, 5, 1, true, false}, {3, true, 5, 1, false, false}, {limit, true, 5, 1, false, true}},
		"a peer sends some":       {{0, true, 5, 1, true, false}, {limit, true, 6, 1, true, false}, {2 * limit, true, 6, 1, true, false}},
		"blocks go on without":    {{0, true, 5, 1, true, false}, {limit - 1, true, 5, 2, false, false}, {limit, true, 5, 2, true, false}},
		"sent before it was lost": {{0, false, 9, 1, true, false}, {1, true, 9, 1, true, false}, {1 + limit, true, 9, 1, true, true}},
	}
	for name, seconds := range tests {
		watch, began := damageWatch{}, time.Unix(1, 0)
		for _, s := range seconds {
			if over := watch.over(began.Add(time.Duration(s.at)*time.Second), repairTimeout, s.damaged, s.served, s.head, s.waits); over != s.over {
				t.Errorf("%s: after %d s over is %v", name, s.at, over)
			}
		}
	}
}
