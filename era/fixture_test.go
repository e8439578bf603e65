// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// memory is a chain in memory; it implements Source.
type memory struct {
	blocks   []*types.Block
	receipts []types.Receipts
}

func (m *memory) Header(number uint64) *types.Header {
	if number >= uint64(len(m.blocks)) {
		return nil
	}
	return m.blocks[number].Header()
}

func (m *memory) Body(header *types.Header) *types.Body {
	return m.blocks[header.Number.Uint64()].Body()
}

func (m *memory) Receipts(header *types.Header) types.Receipts {
	return m.receipts[header.Number.Uint64()]
}

var logger = common.HexToAddress("0x10")

// blocks is a chain of n blocks after genesis with transactions and logs, before the merge or after it.
func blocks(t testing.TB, n int, merged bool) *memory {
	t.Helper()
	config := *params.AllEthashProtocolChanges
	if merged {
		config = *params.MergedTestChainConfig
	} else {
		config.TerminalTotalDifficulty = new(big.Int).Lsh(common.Big1, 100)
	}
	code := program.New().Push(1).Push(0).Op(vm.MSTORE).Push(7).Push(32).Push(0).Op(vm.LOG1, vm.STOP)
	genesis := testchain.Genesis(&config, testchain.Funded(1), types.GenesisAlloc{logger: {Code: code.Bytes()}})
	if !merged {
		genesis.Difficulty = big.NewInt(131072)
	}
	chain := testchain.New(genesis)
	made, receipts := chain.Extend(chain.Root(), n, func(i int, b *testchain.Block) {
		for range i % 3 {
			b.Send(testchain.Key(1), &types.LegacyTx{Nonce: b.TxNonce(testchain.Address(1)), To: &logger, Gas: 60_000, GasPrice: b.BaseFee()})
		}
	})
	return &memory{append([]*types.Block{chain.Root()}, made...), append([]types.Receipts{nil}, receipts...)}
}

// write writes an archive and returns its path.
func write(t testing.TB, f Format, src Source, first, last uint64, td *big.Int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := Write(file, f, src, first, last, td)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(filepath.Dir(path), Name(f, "unknown", first/EpochBlocks, id))
	if err := os.Rename(path, named); err != nil {
		t.Fatal(err)
	}
	return named
}
