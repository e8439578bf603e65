// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/config"
)

// statusTimeout bounds a health check: a node that is busy answers within it.
const statusTimeout = 10 * time.Second

// report is what the status command says of a node.
type report struct {
	version string
	block   hexutil.Uint64
	peers   hexutil.Uint64
	counted bool // whether peers says something
	ready   bool
	reason  string
	phase   string // empty if the endpoint does not serve the beam namespace
}

// status prints how a running node is. It is an error, and so the exit code 1, if the node does not answer or is not ready.
func (a *app) status(c *cli.Context) error {
	if err := arguments(c, 0, 1); err != nil {
		return err
	}
	headers := a.flags.Console().Headers
	cfg, _, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, statusTimeout)
	defer cancel()
	client, err := dial(ctx, cfg, c.Args().First(), headers)
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := inspectNode(ctx, client)
	if err != nil {
		return err
	}
	parts := []string{cmp.Or(r.version, "node"), r.phase, fmt.Sprintf("block %d", uint64(r.block))}
	if r.counted {
		parts = append(parts, fmt.Sprintf("%d peers", uint64(r.peers)))
	}
	fmt.Fprintln(a.stdout, strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", "))
	if !r.ready {
		return fmt.Errorf("not ready: %s", r.reason)
	}
	_, err = fmt.Fprintln(a.stdout, "ready")
	return err
}

// inspectNode asks for readiness in the way that the endpoint offers: by beam_status, else by eth_syncing.
func inspectNode(ctx context.Context, client *gethrpc.Client) (*report, error) {
	r := new(report)
	if err := client.CallContext(ctx, &r.block, "eth_blockNumber"); err != nil {
		return nil, fmt.Errorf("the node does not answer eth_blockNumber: %w", err)
	}
	// Not each endpoint serves the other namespaces.
	for method, result := range map[string]any{"web3_clientVersion": &r.version, "net_peerCount": &r.peers} {
		if err := client.CallContext(ctx, result, method); err == nil && method == "net_peerCount" {
			r.counted = true
		}
	}
	var beam struct {
		Phase  string
		Ready  bool
		Reason string
	}
	err := client.CallContext(ctx, &beam, "beam_status")
	var answered gethrpc.Error
	switch {
	case err == nil:
		r.phase, r.ready, r.reason = beam.Phase, beam.Ready, beam.Reason
		return r, nil
	case !errors.As(err, &answered):
		return nil, fmt.Errorf("the node does not answer beam_status: %w", err)
	}
	var syncing json.RawMessage
	if err := client.CallContext(ctx, &syncing, "eth_syncing"); err != nil {
		return nil, fmt.Errorf("the node does not answer eth_syncing: %w", err)
	}
	r.ready, r.reason = string(syncing) == "false", "eth_syncing says that it is syncing"
	return r, nil
}
