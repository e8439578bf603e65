// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"math"
	"math/rand/v2"

	"github.com/ethereum/go-ethereum/params"
)

const (
	transferShare  = 35  // percent of the transactions
	routedShare    = 50  // percent of the calls go through a router
	maxCalls       = 4   // contracts behind it
	maxTouches     = 6   // slots of each
	writeShare     = 30  // percent of the slots
	absentShare    = 85  // percent of the new slots that are read
	forgottenShare = 55  // percent of the slots written for the first time are never touched again
	againShare     = 81  // percent of the slots of a call, the first one aside, are among those that the contract used lately
	ringSize       = 128 // so many of them

	maxSpin = 150_000 // gas of computation in a transaction
)

// reuse is how many percent of what is chosen was touched last in one of so many blocks before.
var reuse = []struct { //nolint:gochecknoglobals // a constant
	blocks  int
	percent float64
}{{8, 83}, {32, 3}, {pastBlocks, 12}}

// entry is a slot of a contract, or an account: contract is -1 then.
type entry struct {
	contract int
	index    uint64
}

// locality remembers what recent blocks touched, so that it can be touched again after as many blocks as on mainnet.
type locality struct {
	block   int
	touched map[entry]bool // in the present block
	places  map[entry]place
	blocks  [][]entry       // by block: what was touched last in it
	rings   map[int][]entry // by contract: its slots that were touched last, the newest at the end
}

// place is where an entry is in locality.blocks.
type place struct{ block, at int }

func newLocality() *locality {
	return &locality{touched: make(map[entry]bool), places: make(map[entry]place), blocks: make([][]entry, 1), rings: make(map[int][]entry)}
}

// next begins a block.
func (l *locality) next() {
	l.block++
	l.touched = make(map[entry]bool)
	l.blocks = append(l.blocks, nil)
	if old := l.block - pastBlocks - 1; old >= 0 {
		for _, e := range l.blocks[old] {
			delete(l.places, e)
		}
		l.blocks[old] = nil
	}
}

// touch moves an entry to the present block.
func (l *locality) touch(e entry) {
	l.touched[e] = true
	if p, known := l.places[e]; known {
		if p.block == l.block {
			return
		}
		list := l.blocks[p.block]
		last := list[len(list)-1]
		list[p.at] = last
		l.places[last] = p
		l.blocks[p.block] = list[:len(list)-1]
	}
	l.places[e] = place{l.block, len(l.blocks[l.block])}
	l.blocks[l.block] = append(l.blocks[l.block], e)
	if ring := l.rings[e.contract]; e.contract >= 0 {
		l.rings[e.contract] = append(ring[max(0, len(ring)+1-ringSize):], e)
	}
}

// pick chooses an entry that was touched before; false means that it is to be a new one.
func (l *locality) pick(random *rand.Rand, wanted func(entry) bool) (entry, bool) {
	draw, from := random.Float64()*100, 1
	for _, r := range reuse {
		if draw -= r.percent; draw < 0 {
			for range 16 {
				// Nearer blocks are likelier: the distance is log-uniform.
				distance := int(float64(from) * math.Pow(float64(r.blocks+1)/float64(from), random.Float64()))
				if distance > l.block || len(l.blocks[l.block-distance]) == 0 {
					continue
				}
				list := l.blocks[l.block-distance]
				if e := list[random.IntN(len(list))]; wanted(e) {
					return e, true
				}
			}
			return entry{}, false
		}
		from = r.blocks + 1
	}
	return entry{}, false
}

func isAccount(e entry) bool { return e.contract < 0 }
func isSlot(e entry) bool    { return e.contract >= 0 }

// planMainnet plans a transfer, or calls of contracts.
func (t *Traffic) planMainnet() plan {
	if t.random.IntN(100) < transferShare {
		to, known := t.recent.pick(t.random, isAccount)
		if !known {
			to = entry{-1, t.upTo(t.spec.Accounts)}
		}
		t.recent.touch(to)
		return transfer(Account(to.index))
	}
	spin := t.random.Uint64N(maxSpin)
	p := plan{use: 25_000 + spin}
	var chain []Touches
	if t.random.IntN(100) < routedShare {
		chain = append(chain, Touches{To: Contract(t.spec.called() + t.spec.implementations() + t.random.IntN(t.spec.routers()))})
		p.use += 4_000
	}
	for range 1 + t.random.IntN(maxCalls) {
		touches, gas := t.touches()
		chain = append(chain, touches)
		p.use += gas
	}
	chain[0].Spin = spin / spinGas
	p.to, p.input, p.limit = &chain[0].To, TouchInput(chain), 2*p.use+200_000
	p.use += uint64(len(p.input)) * params.TxDataNonZeroGasEIP2028 / 4
	return p
}

// touches plans the call of one contract, which follows from the first slot.
func (t *Traffic) touches() (call Touches, gas uint64) {
	first, known := t.recent.pick(t.random, isSlot)
	if !known {
		first = entry{contract: t.called()}
	}
	call.To, gas = Contract(first.contract), 4_500
	for n := range 1 + t.random.IntN(maxTouches) {
		e, old, write := first, known, t.random.IntN(100) < writeShare
		if n > 0 {
			e, old = t.recent.again(t.random, first.contract)
		}
		if !old {
			e = t.newSlot(first.contract, write)
		}
		if forgotten := !old && write && t.random.IntN(100) < forgottenShare; forgotten {
			t.recent.touched[e] = true
		} else {
			t.recent.touch(e)
		}
		switch {
		case !write:
			call.Reads, gas = append(call.Reads, e.index), gas+2_350
		case old:
			call.Writes, gas = append(call.Writes, e.index), gas+5_300
		default:
			call.Writes, gas = append(call.Writes, e.index), gas+22_400
		}
	}
	return call, gas
}

// again chooses a recent slot of a contract.
func (l *locality) again(random *rand.Rand, contract int) (entry, bool) {
	ring := l.rings[contract]
	if len(ring) == 0 || random.IntN(100) >= againShare {
		return entry{}, false
	}
	return ring[len(ring)-1-int(float64(len(ring))*math.Pow(random.Float64(), 2.5))], true // the newer ones are likelier
}

// called chooses a contract behind the routers; one with many slots is likelier.
func (t *Traffic) called() int {
	return int(math.Pow(float64(t.spec.called()), t.random.Float64())) - 1
}

// newSlot chooses a slot of a contract that was not touched lately.
func (t *Traffic) newSlot(contract int, write bool) entry {
	n := max(t.spec.SlotsOf(contract), 1)
	if write && t.random.IntN(2) == 0 || !write && t.random.IntN(100) < absentShare {
		return entry{contract, n + t.random.Uint64N(1<<40)}
	}
	return entry{contract, t.random.Uint64N(n)}
}
