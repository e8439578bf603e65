// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/pool"
)

// newPool makes the transaction pool. State that a transaction of a user needs is fetched in the
// class of queries, state for those of peers in the class of predictions, behind blocks and users.
func (n *Node) newPool(registerer prometheus.Registerer) {
	cfg := &n.cfg.Pool
	n.pool = pool.New(pool.Config{
		Chain:   n.chain,
		Users:   accounts{states{node: n, class: sched.RPC}},
		Peers:   accounts{states{node: n, class: sched.Predictive}},
		Ready:   n.poolReady,
		BlobDir: n.cfg.BlobDir(), SetAside: db.SetAside,
		Limits: pool.Limits{
			PriceLimit: cfg.PriceLimit, PriceBump: cfg.PriceBump,
			GlobalSlots: cfg.GlobalSlots, GlobalQueue: cfg.GlobalQueue, BlobDataCap: cfg.BlobDataCap,
			AccountSlots: cfg.AccountSlots, AccountQueue: cfg.AccountQueue, Lifetime: cfg.Lifetime,
		},
		Locals:     pool.Locals{Disabled: cfg.NoLocals, Journal: n.cfg.PoolJournal(), Rejournal: cfg.Rejournal},
		Log:        n.log,
		Registerer: registerer,
	})
}

// poolReady says why the pool cannot validate transactions on the head; nil if it can.
func (n *Node) poolReady() error {
	if ready := n.importer.Readiness(); !ready.Within {
		return errors.New(ready.Reason)
	}
	return nil
}

// accounts opens states for the pool.
type accounts struct{ states }

func (a accounts) Open(ctx context.Context, root common.Hash) (pool.StateDatabase, error) {
	return a.states.Open(ctx, root)
}

// transactions hands the transaction messages of peers to the pool.
type transactions struct{ pool *pool.Pool }

func (t transactions) Announced(peer *p2p.Peer, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap) {
	t.pool.Announced(peer.ID(), kinds, sizes, hashes, columns)
}

func (t transactions) Received(peer *p2p.Peer, txs []*types.Transaction) {
	t.pool.Received(peer.ID(), txs)
}

func (t transactions) Pooled(hash common.Hash, version uint) rlp.RawValue {
	return t.pool.Encoded(hash, version)
}

func (t transactions) Cells(hash common.Hash, columns types.CustodyBitmap) []kzg4844.Cell {
	return t.pool.Cells(hash, columns)
}
