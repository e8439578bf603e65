package node

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// fellow is a peer as the backfill sees it.
type fellow struct{ *p2p.Peer }

// Have implements beamsync.FellowPeer.
func (f fellow) Have() backfill.Have { return backfill.Have(f.Peer.Have()) }

// Subtrees implements beamsync.FellowPeer.
func (f fellow) Subtrees(ctx context.Context, wants []trie.NodeRef, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	subtrees := make([]p2p.Subtree, len(wants))
	for i, want := range wants {
		subtrees[i] = p2p.Subtree(want)
	}
	return f.Peer.Subtrees(ctx, subtrees, maxBytes)
}

// swarm is what fellows get from us: parts of the state that are complete.
type swarm struct{ *Node }

// Subtree implements p2p.Swarm.
func (s swarm) Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte) {
	keys, values, proof, err := s.store.Complete().Subtree(owner, path, hash, maxBytes)
	if err != nil {
		s.log.Debug("Subtree not served", "owner", owner, "err", err)
		return nil, nil, nil
	}
	return keys, values, proof
}

// Have implements p2p.Swarm.
func (s swarm) Have() p2p.Have {
	if s.importer.Phase() == importer.FullNode { // whatever of it is on disk
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
		s.backfill.OnHave(fellow{p})
	}
}

// nodeID is ours as peers see it.
func (n *Node) nodeID() (string, error) {
	key, err := n.nodeKey()
	if err != nil {
		return "", fmt.Errorf("our node ID: %w", err)
	}
	return enode.PubkeyToIDV4(&key.PublicKey).String(), nil
}

// usableRoot is the root of a canonical block's state, zero if that is not known or of no use: the hand-over
// begins at a block that was executed here, and executes all blocks since.
func (n *Node) usableRoot(number uint64) common.Hash {
	header := n.chain.HeaderByNumber(number)
	if header != nil && number >= n.chain.Oldest() && n.chain.Status(header.Hash()) == chain.Executed {
		return header.Root
	}
	return common.Hash{}
}
