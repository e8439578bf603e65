// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
)

// A transfer of ether is reported as the Transfer event of a token (ERC-20) at the address that stands for
// ether (ERC-7528).
var (
	etherAddress  = common.HexToAddress("0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE")
	transferTopic = crypto.Keccak256Hash([]byte("Transfer(address,address,uint256)"))
)

// logCollector collects the logs of the calls of one block. Unlike the logs of StateDB, they can have transfers
// of ether among them, at their places.
type logCollector struct {
	transfers bool
	number    uint64
	time      uint64

	txHash  common.Hash
	txIndex uint
	next    uint // index in the block of the next log; logs of reverted frames count too, as in execution-apis

	// frames are the logs of the open call frames of the transaction, the outermost first. The logs of a
	// frame go to its caller when it ends, or are dropped if it reverts.
	frames [][]*types.Log
}

func (c *logCollector) hooks() *tracing.Hooks {
	return &tracing.Hooks{OnEnter: c.enter, OnExit: c.exit, OnLog: func(log *types.Log) { c.add(log.Address, log.Topics, log.Data) }}
}

// begin starts a transaction.
func (c *logCollector) begin(hash common.Hash, index int) {
	c.frames, c.txHash, c.txIndex = nil, hash, uint(index)
}

// logs are those of the last transaction; nil if it failed.
func (c *logCollector) logs() []*types.Log {
	if len(c.frames) == 0 {
		return nil
	}
	return c.frames[0]
}

func (c *logCollector) enter(_ int, kind byte, from, to common.Address, _ []byte, _ uint64, value *big.Int) {
	c.frames = append(c.frames, nil)
	op := vm.OpCode(kind) // these two run with a value that stays where it is
	if !c.transfers || op == vm.DELEGATECALL || op == vm.CALLCODE || value == nil || value.Sign() <= 0 {
		return
	}
	topics := []common.Hash{transferTopic, common.BytesToHash(from.Bytes()), common.BytesToHash(to.Bytes())}
	c.add(etherAddress, topics, common.BigToHash(value).Bytes())
}

func (c *logCollector) exit(depth int, _ []byte, _ uint64, _ error, reverted bool) {
	last := len(c.frames) - 1
	logs := c.frames[last]
	if reverted {
		logs = nil
	}
	if depth == 0 || last == 0 {
		c.frames[0] = logs
		return
	}
	c.frames = c.frames[:last]
	c.frames[last-1] = append(c.frames[last-1], logs...)
}

func (c *logCollector) add(address common.Address, topics []common.Hash, data []byte) {
	last := len(c.frames) - 1
	if last < 0 {
		return // of a system call, which is in no transaction
	}
	c.frames[last] = append(c.frames[last], &types.Log{
		Address: address, Topics: topics, Data: data, BlockNumber: c.number, BlockTimestamp: c.time,
		TxHash: c.txHash, TxIndex: c.txIndex, Index: c.next,
	})
	c.next++
}
