// SPDX-License-Identifier: LGPL-3.0-or-later

// Command nodedata downloads a state by hash, as geth did until it healed over snap/1. The program geth
// v1.10.26 only answers GetNodeData any more, but the code to ask is all there, and asks here: its
// p2p.Server and eth/66, its scheduler of a state, and its tries to read what came.
//
// It connects to one node, downloads the state of one root as far as that node has it, and prints one
// line of JSON. When nothing is missing it has read the whole state before: every account, slot and
// code. Anything wrong is said on stderr, with an exit code that is not 0: a node that does not answer in
// time, is of another chain, or sends what nobody asked for.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// report is what is printed.
type report struct {
	Head    common.Hash `json:"head"`    // the node's, by its status
	Nodes   int         `json:"nodes"`   // different ones, as are codes
	Codes   int         `json:"codes"`   //
	Missing int         `json:"missing"` // nodes and codes asked for that the node does not have
	Bytes   uint64      `json:"bytes"`   // of nodes and codes
	Seconds float64     `json:"seconds"` // from the handshake to the last reply

	// What the tries hold. 0 if anything is missing.
	Accounts int `json:"accounts"`
	Slots    int `json:"slots"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nodedata:", err)
		os.Exit(1)
	}
}

func run() error {
	url := flag.String("enode", "", "`URL` of the node to ask")
	file := flag.String("genesis", "", "genesis `file` of its chain, as for geth init")
	timeout := flag.Duration("timeout", time.Minute, "for everything")
	var root common.Hash
	flag.TextVar(&root, "root", common.Hash{}, "`hash` of the state's root")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	node, err := enode.ParseV4(*url)
	if err != nil {
		return fmt.Errorf("--enode: %w", err)
	}
	genesis, err := readGenesis(*file)
	if err != nil {
		return fmt.Errorf("--genesis: %w", err)
	}
	if root == (common.Hash{}) {
		return errors.New("--root: missing")
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	r, err := ask(ctx, node, genesis, root)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func readGenesis(file string) (*core.Genesis, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	genesis := new(core.Genesis)
	if err := json.Unmarshal(text, genesis); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if genesis.Config == nil || genesis.Config.ChainID == nil {
		return nil, fmt.Errorf("%s: no chain ID", file)
	}
	return genesis, nil
}

// ask does it all, from the connection to the last slot.
func ask(ctx context.Context, node *enode.Node, genesis *core.Genesis, root common.Hash) (*report, error) {
	b, err := newBackend(genesis)
	if err != nil {
		return nil, err
	}
	peer, err := b.connect(ctx, node)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	d := newDownload(root)
	if err := d.run(ctx, peer, b.ended); err != nil {
		return nil, err
	}
	r := &report{
		Nodes: d.nodes, Codes: d.codes, Missing: len(d.absent), Bytes: d.bytes, Seconds: time.Since(began).Seconds(),
	}
	r.Head, _ = peer.Head()
	b.server.Stop() // not after an error: a reply that nobody takes would hold it up
	if r.Missing == 0 {
		if r.Accounts, r.Slots, err = walk(d.db, root); err != nil {
			return nil, fmt.Errorf("nothing is missing, but: %w", err)
		}
	}
	return r, nil
}
