// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"math/rand/v2"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
)

// With Spec.Mainnet, contracts and traffic have the proportions that were published or measured for mainnet: of what a block
// touches, 60 % was touched in the last 8 blocks, 70 % in the last 32, 81 % in the last 256; 55 % of the slots that are written for the
// first time are never touched again; 85 % of the slots that are only read are absent; contracts are called through routers
// and proxies. A state ends with pastBlocks of such traffic, so that a fresh node has a past to look at.
//
// The last contracts are routers, those before are implementations. Every second one of the others is a proxy to an
// implementation (EIP-1967).

const (
	// mainnetVersion is part of a state's name, as version is.
	mainnetVersion = 1

	pastBlocks = 256
	pastGas    = 30_000_000 // of each of them
	pastSeed   = 0

	routerShare         = 100 // one contract in so many is a router
	implementationShare = 20  // and an implementation
	spinGas             = 89  // of one step of Touches.Spin
)

// Mainnet is the traffic of mainnet.
func Mainnet() Mix { return Mix{Mainnet: true} }

// implementationSlot is where a proxy has the address of its implementation (EIP-1967).
var implementationSlot = common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc") //nolint:gochecknoglobals // a constant

func (s Spec) routers() int         { return max(1, s.Contracts/routerShare) }
func (s Spec) implementations() int { return max(1, s.Contracts/implementationShare) }

// called is how many contracts are called behind the routers.
func (s Spec) called() int { return s.Contracts - s.routers() - s.implementations() }

func (s Spec) isProxy(i int) bool { return s.Mainnet && i < s.called() && i%2 == 1 }

func (s Spec) implementation(i int) common.Address {
	return Contract(s.called() + i/2%s.implementations())
}

// Touches is a call of one contract that reads and writes listed slots, computes, and calls the next one. If it writes, it logs.
type Touches struct {
	To     common.Address
	Reads  []uint64 // entries of the mapping
	Writes []uint64
	Spin   uint64 // steps of computation
}

// TouchInput is the calldata of the first of a chain of calls.
func TouchInput(chain []Touches) (input []byte) {
	for i := range chain {
		t := &chain[i]
		head := words(uint64(Touch), 0, uint64(len(t.Reads)), uint64(len(t.Writes)), t.Spin)
		if i+1 < len(chain) {
			copy(head[44:], chain[i+1].To[:])
		}
		input = append(append(append(input, head...), words(t.Reads...)...), words(t.Writes...)...)
	}
	return input
}

// touch is the code for Touch. Calldata: Touch, next contract, number of reads, of writes, of steps, entries, calldata for the next.
func (a *assembler) touch() {
	a.label("touch").push(0x60).op(vm.CALLDATALOAD).push(0x40).op(vm.CALLDATALOAD, vm.ADD).push(0)
	a.label("entry") // stack: k n
	a.op(vm.DUP2, vm.DUP2, vm.LT, vm.ISZERO).jumpIf("entries")
	a.op(vm.DUP1).push(5).op(vm.SHL).push(0xa0).op(vm.ADD, vm.CALLDATALOAD)
	a.push(0).op(vm.MSTORE).push(0).push(0x20).op(vm.MSTORE).push(0x40).push(0).op(vm.KECCAK256) // stack: slot k n
	a.push(0x40).op(vm.CALLDATALOAD, vm.DUP3, vm.LT).jumpIf("load")
	a.op(vm.NUMBER, vm.DUP2, vm.ADD, vm.SWAP1, vm.SSTORE).jump("touched")
	a.label("load").op(vm.SLOAD, vm.POP)
	a.label("touched").push(1).op(vm.ADD).jump("entry")

	a.label("entries").op(vm.POP).push(0x60).op(vm.CALLDATALOAD, vm.ISZERO).jumpIf("silent") // stack: n
	a.op(vm.NUMBER).push(0).push(0).op(vm.LOG1)
	a.label("silent").push(0x80).op(vm.CALLDATALOAD)
	a.label("spin").op(vm.DUP1, vm.ISZERO).jumpIf("spun") // stack: steps n
	a.push(0x40).push(0).op(vm.KECCAK256, vm.POP).push(1).op(vm.SWAP1, vm.SUB).jump("spin")

	a.label("spun").op(vm.POP).push(0x20).op(vm.CALLDATALOAD, vm.ISZERO).jumpIf("stop")
	a.push(5).op(vm.SHL).push(0xa0).op(vm.ADD)         // stack: offset of the rest
	a.op(vm.DUP1, vm.CALLDATASIZE, vm.SUB)             // its size
	a.op(vm.DUP1, vm.DUP3).push(0).op(vm.CALLDATACOPY) //
	a.push(0).push(0).op(vm.DUP3).push(0).push(0)      // CALL: output, input, value
	a.push(0x20).op(vm.CALLDATALOAD, vm.GAS, vm.CALL, vm.POP).label("stop").op(vm.STOP)
}

// proxyInit returns the code that deploys a proxy.
func proxyInit(implementation common.Address) []byte {
	var proxy, init assembler
	proxy.op(vm.CALLDATASIZE).push(0).push(0).op(vm.CALLDATACOPY)
	proxy.push(0).push(0).op(vm.CALLDATASIZE).push(0).pushBytes(implementationSlot[:]).op(vm.SLOAD, vm.GAS, vm.DELEGATECALL, vm.POP, vm.STOP)
	init.pushBytes(implementation[:]).pushBytes(implementationSlot[:]).op(vm.SSTORE)
	at := len(init.code) + 9 // of what follows
	init.push(byte(len(proxy.code))).op(vm.DUP1).push(byte(at)).push(0).op(vm.CODECOPY).push(0).op(vm.RETURN)
	return append(init.code, proxy.code...)
}

// ContinueTraffic starts where the blocks end that Spec.Fill made: what they touched is touched again.
func ContinueTraffic(spec Spec, seed uint64) *Traffic {
	if !spec.Mainnet {
		return NewTraffic(spec, seed)
	}
	t := NewTraffic(spec, pastSeed)
	for range pastBlocks {
		t.Block(pastGas, Mainnet())
	}
	t.random = rand.New(rand.NewPCG(seed, 0))
	return t
}

// pastTraffic yields the transactions of the blocks at the end of a state.
func (s Spec) pastTraffic(yield func([]*types.Transaction) bool) {
	traffic := NewTraffic(s, pastSeed)
	for range pastBlocks {
		if !yield(traffic.Block(pastGas, Mainnet())) {
			return
		}
	}
}
