// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"slices"

	"github.com/ethereum/go-ethereum/core/rawdb"
)

// Stat counts the entries of one kind in a database. Bytes are those of keys and values, before
// compression.
type Stat struct {
	Store string // "chaindata" or "beam-hot"
	Kind  string
	Count uint64
	Bytes uint64
}

// kind recognises keys of chaindata by prefix and length (0: any).
type kind struct {
	name   string
	prefix string
	length int
}

// kinds are in order of precedence: our keys first, then go-ethereum's schema.
func kinds() []kind {
	return []kind{
		{"executed marks", executedPrefix, 0},
		{"sunbeam markers", "sunbeam-", 0},
		{"genesis and chain config", "ethereum-", 0},
		{"headers", "h", 1 + 8 + 32},
		{"canonical hashes", "h", 1 + 8 + 1},
		{"header numbers", "H", 1 + 32},
		{"bodies", "b", 1 + 8 + 32},
		{"receipts", "r", 1 + 8 + 32},
		{"access lists", "j", 1 + 8 + 32},
		{"transaction lookups", "l", 1 + 32},
		{"contract codes", string(rawdb.CodePrefix), 1 + 32},
		{"account trie nodes", string(rawdb.TrieNodeAccountPrefix), 0},
		{"storage trie nodes", string(rawdb.TrieNodeStoragePrefix), 0},
		{"flat accounts", string(rawdb.SnapshotAccountPrefix), 1 + 32},
		{"flat slots", string(rawdb.SnapshotStoragePrefix), 1 + 32 + 32},
		{"other", "", 0},
	}
}

func kindOf(kinds []kind, key []byte) int {
	return slices.IndexFunc(kinds, func(k kind) bool {
		return bytes.HasPrefix(key, []byte(k.prefix)) && (k.length == 0 || k.length == len(key))
	})
}

// Stats counts the entries of all databases by kind. It reads all of chaindata, which may take
// minutes. Frozen blocks are one kind, without their size.
func (d *DB) Stats(ctx context.Context) ([]Stat, error) {
	kinds := kinds()
	stats := make([]Stat, len(kinds))
	for i, k := range kinds {
		stats[i] = Stat{Store: "chaindata", Kind: k.name}
	}
	it := d.chain.disk.NewIterator(nil, nil)
	defer it.Release()
	for seen := 0; it.Next(); seen++ {
		if seen%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		stat := &stats[kindOf(kinds, it.Key())]
		stat.Count++
		stat.Bytes += uint64(len(it.Key()) + len(it.Value()))
	}
	if err := it.Error(); err != nil {
		return nil, d.health.report(d.chain.disk.path, err)
	}
	if frozen, err := d.chain.db.Ancients(); err == nil && frozen > 0 {
		stats = append(stats, Stat{Store: "chaindata", Kind: "frozen blocks", Count: frozen})
	}
	young, old := d.hot.generations()
	return append(stats,
		Stat{Store: "beam-hot", Kind: "young trie nodes", Count: young.nodes, Bytes: young.bytes},
		Stat{Store: "beam-hot", Kind: "old trie nodes", Count: old.nodes, Bytes: old.bytes},
	), nil
}
