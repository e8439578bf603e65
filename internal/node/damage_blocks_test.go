// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
)

// Keys of go-ethereum's schema: headers, bodies and receipts, by number and hash.
const blockKeys = "hbr"

// spoilBlocks changes a bit in, or deletes, what is stored of every other block below some number.
func spoilBlocks(t *testing.T, cfg *config.Config, prefixes string, below uint64, flip bool, rng *rand.Rand) {
	t.Helper()
	kv := openKV(t, cfg)
	defer kv.Close()
	for _, prefix := range prefixes {
		it := kv.NewIterator([]byte(string(prefix)), nil)
		for it.Next() {
			key := bytes.Clone(it.Key())
			if len(key) != 41 {
				continue // another kind of key
			}
			if number := binary.BigEndian.Uint64(key[1:]); number == 0 || number%2 == 0 || number >= below {
				continue
			}
			value := bytes.Clone(it.Value())
			if flip {
				value[rng.IntN(len(value))] ^= 1 << rng.IntN(8)
				check(t, kv.Put(key, value))
			} else {
				check(t, kv.Delete(key))
			}
		}
		it.Release()
	}
}

// blockAnswers are those about one block, as JSON.
func blockAnswers(client *gethrpc.Client, number uint64) (answers []string) {
	at := hexutil.EncodeUint64(number)
	for _, call := range []gethrpc.BatchElem{
		{Method: "eth_getBlockByNumber", Args: []any{at, true}},
		{Method: "eth_getBlockReceipts", Args: []any{at}},
		{Method: "eth_getBlockTransactionCountByNumber", Args: []any{at}},
		{Method: "eth_getLogs", Args: []any{map[string]string{"fromBlock": at, "toBlock": at}}},
	} {
		var result json.RawMessage
		if err := client.Call(&result, call.Method, call.Args...); err != nil {
			result = nil
		}
		answers = append(answers, string(result))
	}
	return answers
}

// TestDamagedBlocks: what is stored of blocks is changed or lost. No answer about them is wrong, blocks on top of them are VALID, and
// with a peer all is restored.
func TestDamagedBlocks(t *testing.T) {
	for engine, cases := range map[string][]struct {
		prefixes string
		flip     bool
	}{
		db.LevelDB: {{blockKeys, true}, {"h", true}, {"b", true}, {"r", true}},
		db.Pebble:  {{blockKeys, false}, {blockKeys, true}},
	} {
		if testing.Short() {
			if cases = cases[:1]; engine == db.Pebble {
				continue
			}
		}
		w := newDamageWorld(t, engine)
		for seed, c := range cases {
			t.Run(fmt.Sprintf("%s %s, flipped: %t", engine, c.prefixes, c.flip), func(t *testing.T) {
				blocksRestored(t, w, c.prefixes, c.flip, rand.New(rand.NewPCG(uint64(seed), 5)))
			})
		}
		w.peer.stop(t)
	}
}

// TestDamagedHead: the header of the head is changed. The head falls to the newest block that is whole.
func TestDamagedHead(t *testing.T) {
	w := newDamageWorld(t, db.Pebble)
	cfg := snapshot(t, w.cfg)
	kv := openKV(t, cfg)
	it := kv.NewIterator([]byte("h"), binary.BigEndian.AppendUint64(nil, damageBlocks-1)) // and its parent's
	for it.Next() {
		if len(it.Key()) == 41 {
			check(t, kv.Put(bytes.Clone(it.Key()), append(bytes.Clone(it.Value()[:len(it.Value())-1]), 0xff)))
		}
	}
	it.Release()
	check(t, kv.Close())
	cfg.P2P.StaticNodes = []string{w.peer.host.Self().URLv4()}
	n := start(t, cfg)
	if head := n.chain.CurrentHeader().Number.Uint64(); head != damageBlocks-2 {
		t.Errorf("the head is %d", head)
	}
	bring(t, n, w.next...)
	await(t, n, "full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() })
	n.stop(t)
	w.peer.stop(t)
}

// blocksRestored counts the answers that are missing, of which none may be another one, until there are none.
func blocksRestored(t *testing.T, w *damageWorld, prefixes string, flip bool, rng *rand.Rand) {
	t.Helper()
	cfg := snapshot(t, w.cfg)
	spoilBlocks(t, cfg, prefixes, damageBlocks, flip, rng)
	wanted := make([][]string, damageBlocks)
	for number := range wanted {
		wanted[number] = blockAnswers(w.peers, uint64(number))
	}
	missing := func(n *running) (count int) {
		client, err := gethrpc.Dial(n.cfg.IPCEndpoint())
		check(t, err)
		defer client.Close()
		for number, want := range wanted {
			for i, got := range blockAnswers(client, uint64(number)) {
				switch got {
				case want[i]:
				case "", "null":
					count++
				default:
					t.Fatalf("block %d, answer %d is %s, want %s", number, i, got, want[i])
				}
			}
		}
		return count
	}
	n := start(t, cfg)
	if missing(n) == 0 {
		t.Error("no damage was noticed")
	}
	bring(t, n, w.next[:3]...)
	n.stop(t)

	cfg.P2P.StaticNodes = []string{w.peer.host.Self().URLv4()}
	n = start(t, cfg)
	bring(t, n, w.next[3:]...)
	await(t, n, "all blocks", func(beamStatus) bool { return missing(n) == 0 })
	if err := n.chain.Check(); err != nil {
		t.Error(err)
	}
	if damaged := n.chain.Damaged(); len(damaged) > 0 {
		t.Errorf("still damaged: %v", damaged)
	}
	n.stop(t)
}
