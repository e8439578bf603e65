// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"crypto/ecdsa"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

// BenchmarkFollow moves a full pool from head to head: 5,000 senders with a transaction each, in a state of
// 5,300 accounts that is held in memory.
func BenchmarkFollow(b *testing.B) {
	const senders = 5000
	alloc := make(types.GenesisAlloc)
	for i := range senders {
		alloc[addr(benchKey(i))] = types.Account{Balance: big.NewInt(params.Ether)}
	}
	w := newChainWorld(b, alloc)
	n := startPool(b, w)
	n.net.keep = true
	n.settle()
	for i := range senders {
		if err := n.send(plain(benchKey(i), 0)); err != nil {
			b.Fatal(err)
		}
	}
	var blocks []*types.Block
	parent := w.current()
	for range 200 {
		block := w.build(parent, 1)
		n.net.execute(parent, block)
		blocks, parent = append(blocks, block), block
	}
	n.net.set(0, nil)
	b.ResetTimer()
	moved := 0
	for b.Loop() {
		w.setHead(blocks[moved%len(blocks)])
		n.settle()
		moved++
	}
	b.ReportMetric(float64(n.net.count())/float64(moved), "fetches/op")
	if pending, _ := n.Stats(); pending != senders {
		b.Errorf("%d transactions are left", pending)
	}
}

func benchKey(i int) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(common.LeftPadBytes(big.NewInt(int64(1000+i)).Bytes(), 32))
	if err != nil {
		panic(err)
	}
	return key
}
