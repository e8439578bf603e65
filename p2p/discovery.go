// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/core/forkid"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/dnsdisc"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
)

// go-ethereum's values for its discovery sources (eth/backend.go).
const (
	mixTimeout     = 100 * time.Millisecond // how long one source may delay the others
	sourceBuffer   = 32                     // candidates fetched ahead
	recordRequests = 16                     // discv4 node records requested at once
)

// ethENR is the "eth" entry of a node record (EIP-2124, devp2p enr-entries/eth.md).
type ethENR struct {
	ForkID forkid.ID
	Rest   []rlp.RawValue `rlp:"tail"` // of later versions
}

func (ethENR) ENRKey() string { return "eth" }

// snapENR is the "snap" entry of a node record.
type snapENR struct {
	Rest []rlp.RawValue `rlp:"tail"`
}

func (snapENR) ENRKey() string { return "snap" }

// forkEntry is the "eth" entry at the current head.
func forkEntry(chain ChainBackend) *ethENR { return &ethENR{ForkID: forkid.NewIDWithChain(chain)} }

// sameChain accepts nodes whose record has a fork id compatible with the chain.
func sameChain(chain ChainBackend) func(*enode.Node) bool {
	filter := forkid.NewFilter(chain)
	return func(n *enode.Node) bool {
		var entry ethENR
		return n.Load(&entry) == nil && filter(entry.ForkID) == nil
	}
}

// addSources feeds the nodes found by DNS and by both discovery protocols to the dialer.
func (h *Host) addSources(server *gethp2p.Server, mix *enode.FairMix) error {
	if h.cfg.NoDiscovery {
		return nil
	}
	add := func(it enode.Iterator) {
		mix.AddSource(enode.NewBufferIter(enode.Filter(it, sameChain(h.cfg.Chain)), sourceBuffer))
	}
	if len(h.cfg.DNS) > 0 {
		it, err := dnsdisc.NewClient(dnsdisc.Config{Logger: server.Logger}).NewIterator(h.cfg.DNS...)
		if err != nil {
			return fmt.Errorf("DNS node list: %w", err)
		}
		add(it)
	}
	if v4 := server.DiscoveryV4(); v4 != nil {
		// discv4 finds nodes without their record, which has the fork id.
		record := func(_ context.Context, n *enode.Node) *enode.Node {
			n, _ = v4.RequestENR(n) // nil without an answer: the filter skips it
			return n
		}
		add(enode.AsyncFilter(v4.RandomNodes(), record, recordRequests))
	}
	if v5 := server.DiscoveryV5(); v5 != nil {
		add(v5.RandomNodes())
	}
	return nil
}
