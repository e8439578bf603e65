package e2e_test

import (
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Message codes and packets of eth/66, as geth v1.10 has them: written down here once more, so
// that our node is asked by somebody else.
const (
	statusMsg      = 0x00
	getNodeDataMsg = 0x0d
	nodeDataMsg    = 0x0e
)

type (
	oldStatus struct {
		ProtocolVersion uint32
		NetworkID       uint64
		TD              *big.Int
		Head            common.Hash
		Genesis         common.Hash
		ForkID          forkid.ID
	}
	getNodeData struct {
		RequestID uint64
		Hashes    []common.Hash
	}
	nodeData struct {
		RequestID uint64
		Blobs     [][]byte
	}
)

// A beaming node gives node data to a stranger that speaks eth/66: all that it has of the state that
// it stands on is there, by hash, and nothing else. The geth v1.10.26 that it beams from stays connected.
func TestGivesNodeData(t *testing.T) {
	w := newOldWorld(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--beam.backfill=false")
	var head *types.Header
	for range 3 {
		p := build(t, w.Builder, someTransactions(w))
		mustBring(t, n, p, 20*time.Second)
		head = w.Builder.Head()
	}

	result := make(chan error, 1)
	server := &gethp2p.Server{Config: gethp2p.Config{
		PrivateKey: must(crypto.GenerateKey()), MaxPeers: 1, NoDiscovery: true, Name: "stranger",
		Protocols: []gethp2p.Protocol{{Name: "eth", Version: 66, Length: 17, Run: func(_ *gethp2p.Peer, rw gethp2p.MsgReadWriter) error {
			err := takeNodeData(t, w, rw, head)
			select {
			case result <- err:
			default:
			}
			return gethp2p.DiscQuitting
		}}},
	}}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	server.AddPeer(self(t, n))
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("no connection")
	}
	onlyEth66(t, n) // with geth, still
	stop(t, n)
}

// takeNodeData shakes hands and walks the state as far as the other end has it.
func takeNodeData(t *testing.T, w *demo.World, rw gethp2p.MsgReadWriter, head *types.Header) error {
	genesis := w.Spec.Genesis().ToBlock()
	status := &oldStatus{
		ProtocolVersion: 66, NetworkID: w.Spec.Config().ChainID.Uint64(), TD: new(big.Int), Head: genesis.Hash(), Genesis: genesis.Hash(),
		ForkID: forkid.NewID(w.Spec.Config(), genesis, 0, genesis.Time()),
	}
	sent := make(chan error, 1)
	go func() { sent <- gethp2p.Send(rw, statusMsg, status) }()
	var theirs oldStatus
	if err := receive(rw, statusMsg, &theirs); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	if theirs.Head != head.Hash() {
		return fmt.Errorf("head %x, want %x", theirs.Head, head.Hash())
	}
	nodes, codes, missing := 0, 0, 0
	isCode, seen := make(map[common.Hash]bool), make(map[common.Hash]bool)
	var level []common.Hash
	want := func(hash common.Hash) {
		if !seen[hash] {
			seen[hash] = true
			level = append(level, hash)
		}
	}
	for want(head.Root); len(level) > 0; {
		asked := level[:min(len(level), 384)]
		level = level[len(asked):]
		if err := gethp2p.Send(rw, getNodeDataMsg, &getNodeData{uint64(nodes), asked}); err != nil {
			return err
		}
		var reply nodeData
		if err := receive(rw, nodeDataMsg, &reply); err != nil {
			return err
		}
		if reply.RequestID != uint64(nodes) {
			return fmt.Errorf("reply to request %d, not %d", reply.RequestID, nodes)
		}
		wanted := make(map[common.Hash]bool)
		for _, hash := range asked {
			wanted[hash] = true
		}
		for _, blob := range reply.Blobs {
			hash := crypto.Keccak256Hash(blob)
			if !wanted[hash] {
				return fmt.Errorf("nobody asked for %x", hash)
			}
			delete(wanted, hash)
			if isCode[hash] {
				codes++
				continue
			}
			nodes++
			children, err := trie.Children(blob)
			if err != nil {
				return err
			}
			for _, child := range children {
				var account types.StateAccount
				if child.Value == nil {
					want(child.Hash)
				} else if rlp.DecodeBytes(child.Value, &account) == nil { // a value of storage is no list
					if account.Root != types.EmptyRootHash {
						want(account.Root)
					}
					if code := common.BytesToHash(account.CodeHash); code != types.EmptyCodeHash {
						isCode[code] = true
						want(code)
					}
				}
			}
		}
		missing += len(wanted)
	}
	t.Logf("%d nodes and %d codes by hash, %d of their children are not held", nodes, codes, missing)
	if nodes < 300 || codes < 2 || missing < 1000 { // three blocks touched a part of the state
		return errors.New("that is not what a beaming node has")
	}
	return nil
}

// receive reads one message of a kind.
func receive(rw gethp2p.MsgReadWriter, code uint64, into any) error {
	for {
		msg, err := rw.ReadMsg()
		if err != nil {
			return err
		}
		if msg.Code == code {
			return msg.Decode(into)
		}
		if err := msg.Discard(); err != nil { // it asks for the header of our head
			return err
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// self is where the node listens.
func self(t *testing.T, n *demo.Node) *enode.Node {
	t.Helper()
	client, err := gethrpc.DialContext(t.Context(), n.IPC)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var info gethp2p.NodeInfo
	if err := client.CallContext(t.Context(), &info, "admin_nodeInfo"); err != nil {
		t.Fatal(err)
	}
	return enode.MustParse(info.Enode)
}
