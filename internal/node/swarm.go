// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// swarmPeer is a peer as the backfill sees it.
type swarmPeer struct{ *p2p.Peer }

// Have implements backfill.SwarmPeer.
func (p swarmPeer) Have() backfill.Have { return backfill.Have(p.Peer.Have()) }

// Subtrees implements backfill.SwarmPeer.
func (p swarmPeer) Subtrees(ctx context.Context, wants []trie.NodeRef, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	subtrees := make([]p2p.Subtree, len(wants))
	for i, want := range wants {
		subtrees[i] = p2p.Subtree(want)
	}
	return p.Peer.Subtrees(ctx, subtrees, maxBytes)
}

// swarm serves the complete parts of the state to swarm peers.
type swarm struct {
	store    *db.Complete
	importer *importer.Importer
	chain    *chain.Chain
	backfill *backfill.Backfill // nil: none
	log      *slog.Logger
}

func (n *Node) swarm() swarm {
	return swarm{store: n.store.Complete(), importer: n.importer, chain: n.chain, backfill: n.backfill, log: n.log}
}

// Subtree implements p2p.Swarm.
func (s swarm) Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte) {
	keys, values, proof, err := s.store.Subtree(owner, path, hash, maxBytes)
	if err != nil {
		s.log.Debug("Subtree not served", "owner", owner, "err", err)
		return nil, nil, nil
	}
	return keys, values, proof
}

// Have implements p2p.Swarm.
func (s swarm) Have() p2p.Have {
	if s.importer.Phase() == importer.FullNode { // as much of the head's state as is on disk
		head := s.chain.CurrentHeader()
		have := p2p.Have{Number: head.Number.Uint64(), Root: head.Root}
		for i := range have.Accounts {
			have.Accounts[i] = 0xff
		}
		return have
	}
	if s.backfill == nil {
		return p2p.Have{}
	}
	return p2p.Have(s.backfill.Have())
}

// OnHave implements p2p.Swarm.
func (s swarm) OnHave(p *p2p.Peer) {
	if s.backfill != nil {
		s.backfill.OnHave(swarmPeer{p})
	}
}

// nodeID is our ID as peers see it.
func (n *Node) nodeID() (string, error) {
	key, err := n.nodeKey()
	if err != nil {
		return "", fmt.Errorf("our node ID: %w", err)
	}
	return enode.PubkeyToIDV4(&key.PublicKey).String(), nil
}

// usableRoot is the state root of a canonical block, zero if it is unknown or unusable: the switch to full mode
// begins at a block that was executed here, and executes all blocks since.
func (n *Node) usableRoot(number uint64) common.Hash {
	header := n.chain.HeaderByNumber(number)
	if header != nil && number >= n.chain.Oldest() && n.chain.Status(header.Hash()) == chain.Executed {
		return header.Root
	}
	return common.Hash{}
}
