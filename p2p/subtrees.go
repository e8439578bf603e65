package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"
)

// The swarm messages of beam/2 (docs/wit.md): nodes that collect the same state tell each other
// which parts of it they have, and give each other whole subtrees, named by the hash of
// their topmost node and so independent of any state root.
const (
	getSubtreesCode = 0x04
	subtreesCode    = 0x05
	haveCode        = 0x06

	maxSubtrees   = 256 // looked for in one request
	maxLarge      = 64  // large storage tries in one Have
	maxSubtreeAge = 2 * time.Second
)

// Subtree names a node and all that is under it.
type Subtree struct {
	Owner common.Hash // account hash for a storage trie, zero for the account trie
	Path  []byte      // nibbles; compact encoding on the wire
	Hash  common.Hash // keccak256 of the node
}

// Have is what a node tells about the state that it collects. Nobody can verify it: it is a reason to
// ask, and no more. Slices are numbered by the first byte of the keys, the highest bit of the first byte of a set is slice 0.
type Have struct {
	Number      uint64        // of the block whose state is collected; 0: none yet
	Root        common.Hash   // of that state
	Since       uint64        // since when, milliseconds of Unix time
	Active      bool          // not all is there yet
	Accounts    [32]byte      // slices of the account trie that are complete, with storage and code
	Large       []common.Hash // accounts whose storage trie is large
	LargeSlices [][32]byte    // slices of these that are complete
}

// Swarm is what our node gives to its fellows and hears from them. It is called concurrently.
type Swarm interface {
	// Subtree returns the leaves under a node, as the trie has them; no keys if that very node is not held with all that is
	// under it. They may be cut beyond maxBytes: then proof has the nodes on the way to the
	// last one.
	Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte)
	// Have is what to tell others.
	Have() Have
	// Told says that a peer's Have has changed. It must return soon.
	Told(p *Peer)
}

type (
	wireSubtree struct {
		Owner common.Hash
		Path  []byte
		Hash  common.Hash
	}
	getSubtreesPacket struct {
		ID    uint64
		Wants []wireSubtree
		Bytes uint64
	}
	getSubtreesQuery struct { // the same, decoded only as far as it is answered
		ID    uint64
		Wants rlp.RawList[wireSubtree]
		Bytes uint64
	}
	subtreesPacket struct { // its reply is a storageRangesPacket
		ID     uint64
		Leaves [][]*snap.StorageData
		Proof  [][]byte
	}
	havePacket struct {
		Number   uint64
		Root     common.Hash
		Since    uint64
		Active   bool
		Accounts [32]byte
		Large    []largePacket
	}
	largePacket struct {
		Account common.Hash
		Slices  [32]byte
	}
)

// ServesSubtrees says whether beam/2 was agreed on.
func (p *Peer) ServesSubtrees() bool { return p.link.Beam != nil }

// Have is what the peer has told last; nothing if it has not yet.
func (p *Peer) Have() Have {
	if have := p.have.Load(); have != nil {
		return *have
	}
	return Have{}
}

// Subtrees asks for the leaves of whole subtrees (beam/2): a list for each one, empty if the peer
// does not have it, in the order of the wants, as far as maxBytes go. If there is a proof, the last list is cut,
// and the proof has the nodes on the way to its last leaf. Keys increase, nothing else is verified.
// A peer without beam/2 returns errors.ErrUnsupported.
func (p *Peer) Subtrees(ctx context.Context, wants []Subtree, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	if p.link.Beam == nil {
		return nil, nil, nil, errNoBeam
	}
	list := make([]wireSubtree, len(wants))
	for i, want := range wants {
		list[i] = wireSubtree{want.Owner, compactPath(want.Path), want.Hash}
	}
	reply, err := ask[storageRangesPacket](ctx, p, msgGetSubtrees, msgSubtrees, func(id uint64) any {
		return &getSubtreesPacket{ID: id, Wants: list, Bytes: maxBytes}
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if proof, err = items(p, msgSubtrees, &reply.Proof, maxProof); err != nil {
		return nil, nil, nil, err
	}
	leaves, err := items(p, msgSubtrees, &reply.Slots, len(wants))
	if err != nil {
		return nil, nil, nil, err
	}
	keys, values = make([][]common.Hash, len(leaves)), make([][][]byte, len(leaves))
	for i, list := range leaves {
		if keys[i], values[i], err = plainLeaves(list, wants[i].Owner == common.Hash{}); err != nil {
			return nil, nil, nil, p.blame(KindInvalid, fmt.Errorf("%s: %d: %w", msgSubtrees, i, err))
		}
	}
	return keys, values, proof, nil
}

// plainLeaves takes leaves apart, and gives accounts the form that they have in the trie.
func plainLeaves(list []*snap.StorageData, accounts bool) (keys []common.Hash, values [][]byte, err error) {
	keys, values = make([]common.Hash, len(list)), make([][]byte, len(list))
	for i, leaf := range list {
		if i > 0 && keys[i-1].Cmp(leaf.Hash) >= 0 {
			return nil, nil, fmt.Errorf("leaf %d out of order", i)
		}
		keys[i], values[i] = leaf.Hash, leaf.Body
		if accounts {
			if values[i], err = types.FullAccountRLP(leaf.Body); err != nil {
				return nil, nil, fmt.Errorf("account %d: %w", i, err)
			}
		}
	}
	return keys, values, nil
}

// compactPath is the hex-prefix encoding of a path without terminator.
func compactPath(path []byte) []byte {
	odd := len(path) % 2
	buf := make([]byte, len(path)/2+1)
	if odd == 1 {
		buf[0] = 0x10 | path[0]
	}
	for i := odd; i < len(path); i += 2 {
		buf[1+i/2] = path[i]<<4 | path[i+1]
	}
	return buf
}

func (p *Peer) serveSubtrees(query *getSubtreesQuery) (any, error) {
	reply := &subtreesPacket{ID: query.ID}
	if p.cfg.Swarm == nil {
		return reply, nil
	}
	left, deadline := int(min(query.Bytes, softReplySize)), time.Now().Add(maxSubtreeAge)
	for wants := query.Wants.ContentIterator(); wants.Next() && len(reply.Leaves) < maxSubtrees && left > 0; {
		var want wireSubtree
		if err := rlp.DecodeBytes(wants.Value(), &want); err != nil {
			return nil, p.blame(KindMalformed, fmt.Errorf("%s: %w", msgGetSubtrees, err))
		}
		path, ok := nibbles(want.Path)
		if !ok {
			return nil, p.blame(KindInvalid, fmt.Errorf("%s: path %x", msgGetSubtrees, want.Path))
		}
		if time.Now().After(deadline) {
			break
		}
		leaves, proof := p.subtree(want.Owner, path, want.Hash, left)
		left -= subtreeCost
		for _, leaf := range leaves {
			left -= common.HashLength + len(leaf.Body)
		}
		reply.Leaves = append(reply.Leaves, leaves)
		if reply.Proof = proof; len(proof) > 0 {
			break
		}
	}
	return reply, nil
}

// subtreeCost is what a subtree counts beside its leaves, in bytes: looking for one costs as much
// as reading several leaves.
const subtreeCost = 512

func (p *Peer) subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (leaves []*snap.StorageData, proof [][]byte) {
	keys, values, proof := p.cfg.Swarm.Subtree(owner, path, hash, maxBytes)
	leaves = make([]*snap.StorageData, len(keys))
	for i, key := range keys {
		leaves[i] = &snap.StorageData{Hash: key, Body: values[i]}
		if owner == accountTrie {
			var account types.StateAccount
			if err := rlp.DecodeBytes(values[i], &account); err != nil {
				return nil, nil // a rotten node is no node
			}
			leaves[i].Body = types.SlimAccountRLP(account)
		}
	}
	return leaves, proof
}

// SwarmChanged tells the peer what we have of the state. It does not wait.
func (p *Peer) SwarmChanged() {
	select {
	case p.haveMoved <- struct{}{}:
	default: // it is due already
	}
}

// announceHave tells the peer what we have of the state.
func (p *Peer) announceHave(ctx context.Context) error {
	if p.link.Beam == nil || p.cfg.Swarm == nil {
		return nil
	}
	have := p.cfg.Swarm.Have()
	packet := &havePacket{Number: have.Number, Root: have.Root, Since: have.Since, Active: have.Active, Accounts: have.Accounts}
	for i, account := range have.Large[:min(maxLarge, len(have.Large))] {
		packet.Large = append(packet.Large, largePacket{account, have.LargeSlices[i]})
	}
	return p.write(ctx, msgHave, packet)
}

// hear takes the other end's announcement.
func (p *Peer) hear(payload []byte) error {
	var packet havePacket
	if err := rlp.DecodeBytes(payload, &packet); err != nil {
		return p.blame(KindMalformed, fmt.Errorf("%s: %w", msgHave, err))
	}
	if len(packet.Large) > maxLarge {
		return p.blame(KindExcess, errors.New("too many large tries"))
	}
	have := &Have{Number: packet.Number, Root: packet.Root, Since: packet.Since, Active: packet.Active, Accounts: packet.Accounts}
	for _, large := range packet.Large {
		have.Large, have.LargeSlices = append(have.Large, large.Account), append(have.LargeSlices, large.Slices)
	}
	p.have.Store(have)
	if p.cfg.Swarm != nil {
		p.cfg.Swarm.Told(p)
	}
	return nil
}
